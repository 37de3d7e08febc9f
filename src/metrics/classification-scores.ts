import {
  accuracy,
  checkPairs,
  type Labels,
  matthewsCorrelation,
  precisionRecallF1,
} from "./classification-metrics.js";
import type { MetricValues } from "./metric-values.js";
import { pearson } from "./pearson.js";
import { spearman } from "./spearman.js";

/** What the head of a classification or regression task gave for a whole split. */
export interface HeadOutputs {
  readonly predictions: Labels;
  /** Gold classes, or target values. */
  readonly labels: Labels;
  /** Loss of every example. */
  readonly losses: ArrayLike<number>;
}

/** The reference's results of classification tasks: `accuracy` in percent, `loss` (mean). */
export function accuracyScores({ predictions, labels, losses }: HeadOutputs): MetricValues {
  return [
    ["accuracy", 100 * accuracy(predictions, labels)],
    ["loss", meanLoss(losses)],
  ];
}

/** The reference's results of CoLA: `mcc` in percent, `loss`. */
export function matthewsScores({ predictions, labels, losses }: HeadOutputs): MetricValues {
  return [
    ["mcc", 100 * matthewsCorrelation(predictions, labels)],
    ["loss", meanLoss(losses)],
  ];
}

/** The reference's results of STS-B: `pearson` and `spearman` in percent, `mse`, `loss`. */
export function regressionScores({ predictions, labels, losses }: HeadOutputs): MetricValues {
  checkPairs(predictions, labels);
  let squares = 0;
  for (let i = 0; i < labels.length; i++) squares += (predictions[i]! - labels[i]!) ** 2;
  return [
    ["pearson", percent(pearson(predictions, labels))],
    ["spearman", percent(spearman(predictions, labels))],
    ["mse", squares / labels.length],
    ["loss", meanLoss(losses)],
  ];
}

/**
 * The reference's own F1 scorer, which none of its tasks uses: it takes for gold only what was predicted as class 1, so
 * that recall equals precision. Kept for comparing; use `binaryF1` for a true F1.
 */
export function referenceF1Scores({ predictions, labels, losses }: HeadOutputs): MetricValues {
  checkPairs(predictions, labels);
  let right = 0;
  let predicted = 0;
  for (let i = 0; i < labels.length; i++) {
    if (predictions[i] !== 1) continue;
    predicted++;
    if (predictions[i] === labels[i]) right++;
  }
  const { precision, recall, f1 } = precisionRecallF1(right, predicted, predicted);
  return [
    ["precision", 100 * precision],
    ["recall", 100 * recall],
    ["f1", 100 * f1],
    ["loss", meanLoss(losses)],
  ];
}

function percent(value: number | null): number | null {
  return value === null ? null : 100 * value;
}

/** Mean of the examples' losses. */
export function meanLoss(losses: ArrayLike<number>): number | null {
  let sum = 0;
  for (let i = 0; i < losses.length; i++) sum += losses[i]!;
  return losses.length === 0 ? null : sum / losses.length;
}
