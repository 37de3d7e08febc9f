import { FinetuningEngine } from "../engine/finetuning-engine.js";
import type { FinetuningBatch } from "../engine/finetuning-types.js";
import type { BackendSettings, EngineInfo, OperatorTime } from "../engine/types.js";
import { resolvePretrainingHparams } from "../hparams/pretraining-hparams.js";
import { discriminatorConfig } from "../hparams/transformer-config.js";
import { SeededRandom } from "../metrics/seeded-random.js";
import { measureCallOverhead } from "./call-overhead.js";
import { measureGemmCeiling } from "./gemm-ceiling.js";
import { encoderFlop } from "./model-flop.js";
import { quantile, spreadOf } from "./spread.js";

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
  /** Time every operator of the timed predictions; on the CPU alone. Default false. */
  readonly profile?: boolean;
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
  /** Half of the predictions took between the quartiles. */
  readonly ms_q1: number;
  readonly ms_q3: number;
  /** From the median. */
  readonly rows_per_s: number;
  readonly tokens_per_s: number;
  /** Of the encoder's matrix products, from the median. */
  readonly gflop_per_s: number;
  /** Of products at a good shape, measured after the predictions; null on a GPU. */
  readonly gemm_ceiling_gflop_per_s: number | null;
  readonly gemm_ceiling_share: number | null;
  /** Microseconds from a call of the engine to its answer when there is nothing to compute. */
  readonly call_us: number;
  /** If it was asked for: what each operator took in all timed predictions together, slowest first. */
  readonly operators?: readonly OperatorTime[];
  /** If it was asked for: seconds of all timed predictions on the engine's thread. */
  readonly engine_s?: number;
  /** Highest resident memory of the process, MiB. */
  readonly peak_mb: number;
  readonly info: EngineInfo;
}

/**
 * Times single predictions of a classifier with two classes and random weights, from ids to logits, one after the other: the
 * time from the call to its answer in the event loop, which is what somebody waits for.
 */
export async function benchmarkPredict(options: PredictBenchmarkOptions): Promise<PredictBenchmark> {
  const {
    modelSize,
    batchSize,
    maxSeqLength,
    steps = 100,
    warmupSteps = 20,
    seed = 1,
    profile = false,
    signal,
  } = options;
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
    let engineSeconds = 0;
    for (let step = 0; step < warmupSteps + steps; step++) {
      signal?.throwIfAborted();
      if (profile && step === warmupSteps) await engine.profile();
      const started = performance.now();
      const { seconds } = await engine.predict(batch, { outputs: ["bench/logits"] });
      if (step < warmupSteps) continue;
      times.push(performance.now() - started);
      engineSeconds += seconds;
    }
    const operators = profile ? await engine.profile() : undefined;
    const peak = process.resourceUsage().maxRSS / 1024;
    times.sort((a, b) => a - b);
    const { median, q1, q3 } = spreadOf(times);
    const rate = encoderFlop(engine.model.encoder, batch.lengths).forward / median / 1e6;
    const { device, threads } = engine.info;
    const ceiling = device === "cpu" ? await measureGemmCeiling({ ...options, threads }) : null;
    return {
      model_size: modelSize,
      batch_size: batchSize,
      max_seq_length: maxSeqLength,
      threads,
      steps,
      ms_median: median,
      ms_p99: quantile(times, 0.99),
      ms_min: times[0]!,
      ms_q1: q1,
      ms_q3: q3,
      rows_per_s: (1000 * batchSize) / median,
      tokens_per_s: (1000 * batchSize * maxSeqLength) / median,
      gflop_per_s: rate,
      gemm_ceiling_gflop_per_s: ceiling,
      gemm_ceiling_share: ceiling === null ? null : rate / ceiling,
      call_us: await measureCallOverhead(engine),
      ...(operators === undefined ? {} : { operators, engine_s: engineSeconds }),
      peak_mb: peak,
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
