import type { z } from "zod";
import { fieldsOf } from "./hparam-field.js";
import { once, zod } from "./lazy-zod.js";
import { modelOverridesSchema } from "./model-overrides-schema.js";

/**
 * Every hparam of the reference's `run_pretraining.py`, under its name and with its default, then our own.
 * The one source of types, defaults, help and JSON Schema.
 */
export const pretrainingSchema = once(() => {
  const z = zod();
  const run = fieldsOf("Run");
  const objective = fieldsOf("Objective");
  const optimizer = fieldsOf("Optimizer and schedule");
  const model = fieldsOf("Model");
  const generator = fieldsOf("Generator");
  const batches = fieldsOf("Batches");
  const places = fieldsOf("Places");
  const tpu = fieldsOf("TPU (accepted, ignored)");
  const own = fieldsOf("Beyond the reference");
  return z.strictObject({
    debug: run.boolean(
      false,
      "Tiny model and 20 steps, to try things out; training starts from an empty model folder.",
    ),
    do_train: run.boolean(true, "Train. Exactly one of do_train and do_eval is true."),
    do_eval: run.boolean(false, "Evaluate the newest checkpoint instead of training."),

    electra_objective: objective.boolean(
      true,
      "Train a discriminator to detect replaced tokens; false: BERT's masked LM.",
    ),
    electric_objective: objective.boolean(
      false,
      "Train the discriminator as Electric's energy; implies two_tower_generator.",
    ),
    gen_weight: objective.number(1, "Weight of the generator's loss."),
    disc_weight: objective.number(50, "Weight of the discriminator's loss."),
    mask_prob: objective.share(0.15, "Share of the tokens that is masked or replaced."),

    learning_rate: optimizer.number(5e-4, "Peak learning rate."),
    lr_decay_power: optimizer.number(1, "Exponent of the decay to 0; 1 is linear."),
    weight_decay_rate: optimizer.number(0.01, "Decoupled weight decay; biases and LayerNorm are exempt."),
    num_warmup_steps: optimizer.integer(10_000, 0, "Steps of linear warm-up."),
    num_train_steps: optimizer.integer(1_000_000, 1, "Final global step, and length of the schedule."),

    model_size: model.choice(["small", "base", "large"], "small", "Size of the discriminator."),
    model_hparam_overrides: model.field(modelOverridesSchema(), {
      default: {},
      expects: 'an object such as {"num_hidden_layers": 6}',
      help: "Changes to the transformer that model_size names.",
    }),
    embedding_size: model.field(z.int().min(1).nullable(), {
      default: null,
      expects: "an integer of at least 1, or null",
      help: 'Width of the embeddings; null: the discriminator\'s hidden size. Becomes 128 for "small".',
    }),
    vocab_size: model.integer(
      30_522,
      1,
      "Size of the vocabulary; when not given, that of the vocabulary file.",
    ),
    do_lower_case: model.boolean(true, "Unused here: the records hold ids already."),

    uniform_generator: generator.boolean(
      false,
      "Draw fake tokens uniformly from the vocabulary; no generator network.",
    ),
    two_tower_generator: generator.boolean(false, "Two-tower cloze generator (Electric's)."),
    untied_generator_embeddings: generator.boolean(false, "Give the generator embeddings of its own."),
    untied_generator: generator.boolean(
      true,
      "true: a generator of its own; false: it shares the discriminator's whole encoder.",
    ),
    generator_layers: generator.number(1, "Layers of the generator as a fraction of the discriminator's."),
    generator_hidden_size: generator.positive(
      0.25,
      "Width of the generator as a fraction of the discriminator's.",
    ),
    disallow_correct: generator.boolean(false, "Never sample the original token."),
    temperature: generator.positive(1, "Temperature of sampling fake tokens."),

    max_seq_length: batches.integer(
      128,
      3,
      "Tokens per example; must equal the length that the records were built with.",
    ),
    train_batch_size: batches.integer(128, 1, "Examples per training step."),
    eval_batch_size: batches.integer(128, 1, "Examples per evaluation batch."),
    num_eval_steps: batches.integer(100, 1, "Batches of an evaluation."),
    save_checkpoints_steps: batches.integer(1000, 1, "Steps between checkpoints."),
    keep_checkpoint_max: batches.field(z.int().min(0).nullable(), {
      default: 5,
      expects: "an integer of at least 0, or null",
      help: "Newest checkpoints kept; 0 or null keeps all.",
    }),

    pretrain_tfrecords: places.path(
      "<data-dir>/pretrain_tfrecords/pretrain_data.tfrecord*",
      "Training records: comma-separated list of glob patterns.",
    ),
    vocab_file: places.path("<data-dir>/vocab.txt", "Vocabulary, one token a line."),
    model_dir: places.path("<data-dir>/models/<model-name>", "Folder of the model."),
    results_txt: places.path("<model_dir>/results/unsup_results.txt", "Results of do_eval as text."),
    results_pkl: places.path(
      "<model_dir>/results/unsup_results.pkl",
      "Accepted, never written: see results_json.",
    ),

    iterations_per_loop: tpu.integer(200, 1, "Steps per TPU call."),
    use_tpu: tpu.boolean(false, "Run on a TPU."),
    num_tpu_cores: tpu.integer(1, 1, "TPU cores."),
    tpu_job_name: tpu.text(null, "Name of the TPU worker job."),
    tpu_name: tpu.text(null, "Name of the TPU."),
    tpu_zone: tpu.text(null, "Zone of the TPU."),
    gcp_project: tpu.text(null, "Project of the TPU."),

    seed: own.integer(42, 0, "Seed of initial weights, masks, samples, dropout and the order of examples."),
    mask_without_replacement: own.boolean(
      false,
      "Draw masked positions without replacement. The reference draws with: duplicates waste slots, and a position whose two samples differ gets the floor of their mean, an unrelated word.",
    ),
    generator_warmup_steps: own.field(z.int().min(0).nullable(), {
      default: null,
      expects: "an integer of at least 0, or null",
      help: "Where --init-from has no generator: first steps in which only the new one learns. null: a tenth of the steps, at most 2000; 0: none.",
    }),
    row_mode: own.choice(
      ["auto", "drop", "keep"],
      "auto",
      'Padding: "drop" never computes it; "keep" computes it as the reference does, which two-tower generators need for equal numbers; "auto": keep for two towers under preset google, else drop.',
    ),
    eval_steps: own.integer(
      0,
      0,
      "Evaluate on held-out records every so many training steps; 0: never during training.",
    ),
    heldout_tfrecords: own.text(
      null,
      "Records to evaluate on: comma-separated list of glob patterns; null: the training records, as in the reference.",
    ),
    heldout_fraction: own.field(z.number().min(0).lt(1), {
      default: 0,
      expects: "a number of at least 0 and below 1",
      help: "Share of pretrain_tfrecords kept out of training and evaluated on, when heldout_tfrecords is null.",
    }),
    results_json: own.path("<model_dir>/results/unsup_results.json", "Results of do_eval as JSON."),
  });
});

export type PretrainingSchema = ReturnType<typeof pretrainingSchema>;

/** What a person may write in `--hparams`. */
export type PretrainingHparamsInput = z.input<PretrainingSchema>;

/** The names of all hparams, in the order of the help. */
export const pretrainingHparamNames = once(
  () => Object.keys(pretrainingSchema().shape) as readonly PretrainingHparamName[],
);

export type PretrainingHparamName = keyof PretrainingSchema["shape"];
