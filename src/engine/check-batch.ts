import { ElectraError } from "../errors.js";
import type { Batch, PretrainingModelConfig } from "./types.js";

/**
 * Refuses a batch whose arrays do not fit its shape. Ids are checked natively, where reading them costs nothing here.
 *
 * @throws ElectraError `ERR_ELECTRA_BATCH`
 */
export function checkBatch(batch: Batch, model: PretrainingModelConfig): void {
  const { rows, length } = batch;
  if (!Number.isInteger(rows) || rows < 1) fail(`has ${rows} rows; it needs at least one`);
  if (!Number.isInteger(length) || length < 1) fail(`has rows of length ${length}`);
  if (length > model.max_seq_length) {
    fail(
      `has rows of ${length} tokens; the model was made for max_seq_length ${model.max_seq_length}`,
      "Build the dataset with the model's max_seq_length, or create the engine with a larger one.",
    );
  }
  if (model.keep_padding && length !== model.max_seq_length) {
    fail(
      `has rows of ${length} tokens; with keep_padding every row has max_seq_length = ${model.max_seq_length}`,
    );
  }
  checkArray("inputIds", batch.inputIds, rows * length);
  checkArray("lengths", batch.lengths, rows);
  if (batch.segmentIds !== undefined) checkArray("segmentIds", batch.segmentIds, rows * length);
  const firstRow = batch.firstRow ?? 0;
  if (!Number.isInteger(firstRow) || firstRow < 0) fail(`has firstRow ${firstRow}`);
  for (let row = 0; row < rows; row++) {
    const count = batch.lengths[row] ?? 0;
    if (count < 0 || count > length) fail(`has lengths[${row}] = ${count} in rows of ${length} tokens`);
  }
}

function checkArray(name: string, array: unknown, elements: number): void {
  if (!isInt32Array(array)) fail(`has no Int32Array as ${name}`);
  else if (array.length !== elements)
    fail(`has ${array.length} elements in ${name}; its shape needs ${elements}`);
}

/** Also for arrays of another realm, which `instanceof` does not know. */
function isInt32Array(value: unknown): value is Int32Array {
  return ArrayBuffer.isView(value) && (value as Int32Array)[Symbol.toStringTag] === "Int32Array";
}

function fail(what: string, hint?: string): never {
  throw new ElectraError("ERR_ELECTRA_BATCH", `The batch ${what}.`, hint === undefined ? {} : { hint });
}
