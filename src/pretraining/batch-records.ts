import type { Batch } from "../data/batch-loader.js";
import { ElectraError } from "../errors.js";
import type { PretrainingData } from "./pretraining-setup.js";

/** Says of a step that was not finite which records its batch held; other errors stay as they are. */
export function withRecords(error: unknown, batch: Batch, data: PretrainingData): unknown {
  if (!(error instanceof ElectraError) || error.code !== "ERR_ELECTRA_NOT_FINITE") return error;
  return new ElectraError(
    "ERR_ELECTRA_NOT_FINITE",
    `${error.message}; its batch held ${namesOfRecords(batch, data)}`,
    {
      hint:
        error.hint ??
        "The last checkpoint is good. Lower learning_rate or lengthen num_warmup_steps, then run the same command again.",
      cause: error,
    },
  );
}

/** The first records of a batch, as file and number. */
export function namesOfRecords(batch: Batch, data: PretrainingData): string {
  const places = [...batch.records].slice(0, 3).map((record) => {
    const { file, record: number } = data.train.dataset.place(record);
    return `${file} #${number}`;
  });
  const more =
    batch.records.length > places.length ? `, and ${batch.records.length - places.length} more` : "";
  return `the records ${places.join(", ")}${more}`;
}
