import type { FinetuneResult } from "../finetuning/training/finetune.js";
import type { FinetuningSetup } from "../finetuning/training/finetuning-setup.js";
import type { TrialStart } from "../finetuning/training/trial-context.js";
import { formatConfig } from "../telemetry/reference-console.js";
import { textTable } from "../telemetry/text-table.js";
import { formatListing } from "./output.js";

/** What `--dry-run` says of a run. */
export async function describeSetup(
  setup: FinetuningSetup,
): Promise<{ readonly document: unknown; readonly text: string }> {
  const { hparams, initial, heads, tasks, encoder } = setup;
  const sets = await Promise.all(tasks.map((task) => task.examples("train")));
  const listed = heads.map(({ name, head }, i) => ({ name, head, examples: sets[i]!.examples.length }));
  return {
    document: { hparams, initial: initial?.folder ?? null, encoder, tasks: listed },
    text: [
      formatConfig({ ...hparams }),
      "",
      formatListing([
        ["begins with", initial?.folder ?? "random weights"],
        ...listed.map(
          ({ name, head, examples }) =>
            [
              `task ${name}`,
              `${head.kind}${"labels" in head ? ` of ${head.labels.length} classes` : ""}, ${examples} training examples`,
            ] as const,
        ),
      ]),
    ].join("\n"),
  };
}

/** The lines that say what a trial begins with: of the first all variables by group, of others one line. */
export function tensorLines(start: TrialStart, short: boolean): string[] {
  const { parameters, memory, resumedFrom, step, steps, tensors } = start;
  const size = `${(parameters / 1e6).toFixed(1)} M parameters, ${(memory / 2 ** 20).toFixed(0)} MiB held`;
  if (resumedFrom !== undefined) {
    return [
      steps === undefined
        ? `${size}, of ${resumedFrom}`
        : `${size}, continuing ${resumedFrom}: step ${step} of ${steps}`,
    ];
  }
  if (short) return [size];
  const groups = new Map<string, { readonly origin: string; tensors: number; values: number }>();
  for (const { name, shape, origin } of tensors) {
    const group = groupOf(name);
    const key = `${origin} ${group}`;
    const found = groups.get(key) ?? { origin, tensors: 0, values: 0 };
    found.tensors++;
    found.values += shape.reduce((product, width) => product * width, 1);
    groups.set(key, found);
  }
  const rows = [...groups].map(([key, { origin, tensors: count, values }]) => [
    key.slice(origin.length + 1),
    origin,
    String(count),
    String(values),
  ]);
  return [size, textTable([["variables", "origin", "tensors", "values"], ...rows])];
}

/** `electra/encoder`, `task_specific/mrpc`, `discriminator_predictions`: enough to see what was taken over. */
function groupOf(name: string): string {
  const parts = name.split(/[./]/);
  return parts[0] === "electra" || parts[0] === "task_specific" ? parts.slice(0, 2).join("/") : parts[0]!;
}

export function describeResult(result: FinetuneResult): {
  readonly document: unknown;
  readonly text: string;
} {
  const { status, trials, summary, files, seconds, info } = result;
  const document = {
    status,
    trials: trials.map(({ trial, status: ended, steps, checkpoint, results, trainExamplesPerSecond }) => ({
      trial,
      status: ended,
      steps,
      checkpoint: checkpoint ?? null,
      results: Object.fromEntries(
        Object.entries(results?.tasks ?? {}).map(([task, values]) => [task, Object.fromEntries(values)]),
      ),
      degenerate: results?.degenerate ?? {},
      train_ex_per_s: trainExamplesPerSecond ?? null,
    })),
    summary,
    files,
    seconds,
    ...(info === undefined
      ? {}
      : {
          device: info.device,
          gemm: info.gemm,
          isa: info.isa,
          threads: info.threads,
          precision: info.precision,
        }),
  };
  const rows = Object.entries(summary).flatMap(([task, { metrics }]) =>
    Object.entries(metrics).map(([metric, { median, mean, standardDeviation, trials: count }]) => [
      task,
      metric,
      number(median),
      number(mean),
      number(standardDeviation),
      String(count),
    ]),
  );
  const degenerate = Object.entries(summary).flatMap(([task, { degenerateTrials }]) =>
    degenerateTrials.map(({ trial, reason }) => `trial ${trial} has not learned ${task}: ${reason}`),
  );
  const text = [
    formatListing([
      ["status", status],
      [
        "trials",
        trials.map(({ trial, status: ended, steps }) => `${trial}: ${ended}, ${steps} steps`).join("; "),
      ],
      ["time", `${seconds.toFixed(1)} s`],
    ]),
    ...(rows.length === 0
      ? []
      : ["", textTable([["task", "metric", "median", "mean", "std", "trials"], ...rows])]),
    ...degenerate,
  ].join("\n");
  return { document, text };
}

function number(value: number | null): string {
  return value === null ? "-" : value.toFixed(2);
}
