import type { HfConfig } from "../../checkpoint/hf-config.js";
import { SeededRandom } from "../../metrics/seeded-random.js";

/** Rows of ids that mean nothing, of different lengths, side by side in a batch. */
export interface RandomRows {
  /** [rows · length] with zeros at padding, like the others */
  readonly inputIds: Int32Array;
  readonly segmentIds: Int32Array;
  readonly lengths: Int32Array;
  readonly rows: number;
  readonly length: number;
}

/** Long enough for a beam of 20, short enough for float64 in JavaScript. */
const LENGTH = 24;

/**
 * @param allInSegmentOne as tagging models have it; else the last two thirds of each row are in segment 1
 * @param special ids of `[CLS]` and `[SEP]`, which stand at both ends, and `[SEP]` also where segment 1 begins
 */
export function randomRows(
  { vocab_size: words, max_position_embeddings: positions }: HfConfig,
  special: { readonly cls: number; readonly sep: number },
  allInSegmentOne: boolean,
): RandomRows {
  const length = Math.min(LENGTH, positions);
  const lengths = Int32Array.of(length, Math.ceil(length / 2), Math.min(5, length));
  const rows = lengths.length;
  const random = new SeededRandom(6);
  const inputIds = new Int32Array(rows * length);
  const segmentIds = new Int32Array(rows * length);
  lengths.forEach((count, row) => {
    const boundary = Math.ceil(count / 3);
    for (let position = 0; position < count; position++) {
      const at = row * length + position;
      const separates = position === count - 1 || position === boundary - 1;
      inputIds[at] = position === 0 ? special.cls : separates ? special.sep : random.below(words);
      segmentIds[at] = allInSegmentOne || position >= boundary ? 1 : 0;
    }
  });
  return { inputIds, segmentIds, lengths, rows, length };
}
