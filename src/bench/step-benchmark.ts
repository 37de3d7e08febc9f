import { Engine } from "../engine/engine.js";
import type { BackendSettings, Batch, EngineInfo, EngineObjective } from "../engine/types.js";
import { resolvePretrainingHparams } from "../hparams/pretraining-hparams.js";
import { SeededRandom } from "../metrics/seeded-random.js";
import { pretrainingModelConfig } from "../pretraining/model-config.js";

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
  readonly sec_per_step_max: number;
  /** Highest resident memory of the process, MiB. */
  readonly peak_mb: number;
  /** What the engine holds for the model and its steps, MiB: a step allocates nothing beyond it. */
  readonly engine_mb: number;
  readonly parameters: number;
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
  const { objective = "electra" } = options;
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
  const engine = await Engine.create({
    ...options,
    model: pretrainingModelConfig(hparams, { cls: 101, sep: 102, mask: 103 }),
    seed,
    reserveRows: batchSize,
  });
  try {
    const batch = randomBatch(batchSize, maxSeqLength, seed);
    const seconds = await timeSteps(engine, batch, warmupSteps, steps, signal);
    seconds.sort((a, b) => a - b);
    const median = (seconds[(seconds.length - 1) >> 1]! + seconds[seconds.length >> 1]!) / 2;
    return {
      model_size: modelSize,
      objective,
      batch_size: batchSize,
      max_seq_length: maxSeqLength,
      threads: engine.info.threads,
      steps,
      tokens_per_s: (batchSize * maxSeqLength) / median,
      sec_per_step: median,
      sec_per_step_min: seconds[0]!,
      sec_per_step_max: seconds.at(-1)!,
      peak_mb: process.resourceUsage().maxRSS / 1024,
      engine_mb: engine.memory().total / 2 ** 20,
      parameters: engine.parameters().reduce((sum, { elements }) => sum + elements, 0),
      info: engine.info,
    };
  } finally {
    await engine.dispose();
  }
}

/**
 * Seconds from the end of one step to the end of the next. As in `pretrain` the next step is sent before this one is done,
 * so that the engine does not wait for the event loop.
 */
async function timeSteps(
  engine: Engine,
  batch: Batch,
  warmupSteps: number,
  steps: number,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const seconds: number[] = [];
  const total = warmupSteps + steps;
  const send = (step: number) => engine.trainStep(batch, { step, learningRate: 5e-4 });
  let before = performance.now();
  let current = send(0);
  for (let step = 0; step < total; step++) {
    const next = step + 1 < total ? send(step + 1) : undefined;
    // A failure of this step is thrown below; the one behind it is dropped for the same reason.
    next?.catch(() => {});
    await current;
    const now = performance.now();
    if (step >= warmupSteps) seconds.push((now - before) / 1000);
    before = now;
    signal?.throwIfAborted();
    if (next !== undefined) current = next;
  }
  return seconds;
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
