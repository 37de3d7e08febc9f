import type { Tokenizer } from "../../tokenization/tokenizer.js";

/** Ids and segments of a row without padding. */
export interface RowInput {
  readonly inputIds: Int32Array;
  readonly segmentIds: Uint8Array;
}

/**
 * Lengths of two texts cut to a common limit: the longer one loses its last token, on a tie the second, until they fit.
 */
export function truncatedPair(
  lengthA: number,
  lengthB: number,
  limit: number,
): readonly [lengthA: number, lengthB: number] {
  let [a, b] = [lengthA, lengthB];
  while (a + b > Math.max(0, limit)) {
    if (a > b) a--;
    else b--;
  }
  return [a, b];
}

/**
 * `[CLS] a [SEP]`, and if `b` has any token `b [SEP]` in segment 1, cut to `maxSeqLength`. The vocabulary needs `[CLS]` and
 * `[SEP]`.
 */
export function pairInput(
  tokenizer: Tokenizer,
  maxSeqLength: number,
  textA: string,
  textB?: string,
): RowInput {
  const [cls, sep] = tokenizer.vocabulary.require(["[CLS]", "[SEP]"]);
  const a = tokenizer.encode(textA);
  const b = textB === undefined ? new Int32Array(0) : tokenizer.encode(textB);
  const [lengthA, lengthB] =
    b.length === 0
      ? [Math.min(a.length, maxSeqLength - 2), 0]
      : truncatedPair(a.length, b.length, maxSeqLength - 3);
  const first = lengthA + 2;
  const length = first + (b.length === 0 ? 0 : lengthB + 1);
  const inputIds = new Int32Array(length);
  inputIds[0] = cls;
  inputIds.set(a.subarray(0, lengthA), 1);
  inputIds[first - 1] = sep;
  if (length > first) {
    inputIds.set(b.subarray(0, lengthB), first);
    inputIds[length - 1] = sep;
  }
  return { inputIds, segmentIds: new Uint8Array(length).fill(1, first) };
}
