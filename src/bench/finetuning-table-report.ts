import type { EngineInfo } from "../engine/types.js";
import type { MetricSummary } from "../finetuning/results/trial-results.js";
import type { Baseline } from "./finetuning-baselines.js";
import type { FinetuningTableRecipe } from "./finetuning-table-recipe.js";

/** All trials of one start with one layer-wise decay. */
export interface StartResult {
  readonly layerwiseDecay: number;
  readonly summary: MetricSummary;
  /** Trials that predicted one thing for everything. */
  readonly degenerateTrials: number;
  readonly seconds: number;
}

export interface TaskRow {
  readonly task: string;
  readonly metric: string;
  readonly baseline: Baseline;
  /** The better of the recipe's decays. */
  readonly random: StartResult;
  readonly pretrained: StartResult;
}

/** What `bench/finetuning-table.mjs` writes. */
export interface FinetuningTableReport {
  readonly rows: readonly TaskRow[];
  /** Tasks in which the pre-trained start has the better median. */
  readonly won: number;
  readonly pretraining: {
    readonly steps: number;
    readonly tokens: number;
    /** Of the call that finished it; less where it went on from a checkpoint. */
    readonly seconds: number;
    readonly parameters: number;
    readonly metrics: Readonly<Record<string, number>>;
  };
  readonly recipe: FinetuningTableRecipe;
  readonly engine: EngineInfo;
  readonly versions: { readonly electraNative: string; readonly node: string };
}

/** The table in Markdown, as the docs have it. */
export function formatFinetuningTable(report: FinetuningTableReport): string {
  const rows = report.rows.map(({ task, metric, baseline, random, pretrained }) => [
    task,
    metric,
    number(baseline.metrics[metric] ?? null),
    `${spread(random)} (decay ${random.layerwiseDecay})`,
    spread(pretrained),
    gain(random, pretrained),
  ]);
  const header = ["task", "metric", "without a model", "random start", "pre-trained start", "gain"];
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Median ± standard deviation. */
function spread({ summary, degenerateTrials }: StartResult): string {
  const { median, standardDeviation: deviation, trials } = summary;
  const around = deviation === null ? "" : ` ± ${number(deviation)}`;
  const failed = degenerateTrials > 0 ? `, ${degenerateTrials} of ${trials} learned nothing` : "";
  return `${number(median)}${around}${failed}`;
}

function gain(random: StartResult, pretrained: StartResult): string {
  const [from, to] = [random.summary.median, pretrained.summary.median];
  if (from === null || to === null) return "–";
  return `${to > from ? "+" : ""}${number(to - from)}`;
}

function number(value: number | null): string {
  return value === null ? "–" : value.toFixed(1);
}
