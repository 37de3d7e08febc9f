import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import { FinetuningEngine } from "../engine/finetuning-engine.js";
import type { BackendSettings, EngineInfo } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { evaluateSplit } from "../finetuning/training/evaluate-split.js";
import { type FinetuningSetup, setUpFinetuning } from "../finetuning/training/finetuning-setup.js";
import { loadEncoder } from "../finetuning/training/initial-model.js";
import { RunFeatures } from "../finetuning/training/run-features.js";
import { trainingBatches } from "../finetuning/training/training-batches.js";

export interface FinetuneBenchmarkOptions extends BackendSettings {
  /** In the reference's layout: `vocab.txt`, `finetuning_data/<task>/`. */
  readonly dataDir: string;
  /** A task of one text or two, or any other that has a dev split. */
  readonly task: string;
  /** Under `<dataDir>/models`. Default: random weights of `modelSize`. */
  readonly modelName?: string;
  readonly modelSize: "small" | "base" | "large";
  /** Rows of a batch. */
  readonly batchSize: number;
  /** Default: that of the task. */
  readonly maxSeqLength?: number;
  /** Steps that are timed. Default 40. */
  readonly steps?: number;
  /** Steps before the clock runs. Default 4. */
  readonly warmupSteps?: number;
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

export interface FinetuneBenchmark {
  readonly task: string;
  readonly model_size: string;
  readonly batch_size: number;
  readonly max_seq_length: number;
  readonly threads: number;
  readonly steps: number;
  /** Examples a second of training: making features, forward, backward, clipping, Adam. */
  readonly train_ex_per_s: number;
  readonly train_tokens_per_s: number;
  /** Examples a second of evaluating the dev split: making features, forward. */
  readonly eval_ex_per_s: number;
  readonly eval_examples: number;
  /** Highest resident memory of the process, MiB. */
  readonly peak_mb: number;
  /** What the engine holds, MiB. */
  readonly engine_mb: number;
  readonly info: EngineInfo;
}

/**
 * Times fine-tuning as `finetune` does it, from the files of the data on: nothing is taken from an earlier run, so making the
 * features is part of both figures. Rows of a batch are as long as its longest; padding is not computed.
 */
export async function benchmarkFinetune(options: FinetuneBenchmarkOptions): Promise<FinetuneBenchmark> {
  const { steps = 40, warmupSteps = 4, seed = 1 } = options;
  const folder = await mkdtemp(join(tmpdir(), "electra-bench-"));
  try {
    const setup = await setUpFinetuning({
      dataDir: options.dataDir,
      modelName: options.modelName ?? "bench",
      hparams: {
        task_names: [options.task],
        train_batch_size: options.batchSize,
        eval_batch_size: options.batchSize,
        preprocessed_data_dir: folder,
        seed,
        ...(options.modelName === undefined ? { init_checkpoint: null, model_size: options.modelSize } : {}),
        ...(options.maxSeqLength === undefined ? {} : { max_seq_length: options.maxSeqLength }),
      },
    });
    const engine = await FinetuningEngine.create({
      ...options,
      model: setup.model,
      seed,
      reserveRows: options.batchSize,
    });
    const features = new RunFeatures({ setup, signal: options.signal, onLine: () => {} });
    try {
      if (setup.initial !== undefined) {
        await loadEncoder(setup.initial, engineParameterStore(engine), setup.heads);
      }
      const training = await timeTraining(engine, setup, features, {
        steps,
        warmupSteps,
        signal: options.signal,
      });
      const evaluation = await timeEvaluation(engine, setup, features, options.signal);
      return {
        task: options.task,
        model_size: setup.hparams.model_size,
        batch_size: options.batchSize,
        max_seq_length: setup.hparams.max_seq_length,
        threads: engine.info.threads,
        steps,
        train_ex_per_s: training.rows / training.seconds,
        train_tokens_per_s: training.tokens / training.seconds,
        eval_ex_per_s: evaluation.rows / evaluation.seconds,
        eval_examples: evaluation.rows,
        peak_mb: process.resourceUsage().maxRSS / 1024,
        engine_mb: engine.memory().total / 2 ** 20,
        info: engine.info,
      };
    } finally {
      await features.close();
      await engine.dispose();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Timed {
  readonly rows: number;
  readonly tokens: number;
  readonly seconds: number;
}

/** As in `finetune` the next step is sent before this one is done. */
async function timeTraining(
  engine: FinetuningEngine,
  setup: FinetuningSetup,
  features: RunFeatures,
  { steps, warmupSteps, signal }: { steps: number; warmupSteps: number; signal: AbortSignal | undefined },
): Promise<Timed> {
  const { hparams, model } = setup;
  const store = await features.train();
  const count = await store.rowCount();
  if (count === 0) {
    throw new ElectraError(
      "ERR_ELECTRA_TASK_DATA",
      `The training data of ${setup.heads[0]!.name} have no rows.`,
      {
        hint: "Check the files of the task.",
        exitCode: 2,
      },
    );
  }
  const batches = trainingBatches({
    store,
    rows: count,
    batchSize: hparams.train_batch_size,
    heads: model.tasks.map(({ head }) => head),
    seed: hparams.seed,
    trial: 1,
    reshuffle: hparams.reshuffle_each_epoch,
    skip: 0,
  });
  let rows = 0;
  let tokens = 0;
  let started = performance.now();
  let before: Promise<unknown> | undefined;
  for (let step = 0; step < warmupSteps + steps; step++) {
    signal?.throwIfAborted();
    const { batch, rows: members } = (await batches.next()).value;
    const current = engine.trainStep(batch, { step, learningRate: hparams.learning_rate });
    current.catch(() => undefined);
    await before;
    if (step === warmupSteps) {
      rows = 0;
      tokens = 0;
      started = performance.now();
    }
    rows += members.length;
    tokens += batch.lengths.reduce((sum, length) => sum + length, 0);
    before = current;
  }
  await before;
  return { rows, tokens, seconds: (performance.now() - started) / 1000 };
}

async function timeEvaluation(
  engine: FinetuningEngine,
  setup: FinetuningSetup,
  features: RunFeatures,
  signal: AbortSignal | undefined,
): Promise<Timed> {
  const started = performance.now();
  const { name, head } = setup.heads[0]!;
  const outputs = evaluateSplit({
    engine,
    store: await features.split(0, setup.tasks[0]!.devSplits[0]!),
    task: name,
    head,
    heads: setup.model.tasks.map((task) => task.head),
    batchSize: setup.hparams.eval_batch_size,
    maxSeqLength: setup.hparams.max_seq_length,
    labelled: head.kind !== "span",
    signal,
  });
  let rows = 0;
  let tokens = 0;
  for await (const { features: row } of outputs) {
    rows++;
    tokens += row.inputIds.length;
  }
  return { rows, tokens, seconds: (performance.now() - started) / 1000 };
}
