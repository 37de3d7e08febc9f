import { binaryF1, macroF1 } from "../../metrics/classification-metrics.js";
import {
  accuracyScores,
  type HeadOutputs,
  matthewsScores,
  meanLoss,
  regressionScores,
} from "../../metrics/classification-scores.js";
import type { MetricValues } from "../../metrics/metric-values.js";
import {
  exactLabelSets,
  type MultiLabelOutputs,
  macroLabelF1,
  microF1,
} from "../../metrics/multi-label-metrics.js";
import { nothingToScore } from "../../metrics/nothing-to-score.js";
import type { HeadOutput, TaskFeatures, TaskScorer } from "../task.js";

/**
 * Metrics of tasks on sentences. Regression always reports pearson, spearman and mse, several labels micro_f1, macro_f1 and
 * accuracy (of whole sets); classes what is asked for.
 */
export type SentenceMetric = "accuracy" | "mcc" | "f1" | "macro_f1";

/** Scores classes, labels or values. `loss` comes last, as in the reference. */
export class SentenceScorer implements TaskScorer {
  readonly #kind: "classification" | "multi-label" | "regression";
  readonly #metrics: readonly SentenceMetric[];
  readonly #predictions: number[] = [];
  readonly #labels: number[] = [];
  readonly #losses: number[] = [];
  #width = 0;

  constructor(
    target: { readonly kind: "classification" | "multi-label" | "regression" },
    metrics: readonly SentenceMetric[],
  ) {
    this.#kind = target.kind;
    this.#metrics = metrics;
  }

  add({ target }: TaskFeatures, output: HeadOutput): void {
    const { logits = [], prediction = Number.NaN, loss } = output;
    if (loss !== undefined) this.#losses.push(loss);
    if (target.kind === "classification") {
      this.#predictions.push(largest(logits));
      this.#labels.push(target.label);
    } else if (target.kind === "regression") {
      this.#predictions.push(prediction);
      this.#labels.push(target.value);
    } else if (target.kind === "multi-label") {
      this.#width = target.labels.length;
      for (let i = 0; i < this.#width; i++) {
        this.#predictions.push(logits[i]! > 0 ? 1 : 0);
        this.#labels.push(target.labels[i]!);
      }
    }
  }

  results(): MetricValues {
    const outputs = { predictions: this.#predictions, labels: this.#labels, losses: this.#losses };
    if (this.#labels.length === 0) throw nothingToScore("examples");
    if (this.#kind === "regression") return regressionScores(outputs);
    const values =
      this.#kind === "multi-label"
        ? labelSetScores({ ...outputs, width: this.#width })
        : this.#metrics.map((metric) => classScore(metric, outputs));
    return [...values, ["loss", meanLoss(this.#losses)]];
  }

  /** A model that says the same of every example has not learned, unless the examples are all alike. */
  degenerate(): string | undefined {
    const same = (values: readonly number[]) => values.every((value) => value === values[0]);
    if (this.#kind === "multi-label") {
      const none = !this.#predictions.includes(1) && this.#labels.includes(1);
      return none ? "no label is ever predicted" : undefined;
    }
    if (this.#labels.length < 2 || same(this.#labels) || !same(this.#predictions)) return undefined;
    return `${this.#predictions[0]} is predicted for every example`;
  }
}

function classScore(metric: SentenceMetric, outputs: HeadOutputs): MetricValues[number] {
  if (metric === "accuracy") return accuracyScores(outputs)[0]!;
  if (metric === "mcc") return matthewsScores(outputs)[0]!;
  const { predictions, labels } = outputs;
  return [metric, 100 * (metric === "f1" ? binaryF1(predictions, labels).f1 : macroF1(predictions, labels))];
}

function labelSetScores(outputs: MultiLabelOutputs): MetricValues {
  return [
    ["micro_f1", 100 * microF1(outputs).f1],
    ["macro_f1", 100 * macroLabelF1(outputs)],
    ["accuracy", 100 * exactLabelSets(outputs)],
  ];
}

/** Place of the largest value, the first one on ties. */
function largest(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
