import { fillPlace } from "../../hparams/finetuning-places.js";
import type { MetricValues } from "../../metrics/metric-values.js";
import type { TestOutputs } from "../results/glue-submission.js";
import { resultsLine } from "../results/trial-results.js";
import { replaceFile, writeScorerFiles, writeTestPredictions } from "../results/write-results.js";
import type { TaskScorer } from "../task.js";
import { isUnlabelled } from "../tasks/sentence-task.js";
import { evaluateSplit } from "./evaluate-split.js";
import type { FinetuningSetup } from "./finetuning-setup.js";
import type { RunFeatures } from "./run-features.js";
import type { TrialEngine } from "./save-trial.js";

export interface EvaluateTrialOptions {
  readonly engine: Pick<TrialEngine, "predict">;
  readonly setup: FinetuningSetup;
  readonly features: RunFeatures;
  readonly trial: number;
  readonly signal?: AbortSignal | undefined;
  readonly onLine: (line: string) => void;
}

export interface TrialEvaluation {
  readonly tasks: Readonly<Record<string, MetricValues>>;
  readonly degenerate: Readonly<Record<string, string>>;
  /** Files written beside the results. */
  readonly files: readonly string[];
}

/** Scores a model on the dev splits of all tasks. @throws the signal's reason after an abort */
export async function evaluateTrial(options: EvaluateTrialOptions): Promise<TrialEvaluation> {
  const { setup, onLine } = options;
  const tasks: Record<string, MetricValues> = {};
  const degenerate: Record<string, string> = {};
  const files: string[] = [];
  for (const [taskId, task] of setup.tasks.entries()) {
    for (const [i, split] of task.devSplits.entries()) {
      const name = i === 0 ? task.name : `${task.name}_${split}`;
      const scorer = await scoreSplit(options, taskId, split);
      const values = scorer.results();
      tasks[name] = values;
      const reason = scorer.degenerate?.();
      if (reason !== undefined) degenerate[name] = reason;
      onLine(`${resultsLine(name, values)}\n`);
      files.push(...(await writeScorerFiles(setup.hparams, name, scorer)));
    }
  }
  return { tasks, degenerate, files };
}

async function scoreSplit(options: EvaluateTrialOptions, taskId: number, split: string): Promise<TaskScorer> {
  const scorer = await options.setup.tasks[taskId]!.scorer(split);
  for await (const { features, output } of outputsOf(options, taskId, split)) scorer.add(features, output);
  return scorer;
}

async function* outputsOf(
  { engine, setup, features, signal }: EvaluateTrialOptions,
  taskId: number,
  split: string,
): ReturnType<typeof evaluateSplit> {
  const { name, head } = setup.heads[taskId]!;
  yield* evaluateSplit({
    engine,
    store: await features.split(taskId, split),
    task: name,
    head,
    heads: setup.model.tasks.map((task) => task.head),
    batchSize: isUnlabelled(split) ? setup.hparams.predict_batch_size : setup.hparams.eval_batch_size,
    maxSeqLength: setup.hparams.max_seq_length,
    // Outside of training nobody looks for the place of an answer, so there is no loss.
    labelled: !isUnlabelled(split) && head.kind !== "span",
    signal,
  });
}

/**
 * Predicts the test splits of all tasks, and writes what the reference writes: logits and values, answers to questions; and
 * GLUE's own form.
 *
 * @returns the files
 */
export async function writeTestOutputs(options: EvaluateTrialOptions): Promise<readonly string[]> {
  const { setup, trial, onLine } = options;
  const files: string[] = [];
  for (const [taskId, task] of setup.tasks.entries()) {
    const { name, head } = setup.heads[taskId]!;
    if (head.kind === "tagging" || task.testSplits.length === 0) {
      onLine(`Skipping task ${name} - writing predictions is not supported for this task`);
      continue;
    }
    for (const split of task.testSplits) {
      if (head.kind === "span") {
        files.push(await writeTestAnswers(options, taskId, split));
        continue;
      }
      const outputs = new Map<number, ArrayLike<number> | number>();
      for await (const { features, output } of outputsOf(options, taskId, split)) {
        outputs.set(features.eid, output.prediction ?? output.logits ?? []);
      }
      const written = { task: name, split, trial, head, outputs: outputs as TestOutputs };
      files.push(...(await writeTestPredictions(setup.hparams, written)));
    }
  }
  return files;
}

/** Answers by question, empty where the odds say that there is none. */
async function writeTestAnswers(
  options: EvaluateTrialOptions,
  taskId: number,
  split: string,
): Promise<string> {
  const { setup, trial } = options;
  const { qa_preds_file: answers = {}, qa_na_file: odds = {} } =
    (await scoreSplit(options, taskId, split)).files?.() ?? {};
  const nullOdds = odds as Readonly<Record<string, number>>;
  const final = Object.entries(answers as Readonly<Record<string, string>>).map(([id, text]) => [
    id,
    (nullOdds[id] ?? -Infinity) > setup.hparams.qa_na_threshold ? "" : text,
  ]);
  const path = fillPlace(setup.hparams.test_predictions, { task: setup.tasks[taskId]!.name, split, trial });
  return await replaceFile(path, `${JSON.stringify(Object.fromEntries(final), null, 1)}\n`);
}
