import { access, constants, mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FinetuningEngine } from "../../engine/finetuning-engine.js";
import type { FinetuningEngineCreateOptions } from "../../engine/finetuning-types.js";
import type { BackendSettings, EngineInfo } from "../../engine/types.js";
import { ElectraError } from "../../errors.js";
import type { EventSink } from "../../telemetry/event-sink.js";
import { formatConfig, formatHeading } from "../../telemetry/reference-console.js";
import { featureKey } from "../cache/feature-key.js";
import { summarizeTrials, type TaskSummary, type TrialResults } from "../results/trial-results.js";
import { writeResults } from "../results/write-results.js";
import {
  type FinetuningSetup,
  type SetUpFinetuningOptions,
  setUpFinetuning,
  trialFolder,
} from "./finetuning-setup.js";
import { RunFeatures } from "./run-features.js";
import { runTrial } from "./run-trial.js";
import type { TrialEngine } from "./save-trial.js";
import { trainingData } from "./trial-checks.js";
import type { TrialOutcome, TrialStart } from "./trial-context.js";
import { TRIAL_FILE } from "./trial-state.js";

export interface FinetuneOptions extends SetUpFinetuningOptions, BackendSettings {
  /** Aborting finishes the step at hand, writes a checkpoint and returns with status `interrupted`. */
  readonly signal?: AbortSignal;
  /** Where events go, besides `events.jsonl` and TensorBoard files in each trial's folder. They are not closed. */
  readonly sinks?: readonly EventSink[];
  /** Delete the trials of earlier runs and begin anew. Default false: they are continued, and kept if they are finished. */
  readonly overwrite?: boolean;
  /** Threads that make features. Default: one less than the machine has processors, at most 8. */
  readonly workers?: number;
  /** Told once, before anything is done: everything resolved. */
  readonly onStart?: (setup: FinetuningSetup) => void;
  /** Told of every trial before its first step. */
  readonly onTrial?: (start: TrialStart) => void;
  /** Told the lines that the reference prints. */
  readonly onLine?: (line: string) => void;
  /** What computes. Default: the native engine. */
  readonly createEngine?: (options: FinetuningEngineCreateOptions) => Promise<TrialEngine>;
}

/** What a call of `finetune` did. */
export interface FinetuneResult {
  /** `complete`: all trials had been finished before this call. */
  readonly status: "finished" | "interrupted" | "complete";
  readonly trials: readonly TrialOutcome[];
  /** By task, over the trials that have results. */
  readonly summary: Readonly<Record<string, TaskSummary>>;
  /** Files of results, predictions and answers. */
  readonly files: readonly string[];
  readonly seconds: number;
  readonly info: EngineInfo | undefined;
}

/**
 * Fine-tunes a model on one task or several, evaluates it, and does so as many times as `num_trials` says. Trials that are
 * finished are kept; one that was interrupted goes on where it stopped, bit for bit, as long as data, package and machine
 * settings are the same.
 *
 * @throws ElectraError for everything that a user can mend
 *
 * @example
 * const { summary } = await finetune({ dataDir: "data", modelName: "electra_small", hparams: { task_names: ["mrpc"] } });
 * console.log(summary["mrpc"]?.metrics["accuracy"]?.median);
 */
export async function finetune(options: FinetuneOptions): Promise<FinetuneResult> {
  const started = performance.now();
  const { signal, onLine = () => {} } = options;
  const setup = await setUpFinetuning(options);
  const { hparams } = setup;
  options.onStart?.(setup);
  warnOf(setup, options.sinks ?? []);
  if (hparams.do_train) {
    await claimFolder(dirname(hparams.model_dir));
    if (options.overwrite === true || hparams.debug) await removeTrials(hparams.model_dir);
  }
  const features = new RunFeatures({ setup, workers: options.workers, signal, onLine });
  const outcomes: TrialOutcome[] = [];
  const files: string[] = [];
  try {
    const { tokenizer, tasks } = setup;
    const taskIds = tasks.map((_, id) => id);
    const key = hparams.do_train
      ? await featureKey({ tasks, taskIds, split: "train", tokenizer, hparams })
      : undefined;
    const { device, precision, threads, gemm, isa } = options;
    const context = {
      setup,
      features,
      machine: withoutUndefined({ device, precision, threads, gemm, isa }),
      createEngine: options.createEngine ?? ((wanted) => FinetuningEngine.create(wanted)),
      data: await trainingData(key, setup),
      sinks: options.sinks ?? [],
      signal,
      onTrial: (start: TrialStart) => options.onTrial?.(start),
      onLine,
    };
    for (let trial = 1; hparams.num_trials < 0 || trial <= hparams.num_trials; trial++) {
      if (signal?.aborted === true) break;
      onLine(formatHeading(`Config: model=${hparams.model_name}, trial ${trial}/${hparams.num_trials}`));
      if (trial === 1) onLine(`${formatConfig({ ...hparams })}\n`);
      const outcome = await runTrial(context, trial);
      outcomes.push(outcome);
      files.push(...outcome.files);
      if (outcome.results !== undefined && outcome.status !== "interrupted") {
        const paths = await writeResults(hparams, resultsOf(outcomes));
        files.push(...paths.filter((path) => !files.includes(path)));
      }
      if (outcome.status === "interrupted") break;
      if (!hparams.keep_all_models && hparams.do_train && trial !== hparams.num_trials) {
        await removeModel(trialFolder(hparams, trial));
      }
    }
  } finally {
    await features.close();
  }
  return {
    status: statusOf(outcomes, hparams.num_trials),
    trials: outcomes,
    summary: summarizeTrials(resultsOf(outcomes)),
    files,
    seconds: (performance.now() - started) / 1000,
    info: outcomes.findLast(({ info }) => info !== undefined)?.info,
  };
}

function resultsOf(outcomes: readonly TrialOutcome[]): TrialResults[] {
  return outcomes.flatMap(({ results }) => (results === undefined ? [] : [results]));
}

function statusOf(outcomes: readonly TrialOutcome[], wanted: number): FinetuneResult["status"] {
  const interrupted = outcomes.some(({ status }) => status === "interrupted");
  if (interrupted || wanted < 0 || outcomes.length < wanted) return "interrupted";
  return outcomes.length > 0 && outcomes.every(({ status }) => status === "kept") ? "complete" : "finished";
}

function warnOf({ warnings }: FinetuningSetup, sinks: readonly EventSink[]): void {
  for (const { code, message, hint } of warnings) {
    for (const sink of sinks) sink.emit({ type: "warning", time: Date.now() / 1000, code, message, hint });
  }
}

/** The models' folder must be writable before hours are spent. */
async function claimFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new ElectraError(
      "ERR_ELECTRA_FILE",
      `cannot write into the models' folder ${folder}: ${(error as Error).message}`,
      {
        hint: "Give write permission, or choose another place with --data-dir or the hparam model_dir.",
        cause: error,
      },
    );
  }
}

const RUN_FILES = /^(?:checkpoint-\d+(?:\.(?:tmp|old|del)-\d+)?|events\.jsonl|tensorboard)$/;

/** Removes what trials of earlier runs wrote; never a foreign file. */
async function removeTrials(modelDir: string): Promise<void> {
  const parent = dirname(modelDir);
  const prefix = `${basename(modelDir)}_`;
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix) || !/^\d+$/.test(name.slice(prefix.length))) continue;
    const folder = join(parent, name);
    for (const file of await readdir(folder)) {
      if (RUN_FILES.test(file) || file === TRIAL_FILE)
        await rm(join(folder, file), { recursive: true, force: true });
    }
  }
}

/** Removes the model of a trial; its results stay. */
async function removeModel(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (name.startsWith("checkpoint-")) await rm(join(folder, name), { recursive: true, force: true });
  }
}

function withoutUndefined<T extends object>(value: T): { [Name in keyof T]: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as never;
}
