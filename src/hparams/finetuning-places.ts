import { join } from "node:path";

/** Templates of a task's files: `<task>`, `<split>` and `<trial>` are filled in by {@link fillPlace}. */
export interface FinetuningPlaces {
  readonly vocab_file: string;
  /** Null: start from random weights. */
  readonly init_checkpoint: string | null;
  readonly model_dir: string;
  readonly results_txt: string;
  readonly results_pkl: string;
  readonly results_json: string;
  readonly preprocessed_data_dir: string;
  readonly raw_data_dir: string;
  readonly qa_eval_file: string;
  readonly qa_preds_file: string;
  readonly qa_na_file: string;
  readonly test_predictions: string;
  readonly submission_dir: string;
}

/**
 * The places of the reference's configuration. Of the vocabulary it takes the model's if there is one; whether there is
 * one only the caller can see, so the data folder's stands here.
 */
export function finetuningPlaces(
  dataDir: string,
  modelName: string,
  taskNames: readonly string[],
): FinetuningPlaces {
  const model = join(dataDir, "models", modelName);
  const tasks = taskNames.join(",");
  const results = (name: string) => join(model, "results", name);
  return {
    vocab_file: join(dataDir, "vocab.txt"),
    init_checkpoint: model,
    model_dir: join(model, "finetuning_models", `${tasks}_model`),
    results_txt: results(`${tasks}_results.txt`),
    results_pkl: results(`${tasks}_results.pkl`),
    results_json: results(`${tasks}_results.json`),
    preprocessed_data_dir: join(model, "finetuning_tfrecords", `${tasks}_tfrecords`),
    raw_data_dir: join(dataDir, "finetuning_data", "<task>"),
    qa_eval_file: results(join(`${tasks}_qa`, "<task>_eval.json")),
    qa_preds_file: results(join(`${tasks}_qa`, "<task>_preds.json")),
    qa_na_file: results(join(`${tasks}_qa`, "<task>_null_odds.json")),
    test_predictions: join(model, "test_predictions", "<task>_<split>_<trial>_predictions.json"),
    submission_dir: join(model, "glue_submission"),
  };
}

/** Fills in a template such as `results/<task>_eval.json`. */
export function fillPlace(
  template: string,
  values: { readonly task?: string; readonly split?: string; readonly trial?: number },
): string {
  return Object.entries(values).reduce(
    (path, [name, value]) => path.replaceAll(`<${name}>`, String(value)),
    template,
  );
}
