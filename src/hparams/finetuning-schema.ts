import type { z } from "zod";
import { fieldsOf, hparamInfo } from "./hparam-field.js";
import { once, zod } from "./lazy-zod.js";
import { modelOverridesSchema } from "./model-overrides-schema.js";

/** Task names become parts of file names and of variable names. */
export const taskName = once(() =>
  zod()
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/),
);

/**
 * Every hparam of the reference's `run_finetuning.py`, under its name and with its default, then our own. Functions of
 * the reference's configuration that depend on the task are templates here: `<task>`, `<split>` and `<trial>` are filled in.
 */
export const finetuningSchema = once(() => {
  const z = zod();
  const run = fieldsOf("Run");
  const model = fieldsOf("Model");
  const optimizer = fieldsOf("Optimizer and schedule");
  const batches = fieldsOf("Batches and lengths");
  const pairs = fieldsOf("Sentence pairs");
  const answers = fieldsOf("Question answering");
  const places = fieldsOf("Places");
  const tpu = fieldsOf("TPU (accepted, ignored)");
  const own = fieldsOf("Beyond the reference");
  const quirks = fieldsOf("Quirks of the reference");
  return z.strictObject({
    debug: run.boolean(
      false,
      "Few examples and epochs, and a tiny model where it begins with random weights, to try things out; trials begin anew.",
    ),
    log_examples: run.boolean(false, "Print the first example of each data set."),
    num_trials: run.field(z.int(), {
      default: 1,
      expects: "an integer; negative: repeat until stopped",
      help: "How often to fine-tune, each time from other random head weights.",
    }),
    do_train: run.boolean(true, "Train."),
    do_eval: run.boolean(true, "Evaluate on the dev set."),
    keep_all_models: run.boolean(true, "Keep the model of every trial; false: of the last one only."),
    task_names: run.field(z.array(taskName()).min(1), {
      default: ["chunk"],
      expects: 'a list of task names such as ["mrpc"]',
      help: "Tasks to train together.",
    }),
    write_test_outputs: run.boolean(false, "Predict the test splits after the evaluation."),
    n_writes_test: run.integer(5, 0, "Trials that write test predictions."),

    model_size: model.choice(
      ["small", "base", "large"],
      "small",
      "Size of the model, on which other defaults depend. Default: that of the model that training begins with.",
    ),
    model_hparam_overrides: model.field(modelOverridesSchema(), {
      default: {},
      expects: 'an object such as {"num_hidden_layers": 6}',
      help: "Changes to the transformer that model_size names.",
    }),
    embedding_size: model.field(z.int().min(1).nullable(), {
      default: null,
      expects: "an integer of at least 1, or null",
      help: 'Width of the embeddings; null: the hidden size. Becomes 128 for "small".',
    }),
    vocab_size: model.integer(
      30_522,
      1,
      "Size of the vocabulary; that of the model or of its file, if it is not given.",
    ),
    do_lower_case: model.boolean(true, "Lower-case the text; as the model does, if it is not given."),

    learning_rate: optimizer.number(1e-4, "Peak learning rate; 5e-5 for large."),
    weight_decay_rate: optimizer.number(0.01, "Decoupled weight decay; biases and LayerNorm are exempt."),
    layerwise_lr_decay: optimizer.number(
      0.8,
      "Factor of the learning rate from one layer to the one below; 0.9 for large, 0: none.",
    ),
    num_train_epochs: optimizer.positive(
      3,
      "Passes over the training data; other values for single tasks, see below.",
    ),
    warmup_proportion: optimizer.field(z.number().min(0).max(1), {
      default: 0.1,
      expects: "a number of 0 to 1",
      help: "Share of the steps in which the rate rises.",
    }),
    save_checkpoints_steps: optimizer.integer(1_000_000, 1, "Steps between checkpoints within a trial."),
    use_tfrecords_if_existing: batches.boolean(
      true,
      "Use the features of an earlier run with the same data and settings; false: make them anew.",
    ),
    max_seq_length: batches.integer(
      128,
      5,
      "Longest input in tokens; other values for single tasks, see below.",
    ),
    train_batch_size: batches.integer(32, 1, "Examples per training step."),
    eval_batch_size: batches.integer(
      32,
      1,
      "Examples of full length per evaluation batch; of shorter ones there are more.",
    ),
    predict_batch_size: batches.integer(32, 1, "The same for the test splits."),

    double_unordered: pairs.boolean(true, "Train mrpc and sts on both orders of every pair."),

    max_query_length: answers.integer(64, 1, "Longest question in tokens."),
    doc_stride: answers.integer(128, 1, "Tokens between the starts of two windows of a long context."),
    n_best_size: answers.integer(20, 1, "Answers to consider for each question."),
    max_answer_length: answers.integer(30, 1, "Longest answer in tokens."),
    answerable_classifier: answers.boolean(true, "Learn whether a question has an answer."),
    answerable_uses_start_logits: answers.boolean(true, "Let that classifier see where answers would start."),
    answerable_weight: answers.number(0.5, "Weight of that classifier's loss."),
    joint_prediction: answers.boolean(true, "Predict the end of an answer from its start."),
    beam_size: answers.integer(20, 1, "Starts, and ends of each, that joint prediction keeps."),
    qa_na_threshold: answers.field(z.number(), {
      default: -2.75,
      expects: "a number",
      help: "Questions with null odds above it count as unanswerable (squad).",
    }),

    vocab_file: places.path("vocab.txt of the model folder, else <data-dir>/vocab.txt", "Vocabulary."),
    init_checkpoint: z
      .string()
      .min(1)
      .nullable()
      .optional()
      .describe("Model to start from; null: random weights. Default: <data-dir>/models/<model-name>.")
      .register(hparamInfo(), { expects: "a path or null", group: "Places" }),
    model_dir: places.path(
      "<data-dir>/models/<model-name>/finetuning_models/<tasks>_model",
      "Folder of the trained models; the trial's number is appended.",
    ),
    results_txt: places.path("…/results/<tasks>_results.txt", "Results as text."),
    results_pkl: places.path("…/results/<tasks>_results.pkl", "Accepted, never written: see results_json."),
    preprocessed_data_dir: places.path("…/finetuning_tfrecords/<tasks>_tfrecords", "Folder of the features."),
    raw_data_dir: places.path("<data-dir>/finetuning_data/<task>", "Folder of a task's data."),
    qa_eval_file: places.path("…/results/<tasks>_qa/<task>_eval.json", "Metrics of question answering."),
    qa_preds_file: places.path("…/results/<tasks>_qa/<task>_preds.json", "Answers by question."),
    qa_na_file: places.path("…/results/<tasks>_qa/<task>_null_odds.json", "Null odds by question."),
    test_predictions: places.path(
      "…/test_predictions/<task>_<split>_<trial>_predictions.json",
      "Predictions of the test splits.",
    ),

    iterations_per_loop: tpu.integer(1000, 1, "Steps per TPU call."),
    use_tpu: tpu.boolean(false, "Run on a TPU."),
    num_tpu_cores: tpu.integer(1, 1, "TPU cores."),
    tpu_job_name: tpu.text(null, "Name of the TPU worker job."),
    tpu_name: tpu.text(null, "Name of the TPU."),
    tpu_zone: tpu.text(null, "Zone of the TPU."),
    gcp_project: tpu.text(null, "Project of the TPU."),

    seed: own.integer(
      42,
      0,
      "Seed of head weights, dropout and the order of examples; each trial has its own.",
    ),
    skip_bad_rows: own.boolean(
      false,
      "Leave out rows that cannot be used, with a count and the first ones named, instead of stopping at the first.",
    ),
    results_json: own.path("…/results/<tasks>_results.json", "Results of all trials with their summary."),
    submission_dir: own.path("…/glue_submission", "Test predictions in the form that GLUE's server takes."),

    naturalqs_as_qa: quirks.boolean(
      false,
      "Give naturalqs the length and epochs of the other question-answering tasks, which the reference forgets because its name contains neither squad nor qa.",
    ),
    paper_learning_rate: quirks.boolean(
      false,
      "Defaults of the paper: rate 3e-4 for small, no weight decay.",
    ),
    close_layerwise_gap: quirks.boolean(
      false,
      "Do not skip a level of the layer-wise decay between heads and top layer.",
    ),
    reshuffle_each_epoch: quirks.boolean(
      false,
      "Shuffle all examples anew in every epoch; the reference repeats one order, stirred by a buffer of 100.",
    ),
    tagging_follows_case: quirks.boolean(
      false,
      "Lower-case words of tagging tasks only if do_lower_case says so; the reference always does.",
    ),
    tagging_cuts_by_pieces: quirks.boolean(
      false,
      "Cut long sentences of tagging tasks by their word pieces; the reference counts words where it means pieces, and cuts too early. A word written [SEP] keeps its label, too.",
    ),
    tagging_keeps_last_sentence: quirks.boolean(
      false,
      "Keep the last sentence of a file without a blank line at its end; the reference loses it.",
    ),
    tagging_loss_once: quirks.boolean(false, "Report the loss of tagging tasks once instead of doubled."),
    mnli_mismatched: quirks.boolean(false, "Evaluate mnli on dev_mismatched too."),
    glue_f1: quirks.boolean(false, "Report F1 for mrpc and qqp beside accuracy."),
    answers_apply_threshold: quirks.boolean(
      false,
      "Write empty answers where the null odds exceed qa_na_threshold; the reference applies it in the metric only.",
    ),
  });
});

export type FinetuningSchema = ReturnType<typeof finetuningSchema>;

/** What a person may write in `--hparams`. */
export type FinetuningHparamsInput = z.input<FinetuningSchema>;

export type FinetuningHparamName = keyof FinetuningSchema["shape"];

/** The names of all hparams, in the order of the help. */
export const finetuningHparamNames = once(
  () => Object.keys(finetuningSchema().shape) as readonly FinetuningHparamName[],
);
