import type { FinetuningHparams } from "./finetuning-hparams.js";

type Names = readonly (keyof FinetuningHparams)[];

/**
 * Hparams of fine-tuning that say what a run does and where its files lie. Numbers do not depend on them but through the
 * content of files (vocabulary, data, first weights), which is looked at itself.
 */
export const hparamsOfTheRun = [
  "log_examples",
  "num_trials",
  "do_train",
  "do_eval",
  "keep_all_models",
  "write_test_outputs",
  "n_writes_test",
  "save_checkpoints_steps",
  "use_tfrecords_if_existing",
  "eval_batch_size",
  "predict_batch_size",
  "data_dir",
  "model_name",
  "vocab_file",
  "init_checkpoint",
  "model_dir",
  "results_txt",
  "results_pkl",
  "results_json",
  "preprocessed_data_dir",
  "raw_data_dir",
  "qa_eval_file",
  "qa_preds_file",
  "qa_na_file",
  "test_predictions",
  "submission_dir",
  "iterations_per_loop",
  "use_tpu",
  "num_tpu_cores",
  "tpu_job_name",
  "tpu_name",
  "tpu_zone",
  "gcp_project",
  // Defaults that these chose are settings of their own.
  "model_size",
  "naturalqs_as_qa",
  "paper_learning_rate",
] as const satisfies Names;

/** Hparams that results depend on, but neither the rows of the data nor the trained model. */
export const hparamsOfTheEvaluation = [
  "n_best_size",
  "max_answer_length",
  "qa_na_threshold",
  "answers_apply_threshold",
  "tagging_loss_once",
  "mnli_mismatched",
  "glue_f1",
] as const satisfies Names;
