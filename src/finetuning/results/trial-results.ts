import type { MetricValues } from "../../metrics/metric-values.js";

/** Results of one trial by task; a further dev split stands under `<task>_<split>`. */
export interface TrialResults {
  /** From 1. */
  readonly trial: number;
  readonly tasks: Readonly<Record<string, MetricValues>>;
  /** Why a task's result is no result, such as one class for everything; by task. */
  readonly degenerate?: Readonly<Record<string, string>>;
}

/** Over the trials that have a value. */
export interface MetricSummary {
  readonly median: number | null;
  readonly mean: number | null;
  /** Of the sample (n − 1); null for fewer than two. */
  readonly standardDeviation: number | null;
  readonly trials: number;
}

export interface TaskSummary {
  readonly metrics: Readonly<Record<string, MetricSummary>>;
  readonly degenerateTrials: readonly { readonly trial: number; readonly reason: string }[];
}

/** Median, mean and standard deviation of every metric over the trials, and the trials that did not learn. */
export function summarizeTrials(trials: readonly TrialResults[]): Readonly<Record<string, TaskSummary>> {
  const names = [...new Set(trials.flatMap(({ tasks }) => Object.keys(tasks)))];
  return Object.fromEntries(
    names.map((task) => {
      const results = trials.flatMap(({ tasks }) => (tasks[task] === undefined ? [] : [tasks[task]]));
      const metrics = [...new Set(results.flatMap((values) => values.map(([metric]) => metric)))];
      return [
        task,
        {
          metrics: Object.fromEntries(metrics.map((metric) => [metric, summaryOf(results, metric)])),
          degenerateTrials: trials.flatMap(({ trial, degenerate }) =>
            degenerate?.[task] === undefined ? [] : [{ trial, reason: degenerate[task] }],
          ),
        },
      ];
    }),
  );
}

function summaryOf(results: readonly MetricValues[], metric: string): MetricSummary {
  const values = results
    .flatMap((result) => result.filter(([name]) => name === metric).map(([, value]) => value))
    .filter((value) => value !== null)
    .sort((a, b) => a - b);
  const count = values.length;
  if (count === 0) return { median: null, mean: null, standardDeviation: null, trials: 0 };
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    median: (values[Math.floor((count - 1) / 2)]! + values[Math.ceil((count - 1) / 2)]!) / 2,
    mean,
    standardDeviation: count < 2 ? null : Math.sqrt(squares / (count - 1)),
    trials: count,
  };
}

/** The line of a task in the reference's form: `mrpc: accuracy: 86.76 - loss: 0.45`. */
export function resultsLine(task: string, values: MetricValues): string {
  const parts = values.map(([metric, value]) => `${metric}: ${value === null ? "nan" : value.toFixed(2)}`);
  return `${task}: ${parts.join(" - ")}`;
}

/** `results.txt`: a line for every trial and task. */
export function resultsText(trials: readonly TrialResults[]): string {
  return trials
    .flatMap(({ tasks }) => Object.entries(tasks))
    .map(([task, values]) => `${resultsLine(task, values)}\n`)
    .join("");
}

/** `results.json`: full precision, with the summary. */
export function resultsJson(trials: readonly TrialResults[]): string {
  const document = {
    trials: trials.map(({ trial, tasks, degenerate = {} }) => ({
      trial,
      tasks: Object.fromEntries(
        Object.entries(tasks).map(([task, values]) => [task, Object.fromEntries(values)]),
      ),
      degenerate,
    })),
    summary: summarizeTrials(trials),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
