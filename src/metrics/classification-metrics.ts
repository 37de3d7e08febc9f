import { nothingToScore } from "./nothing-to-score.js";

/** Class numbers, or bits. */
export type Labels = ArrayLike<number>;

/** Shares from 0 to 1. */
export interface PrecisionRecallF1 {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

/**
 * Share of equal labels, 0 to 1.
 *
 * @throws ElectraError `ERR_ELECTRA_METRIC` for no examples; RangeError for lists of different length
 */
export function accuracy(predictions: Labels, labels: Labels): number {
  checkPairs(predictions, labels);
  let right = 0;
  for (let i = 0; i < labels.length; i++) if (predictions[i] === labels[i]) right++;
  return right / labels.length;
}

/**
 * Matthews' correlation coefficient, −1 to 1, for any number of classes (Gorodkin 2004); 0 where all labels or all
 * predictions are of one class.
 *
 * @throws ElectraError `ERR_ELECTRA_METRIC` for no examples
 */
export function matthewsCorrelation(predictions: Labels, labels: Labels): number {
  checkPairs(predictions, labels);
  const predicted = new Map<number, number>();
  const actual = new Map<number, number>();
  let right = 0;
  for (let i = 0; i < labels.length; i++) {
    const [p, t] = [predictions[i]!, labels[i]!];
    predicted.set(p, (predicted.get(p) ?? 0) + 1);
    actual.set(t, (actual.get(t) ?? 0) + 1);
    if (p === t) right++;
  }
  const total = labels.length;
  let product = 0;
  for (const [label, count] of predicted) product += count * (actual.get(label) ?? 0);
  const spread = (counts: ReadonlyMap<number, number>) =>
    total ** 2 - [...counts.values()].reduce((sum, count) => sum + count ** 2, 0);
  const scale = Math.sqrt(spread(predicted) * spread(actual));
  return scale === 0 ? 0 : (right * total - product) / scale;
}

/** Precision, recall and F1 from counts; each is 0 where it would be 0/0. */
export function precisionRecallF1(right: number, predicted: number, actual: number): PrecisionRecallF1 {
  const precision = predicted === 0 ? 0 : right / predicted;
  const recall = actual === 0 ? 0 : right / actual;
  const f1 = right === 0 ? 0 : (2 * precision * recall) / (precision + recall);
  return { precision, recall, f1 };
}

/**
 * F1 of one class against the rest, as GLUE defines it for MRPC and QQP.
 *
 * @param positive the class; default 1
 */
export function binaryF1(predictions: Labels, labels: Labels, positive = 1): PrecisionRecallF1 {
  checkPairs(predictions, labels);
  let right = 0;
  let predicted = 0;
  let actual = 0;
  for (let i = 0; i < labels.length; i++) {
    if (predictions[i] === positive) predicted++;
    if (labels[i] === positive) actual++;
    if (predictions[i] === positive && labels[i] === positive) right++;
  }
  return precisionRecallF1(right, predicted, actual);
}

/** Mean of the classes' F1 over the classes that occur, in labels or in predictions. */
export function macroF1(predictions: Labels, labels: Labels): number {
  checkPairs(predictions, labels);
  const classes = new Set([...Array.from(predictions), ...Array.from(labels)]);
  const sum = [...classes].reduce((total, label) => total + binaryF1(predictions, labels, label).f1, 0);
  return sum / classes.size;
}

/** Throws unless the lists are of one length and hold anything. */
export function checkPairs(predictions: Labels, labels: Labels): void {
  if (predictions.length !== labels.length) {
    throw new RangeError(`${predictions.length} predictions beside ${labels.length} labels`);
  }
  if (labels.length === 0) throw nothingToScore("examples");
}
