import { Engine } from "../engine/engine.js";
import type { BackendSettings, Batch, EngineInfo, EngineObjective, OperatorTime } from "../engine/types.js";
import { resolvePretrainingHparams } from "../hparams/pretraining-hparams.js";
import { SeededRandom } from "../metrics/seeded-random.js";
import { pretrainingModelConfig } from "../pretraining/model-config.js";
import { measureCallOverhead } from "./call-overhead.js";
import { measureGemmCeiling } from "./gemm-ceiling.js";
import { type LoopDelay, LoopDelayMonitor } from "./loop-delay.js";
import { pretrainingStepFlop } from "./model-flop.js";
import { spreadOf } from "./spread.js";

export interface StepBenchmarkOptions extends BackendSettings {
  readonly modelSize: "small" | "base" | "large";
  /** Default `electra`. */
  readonly objective?: EngineObjective;
  /** Rows of a batch. */
  readonly batchSize: number;
  /** Tokens of a row; all of them real. */
  readonly maxSeqLength: number;
  /** Steps that are timed. Default 10. */
  readonly steps?: number;
  /** Steps before the clock runs. Default 3. */
  readonly warmupSteps?: number;
  /** Time every operator of the timed steps; on the CPU alone. Default false. */
  readonly profile?: boolean;
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

export interface StepBenchmark {
  readonly model_size: string;
  readonly objective: EngineObjective;
  readonly batch_size: number;
  readonly max_seq_length: number;
  readonly threads: number;
  readonly steps: number;
  /** From the median. */
  readonly tokens_per_s: number;
  /** Median. */
  readonly sec_per_step: number;
  readonly sec_per_step_min: number;
  /** Half of the steps took between the quartiles. */
  readonly sec_per_step_q1: number;
  readonly sec_per_step_q3: number;
  readonly sec_per_step_max: number;
  /** In the matrix products of a step. */
  readonly gflop_per_step: number;
  /** From the median. */
  readonly gflop_per_s: number;
  /** Of products at a good shape, measured after the steps; null on a GPU. */
  readonly gemm_ceiling_gflop_per_s: number | null;
  /** `gflop_per_s` as a part of it. */
  readonly gemm_ceiling_share: number | null;
  /** By how much timers of the main thread came late during the timed steps. */
  readonly loop_delay_p99_ms: number;
  readonly loop_delay_max_ms: number;
  /** Microseconds from a call of the engine to its answer when there is nothing to compute. */
  readonly call_us: number;
  /** The same as a part of the median step. */
  readonly call_share: number;
  /** The part of the time that passed with no step on the engine's thread. */
  readonly idle_share: number;
  /** Highest resident memory of the process, MiB. */
  readonly peak_mb: number;
  /** What the engine holds for the model and its steps, MiB: a step allocates nothing beyond it. */
  readonly engine_mb: number;
  readonly parameters: number;
  /** If it was asked for: what each operator took in all timed steps together, slowest first. */
  readonly operators?: readonly OperatorTime[];
  /** If it was asked for: seconds of all timed steps on the engine's thread; what the operators leave of them is between them. */
  readonly engine_s?: number;
  readonly info: EngineInfo;
}

/**
 * Times whole pre-training steps: masking, generator, Gumbel sampling over the whole vocabulary, discriminator, both
 * backward passes, clipping and Adam; dropout 0.1, random ids without padding, fresh masks each step. It is the same call
 * that `pretrain` makes. The generator is a quarter of the discriminator's width (base: a third, as published). Electric's is
 * two towers, which predict every token; a masked LM is its own generator.
 */
export async function benchmarkStep(options: StepBenchmarkOptions): Promise<StepBenchmark> {
  const { modelSize, batchSize, maxSeqLength, steps = 10, warmupSteps = 3, seed = 1, signal } = options;
  const { objective = "electra", profile = false } = options;
  const { hparams } = resolvePretrainingHparams({
    dataDir: ".",
    modelName: "bench",
    hparams: {
      model_size: modelSize,
      max_seq_length: maxSeqLength,
      train_batch_size: batchSize,
      electra_objective: objective === "electra",
      electric_objective: objective === "electric",
      ...(modelSize === "base" ? { generator_hidden_size: 1 / 3 } : {}),
    },
  });
  const model = pretrainingModelConfig(hparams, { cls: 101, sep: 102, mask: 103 });
  const engine = await Engine.create({
    ...options,
    model,
    seed,
    reserveRows: batchSize,
  });
  try {
    const batch = randomBatch(batchSize, maxSeqLength, seed);
    const timed = await timeSteps(engine, batch, { warmupSteps, steps, profile, signal });
    // The memory of the measurements below is not the step's.
    const peak = process.resourceUsage().maxRSS / 1024;
    const memory = engine.memory().total / 2 ** 20;
    const spread = spreadOf(timed.seconds);
    const elapsed = timed.seconds.reduce((sum, each) => sum + each, 0);
    const call = await measureCallOverhead(engine);
    const flop = pretrainingStepFlop(model, batch.lengths, timed.slots);
    const ceiling =
      engine.info.device === "cpu"
        ? await measureGemmCeiling({ ...options, threads: engine.info.threads })
        : null;
    const rate = flop / spread.median / 1e9;
    return {
      model_size: modelSize,
      objective,
      batch_size: batchSize,
      max_seq_length: maxSeqLength,
      threads: engine.info.threads,
      steps,
      tokens_per_s: (batchSize * maxSeqLength) / spread.median,
      sec_per_step: spread.median,
      sec_per_step_min: spread.min,
      sec_per_step_q1: spread.q1,
      sec_per_step_q3: spread.q3,
      sec_per_step_max: spread.max,
      gflop_per_step: flop / 1e9,
      gflop_per_s: rate,
      gemm_ceiling_gflop_per_s: ceiling,
      gemm_ceiling_share: ceiling === null ? null : rate / ceiling,
      loop_delay_p99_ms: timed.delay.p99_ms,
      loop_delay_max_ms: timed.delay.max_ms,
      call_us: call,
      call_share: call / 1e6 / spread.median,
      idle_share: Math.max(0, 1 - timed.engineSeconds / elapsed),
      peak_mb: peak,
      engine_mb: memory,
      parameters: engine.parameters().reduce((sum, { elements }) => sum + elements, 0),
      ...(timed.operators === undefined ? {} : { operators: timed.operators, engine_s: timed.engineSeconds }),
      info: engine.info,
    };
  } finally {
    await engine.dispose();
  }
}

interface TimedSteps {
  /** From the end of one step to the end of the next. */
  readonly seconds: readonly number[];
  /** Of all of them, on the engine's thread. */
  readonly engineSeconds: number;
  /** Masked tokens of a step. */
  readonly slots: number;
  readonly delay: LoopDelay;
  readonly operators?: readonly OperatorTime[];
}

interface StepTiming {
  readonly warmupSteps: number;
  readonly steps: number;
  readonly profile: boolean;
  readonly signal: AbortSignal | undefined;
}

/** As in `pretrain` the next step is sent before this one is done, so that the engine does not wait for the event loop. */
async function timeSteps(engine: Engine, batch: Batch, timing: StepTiming): Promise<TimedSteps> {
  const { warmupSteps, steps, profile, signal } = timing;
  const seconds: number[] = [];
  let engineSeconds = 0;
  let slots = 0;
  const delay = new LoopDelayMonitor();
  const send = (step: number) => engine.trainStep(batch, { step, learningRate: 5e-4 });
  // Drops what the steps before took; those after it are not under way yet.
  const forget = async () => {
    if (profile) await engine.profile();
    delay.start();
  };
  const total = warmupSteps + steps;
  if (warmupSteps === 0) await forget();
  let before = performance.now();
  let current = send(0);
  for (let step = 0; step < total; step++) {
    // Nothing runs between the last step that is not timed and the first that is.
    const starts = step + 1 === warmupSteps;
    let next = step + 1 < total && !starts ? send(step + 1) : undefined;
    // A failure of this step is thrown below; the one behind it is dropped for the same reason.
    next?.catch(() => {});
    const result = await current;
    const now = performance.now();
    if (step >= warmupSteps) {
      seconds.push((now - before) / 1000);
      engineSeconds += result.seconds;
      slots = result.slots;
    }
    before = now;
    signal?.throwIfAborted();
    if (starts) {
      await forget();
      before = performance.now();
      next = send(step + 1);
      next.catch(() => {});
    }
    if (next !== undefined) current = next;
  }
  return {
    seconds,
    engineSeconds,
    slots,
    delay: delay.stop(),
    ...(profile ? { operators: await engine.profile() } : {}),
  };
}

/** Ids of ordinary words of the 30522-word vocabulary, every row full. */
function randomBatch(rows: number, length: number, seed: number): Batch {
  const random = new SeededRandom(seed);
  return {
    rows,
    length,
    inputIds: Int32Array.from({ length: rows * length }, () => 1000 + random.below(29_000)),
    lengths: new Int32Array(rows).fill(length),
  };
}
