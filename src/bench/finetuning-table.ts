import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { EngineInfo } from "../engine/types.js";
import { squadQuestions } from "../finetuning/reading/squad-file.js";
import { findTaskFile, readTaskText } from "../finetuning/reading/task-file.js";
import { createTasks } from "../finetuning/tasks/create-task.js";
import { finetune } from "../finetuning/training/finetune.js";
import { resolveFinetuningHparams } from "../hparams/finetuning-hparams.js";
import { packageVersion } from "../package-root.js";
import { pretrain } from "../pretraining/pretrain.js";
import type { EventSink } from "../telemetry/event-sink.js";
import { Tokenizer } from "../tokenization/tokenizer.js";
import { Vocabulary } from "../tokenization/vocabulary.js";
import { answerBaseline, type Baseline, constantBaseline } from "./finetuning-baselines.js";
import { prepareTableData, type TableData } from "./finetuning-table-data.js";
import {
  type FinetuningTableRecipe,
  finetuningTableRecipe,
  type TableTask,
} from "./finetuning-table-recipe.js";
import type { FinetuningTableReport, StartResult, TaskRow } from "./finetuning-table-report.js";

export interface FinetuningTableOptions {
  /** Folders of text to pre-train on, one sentence a line. */
  readonly corpusDirs: readonly string[];
  /** Holds a folder for each task, as the reference's `finetuning_data`. */
  readonly tasksDir: string;
  readonly workDir: string;
  readonly reportFile: string;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly sinks?: readonly EventSink[];
  readonly log?: (line: string) => void;
  readonly recipe?: FinetuningTableRecipe;
}

/**
 * Pre-trains a small encoder, then fine-tunes it and a random one of the same shape on the recipe's tasks, and sets both
 * beside what labels alone give. Stopped, the next call with the same folder goes on where it was.
 *
 * @returns the report, also written to `reportFile`; undefined when the signal stopped it
 */
export async function runFinetuningTable(
  options: FinetuningTableOptions,
): Promise<FinetuningTableReport | undefined> {
  const { recipe = finetuningTableRecipe, log = () => {}, workDir } = options;
  const run: Run = {
    recipe,
    log,
    data: await prepareTableData({ ...options, recipe, log }),
    common: {
      ...(options.sinks === undefined ? {} : { sinks: options.sinks }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    },
  };
  const encoder = await trainEncoder(run);
  if (encoder === undefined) return undefined;
  const rows: TaskRow[] = [];
  for (const task of recipe.finetuning.tasks) {
    const row = await measureTask(run, task, encoder.folder, join(workDir, "results"));
    if (row === undefined) return undefined;
    rows.push(row);
  }
  const report: FinetuningTableReport = {
    rows,
    won: rows.filter(({ random, pretrained }) => better(pretrained, random)).length,
    pretraining: encoder.training,
    recipe,
    engine: encoder.engine,
    versions: { electraNative: packageVersion(), node: process.versions.node },
  };
  await replaceJson(options.reportFile, report);
  return report;
}

interface Run {
  readonly recipe: FinetuningTableRecipe;
  readonly log: (line: string) => void;
  readonly data: TableData;
  readonly common: Pick<FinetuningTableOptions, "sinks" | "threads" | "signal">;
}

interface Encoder {
  readonly folder: string;
  readonly engine: EngineInfo;
  readonly training: FinetuningTableReport["pretraining"];
}

async function trainEncoder({ recipe, data, common, log }: Run): Promise<Encoder | undefined> {
  const { hparams, steps, warmupSteps } = recipe.pretraining;
  const all = {
    ...hparams,
    vocab_size: recipe.corpus.vocabSize,
    max_seq_length: recipe.corpus.maxSeqLength,
    num_train_steps: steps,
    num_warmup_steps: warmupSteps,
    save_checkpoints_steps: Math.max(1, Math.ceil(steps / 6)),
    keep_checkpoint_max: 1,
  };
  let parameters = 0;
  const result = await pretrain({
    dataDir: data.dataDir,
    // Other settings make another model, not one that goes on from this.
    modelName: `encoder-${keyOf(all)}`,
    preset: "fixed",
    hparams: all,
    onStart: (start) => {
      parameters = start.parameters;
      log(
        `pre-training: ${parameters} parameters, ${data.examples} examples, ${start.step} of ${steps} steps done`,
      );
    },
    ...common,
  });
  if (result.status === "interrupted") return undefined;
  const { seconds, tokens, metrics } = result;
  return {
    folder: result.modelDir,
    engine: result.info,
    training: { steps, tokens, seconds, parameters, metrics },
  };
}

async function measureTask(
  run: Run,
  task: TableTask,
  encoder: string,
  resultsDir: string,
): Promise<TaskRow | undefined> {
  const [usual] = run.recipe.finetuning.layerwiseDecays;
  const measured = async (start: string | null, decay: number) =>
    await measureStart(run, task, start, decay, resultsDir);
  const pretrained = await measured(encoder, usual);
  if (pretrained === undefined) return undefined;
  let random: StartResult | undefined;
  for (const decay of run.recipe.finetuning.layerwiseDecays) {
    const result = await measured(null, decay);
    if (result === undefined) return undefined;
    if (random === undefined || better(result, random)) random = result;
  }
  const baseline = await baselineOf(run, task);
  return { task: task.name, metric: task.metric, baseline, random: random!, pretrained };
}

/** All trials of one start; what an earlier call measured is read. */
async function measureStart(
  { recipe, data, common, log }: Run,
  task: TableTask,
  start: string | null,
  decay: number,
  resultsDir: string,
): Promise<StartResult | undefined> {
  const hparams = {
    ...hparamsOf(recipe, data, task),
    init_checkpoint: start,
    layerwise_lr_decay: decay,
    num_trials: task.trials,
  };
  const name = `${start === null ? "random" : "pretrained"}-${decay}-${keyOf({ ...hparams, key: recipe.pretraining })}`;
  const known = join(resultsDir, `${task.name}-${name}.json`);
  const before = await readFile(known, "utf8").catch(() => undefined);
  if (before !== undefined) return JSON.parse(before) as StartResult;
  log(`${task.name}: ${start === null ? "random start" : "pre-trained start"}, layer-wise decay ${decay}`);
  const began = performance.now();
  const { status, summary } = await finetune({
    dataDir: data.dataDir,
    modelName: name,
    hparams,
    ...common,
  });
  if (status === "interrupted") return undefined;
  const { metrics, degenerateTrials } = summary[task.name]!;
  const result: StartResult = {
    layerwiseDecay: decay,
    summary: metrics[task.metric]!,
    degenerateTrials: degenerateTrials.length,
    seconds: (performance.now() - began) / 1000,
  };
  await replaceJson(known, result);
  return result;
}

function hparamsOf(
  recipe: FinetuningTableRecipe,
  data: TableData,
  task: TableTask,
): Readonly<Record<string, unknown>> {
  return {
    ...recipe.finetuning.hparams,
    ...task.hparams,
    task_names: [task.name],
    vocab_size: recipe.corpus.vocabSize,
    vocab_file: join(data.dataDir, "vocab.txt"),
    raw_data_dir: data.taskFolders.get(task.name)!,
  };
}

async function baselineOf({ recipe, data }: Run, task: TableTask): Promise<Baseline> {
  const { hparams } = resolveFinetuningHparams({
    dataDir: data.dataDir,
    modelName: "baseline",
    hparams: hparamsOf(recipe, data, task),
  });
  const text = await readFile(hparams.vocab_file, "utf8");
  const vocabulary = Vocabulary.parse(text, { source: hparams.vocab_file });
  const [made] = await createTasks({ hparams, tokenizer: new Tokenizer({ vocabulary }) });
  if ((await made!.head()).kind !== "span") return await constantBaseline(made!);
  const questions = async (split: string) => {
    const file = await findTaskFile({
      task: task.name,
      split,
      candidates: [`${split}.json`],
      folder: hparams.raw_data_dir,
    });
    return squadQuestions(await readTaskText(file), file, { unanswerable: false }).questions;
  };
  return answerBaseline(await questions("train"), await questions("dev"));
}

function better(a: StartResult, b: StartResult): boolean {
  return (a.summary.median ?? -Infinity) > (b.summary.median ?? -Infinity);
}

function keyOf(settings: object): string {
  return createHash("sha256").update(JSON.stringify(settings)).digest("hex").slice(0, 6);
}

async function replaceJson(path: string, value: unknown): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.tmp`, `${JSON.stringify(value, null, 2)}\n`);
  await rename(`${path}.tmp`, path);
}
