import { checkPairs, type PrecisionRecallF1, precisionRecallF1 } from "./classification-metrics.js";

/** For every example one bit a label: 1 where the label holds. */
export interface MultiLabelOutputs {
  /** Number of labels. */
  readonly width: number;
  /** `examples · width` bits, example by example. */
  readonly predictions: ArrayLike<number>;
  readonly labels: ArrayLike<number>;
}

/** Share of the examples whose labels are all right, 0 to 1. */
export function exactLabelSets({ width, predictions, labels }: MultiLabelOutputs): number {
  checkPairs(predictions, labels);
  const examples = labels.length / width;
  let right = 0;
  for (let example = 0; example < examples; example++) {
    let equal = true;
    for (let i = example * width; equal && i < (example + 1) * width; i++) {
      equal = predictions[i] === labels[i];
    }
    if (equal) right++;
  }
  return right / examples;
}

/** Precision, recall and F1 over all pairs of example and label together. */
export function microF1({ predictions, labels }: MultiLabelOutputs): PrecisionRecallF1 {
  checkPairs(predictions, labels);
  const { right, predicted, actual } = count(predictions, labels, 0, 1);
  return precisionRecallF1(right, predicted, actual);
}

/** Mean of the labels' F1. */
export function macroLabelF1({ width, predictions, labels }: MultiLabelOutputs): number {
  checkPairs(predictions, labels);
  let sum = 0;
  for (let label = 0; label < width; label++) {
    const { right, predicted, actual } = count(predictions, labels, label, width);
    sum += precisionRecallF1(right, predicted, actual).f1;
  }
  return sum / width;
}

function count(predictions: ArrayLike<number>, labels: ArrayLike<number>, from: number, step: number) {
  let right = 0;
  let predicted = 0;
  let actual = 0;
  for (let i = from; i < labels.length; i += step) {
    predicted += predictions[i]!;
    actual += labels[i]!;
    if (predictions[i] === 1 && labels[i] === 1) right++;
  }
  return { right, predicted, actual };
}
