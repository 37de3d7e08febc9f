import { FinetuningEngine } from "../engine/finetuning-engine.js";
import type { FinetuningBatch } from "../engine/finetuning-types.js";
import type { BackendSettings, EngineInfo } from "../engine/types.js";
import { resolvePretrainingHparams } from "../hparams/pretraining-hparams.js";
import { discriminatorConfig } from "../hparams/transformer-config.js";
import { SeededRandom } from "../metrics/seeded-random.js";

export interface PredictBenchmarkOptions extends BackendSettings {
  readonly modelSize: "small" | "base" | "large";
  /** Rows of a batch. */
  readonly batchSize: number;
  /** Tokens of a row; all of them real. */
  readonly maxSeqLength: number;
  /** Predictions that are timed. Default 100. */
  readonly steps?: number;
  /** Predictions before the clock runs. Default 20. */
  readonly warmupSteps?: number;
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

export interface PredictBenchmark {
  readonly model_size: string;
  readonly batch_size: number;
  readonly max_seq_length: number;
  readonly threads: number;
  readonly steps: number;
  readonly ms_median: number;
  readonly ms_p99: number;
  readonly ms_min: number;
  /** From the median. */
  readonly rows_per_s: number;
  readonly tokens_per_s: number;
  /** Highest resident memory of the process, MiB. */
  readonly peak_mb: number;
  readonly info: EngineInfo;
}

/**
 * Times single predictions of a classifier with two classes and random weights, from ids to logits, one after the other: the
 * time from the call to its answer in the event loop, which is what somebody waits for.
 */
export async function benchmarkPredict(options: PredictBenchmarkOptions): Promise<PredictBenchmark> {
  const { modelSize, batchSize, maxSeqLength, steps = 100, warmupSteps = 20, seed = 1, signal } = options;
  const { hparams } = resolvePretrainingHparams({
    dataDir: ".",
    modelName: "bench",
    hparams: { model_size: modelSize, max_seq_length: maxSeqLength },
  });
  const engine = await FinetuningEngine.create({
    ...options,
    model: {
      encoder: discriminatorConfig(hparams),
      tasks: [{ name: "bench", head: { kind: "classification", classes: 2 } }],
      max_seq_length: maxSeqLength,
    },
    seed,
  });
  try {
    const batch = randomBatch(batchSize, maxSeqLength, seed);
    const times: number[] = [];
    for (let step = 0; step < warmupSteps + steps; step++) {
      signal?.throwIfAborted();
      const started = performance.now();
      await engine.predict(batch, { outputs: ["bench/logits"] });
      if (step >= warmupSteps) times.push(performance.now() - started);
    }
    times.sort((a, b) => a - b);
    const median = (times[(times.length - 1) >> 1]! + times[times.length >> 1]!) / 2;
    return {
      model_size: modelSize,
      batch_size: batchSize,
      max_seq_length: maxSeqLength,
      threads: engine.info.threads,
      steps,
      ms_median: median,
      ms_p99: times[Math.ceil(0.99 * times.length) - 1]!,
      ms_min: times[0]!,
      rows_per_s: (1000 * batchSize) / median,
      tokens_per_s: (1000 * batchSize * maxSeqLength) / median,
      peak_mb: process.resourceUsage().maxRSS / 1024,
      info: engine.info,
    };
  } finally {
    await engine.dispose();
  }
}

/** Ids of ordinary words of the 30522-word vocabulary, every row full. */
function randomBatch(rows: number, length: number, seed: number): FinetuningBatch {
  const random = new SeededRandom(seed);
  return {
    rows,
    length,
    inputIds: Int32Array.from({ length: rows * length }, () => 1000 + random.below(29_000)),
    lengths: new Int32Array(rows).fill(length),
  };
}
