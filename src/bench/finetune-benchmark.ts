import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import { FinetuningEngine } from "../engine/finetuning-engine.js";
import type { BackendSettings, EngineInfo, OperatorTime } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { evaluateSplit } from "../finetuning/training/evaluate-split.js";
import { type FinetuningSetup, setUpFinetuning } from "../finetuning/training/finetuning-setup.js";
import { loadEncoder } from "../finetuning/training/initial-model.js";
import { RunFeatures } from "../finetuning/training/run-features.js";
import { trainingBatches } from "../finetuning/training/training-batches.js";
import { measureCallOverhead } from "./call-overhead.js";
import { measureGemmCeiling } from "./gemm-ceiling.js";
import { LoopDelayMonitor } from "./loop-delay.js";
import { encoderFlop } from "./model-flop.js";

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
  /** Time every operator of the timed training steps; on the CPU alone. Default false. */
  readonly profile?: boolean;
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
  /** Of the encoder's matrix products. */
  readonly train_gflop_per_s: number;
  /** The part of the training time that passed waiting for the next batch. */
  readonly train_data_wait_share: number;
  /** By how much timers of the main thread came late during training. */
  readonly loop_delay_p99_ms: number;
  readonly loop_delay_max_ms: number;
  /** Microseconds from a call of the engine to its answer when there is nothing to compute. */
  readonly call_us: number;
  /** Examples a second of evaluating the dev split: making features, forward. */
  readonly eval_ex_per_s: number;
  readonly eval_examples: number;
  /** Of the encoder's matrix products. */
  readonly eval_gflop_per_s: number;
  /** Of products at a good shape, measured at the end; null on a GPU. */
  readonly gemm_ceiling_gflop_per_s: number | null;
  /** If it was asked for: what each operator took in all timed training steps together, slowest first. */
  readonly operators?: readonly OperatorTime[];
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
  const { steps = 40, warmupSteps = 4, seed = 1, profile = false } = options;
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
      const delay = new LoopDelayMonitor();
      const training = await timeTraining(engine, setup, features, {
        steps,
        warmupSteps,
        onStart: async () => {
          if (profile) await engine.profile();
          delay.start();
        },
        signal: options.signal,
      });
      const late = delay.stop();
      const operators = profile ? await engine.profile() : undefined;
      const evaluation = await timeEvaluation(engine, setup, features, options.signal);
      const peak = process.resourceUsage().maxRSS / 1024;
      const call = await measureCallOverhead(engine);
      const { device, threads } = engine.info;
      const ceiling = device === "cpu" ? await measureGemmCeiling({ ...options, threads }) : null;
      return {
        task: options.task,
        model_size: setup.hparams.model_size,
        batch_size: options.batchSize,
        max_seq_length: setup.hparams.max_seq_length,
        threads,
        steps,
        train_ex_per_s: training.rows / training.seconds,
        train_tokens_per_s: training.tokens / training.seconds,
        train_gflop_per_s: training.flop / training.seconds / 1e9,
        train_data_wait_share: training.waited / training.seconds,
        loop_delay_p99_ms: late.p99_ms,
        loop_delay_max_ms: late.max_ms,
        call_us: call,
        eval_ex_per_s: evaluation.rows / evaluation.seconds,
        eval_examples: evaluation.rows,
        eval_gflop_per_s: evaluation.flop / evaluation.seconds / 1e9,
        gemm_ceiling_gflop_per_s: ceiling,
        ...(operators === undefined ? {} : { operators }),
        peak_mb: peak,
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
  /** Of the encoder. */
  readonly flop: number;
  readonly seconds: number;
  /** Seconds of them for the next batch. */
  readonly waited: number;
}

interface TrainingTiming {
  readonly steps: number;
  readonly warmupSteps: number;
  /** Before the clock runs, when nothing is under way. */
  readonly onStart: () => Promise<void>;
  readonly signal: AbortSignal | undefined;
}

/** As in `finetune` the next step is sent before this one is done. */
async function timeTraining(
  engine: FinetuningEngine,
  setup: FinetuningSetup,
  features: RunFeatures,
  { steps, warmupSteps, onStart, signal }: TrainingTiming,
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
  let flop = 0;
  let waited = 0;
  let started = performance.now();
  let before: Promise<unknown> | undefined;
  for (let step = 0; step < warmupSteps + steps; step++) {
    signal?.throwIfAborted();
    if (step === warmupSteps) {
      await before;
      before = undefined;
      await onStart();
      [rows, tokens, flop, waited] = [0, 0, 0, 0];
      started = performance.now();
    }
    const asked = performance.now();
    const { batch, rows: members } = (await batches.next()).value;
    waited += (performance.now() - asked) / 1000;
    const current = engine.trainStep(batch, { step, learningRate: hparams.learning_rate });
    current.catch(() => undefined);
    await before;
    rows += members.length;
    tokens += batch.lengths.reduce((sum, length) => sum + length, 0);
    flop += encoderFlop(model.encoder, batch.lengths).training;
    before = current;
  }
  await before;
  return { rows, tokens, flop, waited, seconds: (performance.now() - started) / 1000 };
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
  let flop = 0;
  for await (const { features: row } of outputs) {
    rows++;
    tokens += row.inputIds.length;
    flop += encoderFlop(setup.model.encoder, [row.inputIds.length]).forward;
  }
  return { rows, tokens, flop, waited: 0, seconds: (performance.now() - started) / 1000 };
}
