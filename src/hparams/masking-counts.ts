import { roundHalfEven } from "./round-half-even.js";

/**
 * Slots per sequence (`max_predictions_per_seq`): `int((mask_prob + 0.005) · max_seq_length)` in double precision,
 * truncated, as the reference computes it.
 */
export function maxPredictionsPerSequence(maskProb: number, maxSeqLength: number): number {
  return Math.trunc((maskProb + 0.005) * maxSeqLength);
}

/**
 * How many slots of a row are used: `max(1, min(maxPredictions, round(numTokens · maskProb)))`. The product is
 * taken in float32 (float32 of 0.15 is not 0.15) and rounded half to even, as TensorFlow does.
 *
 * @param numTokens real tokens of the row, `[CLS]` and `[SEP]` included
 */
export function numberToPredict(numTokens: number, maskProb: number, maxPredictions: number): number {
  const product = Math.fround(Math.fround(numTokens) * Math.fround(maskProb));
  return Math.max(1, Math.min(maxPredictions, roundHalfEven(product)));
}
