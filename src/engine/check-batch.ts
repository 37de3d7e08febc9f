import { ElectraError } from "../errors.js";
import type { Batch } from "./types.js";

/** What a model says of the rows that it takes. */
export interface RowLimits {
  readonly max_seq_length: number;
  readonly keep_padding?: boolean;
}

/**
 * Refuses a batch whose arrays do not fit its shape. Ids are checked natively, where reading them costs nothing here.
 *
 * @throws ElectraError `ERR_ELECTRA_BATCH`
 */
export function checkBatch(batch: Batch, model: RowLimits): void {
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
  checkInts("inputIds", batch.inputIds, rows * length);
  checkInts("lengths", batch.lengths, rows);
  if (batch.segmentIds !== undefined) checkInts("segmentIds", batch.segmentIds, rows * length);
  const firstRow = batch.firstRow ?? 0;
  if (!Number.isInteger(firstRow) || firstRow < 0) fail(`has firstRow ${firstRow}`);
  for (let row = 0; row < rows; row++) {
    const count = batch.lengths[row] ?? 0;
    if (count < 0 || count > length) fail(`has lengths[${row}] = ${count} in rows of ${length} tokens`);
  }
}

/** Refuses what is no Int32Array of so many elements. @throws ElectraError `ERR_ELECTRA_BATCH` */
export function checkInts(name: string, array: unknown, elements: number): void {
  checkArray(name, array, "Int32Array", elements);
}

/** Refuses what is no Float32Array of so many elements. @throws ElectraError `ERR_ELECTRA_BATCH` */
export function checkFloats(name: string, array: unknown, elements: number): void {
  checkArray(name, array, "Float32Array", elements);
}

function checkArray(name: string, array: unknown, type: string, elements: number): void {
  if (typeOf(array) !== type) fail(`has no ${type} as ${name}`);
  const { length } = array as Int32Array | Float32Array;
  if (length !== elements) fail(`has ${length} elements in ${name}; its shape needs ${elements}`);
}

/** Also for arrays of another realm, which `instanceof` does not know. */
function typeOf(value: unknown): string | undefined {
  return ArrayBuffer.isView(value) ? (value as Int32Array)[Symbol.toStringTag] : undefined;
}

function fail(what: string, hint?: string): never {
  throw new ElectraError("ERR_ELECTRA_BATCH", `The batch ${what}.`, hint === undefined ? {} : { hint });
}
