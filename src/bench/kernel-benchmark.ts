import Benchmark from "benchmark";
import { Kernels } from "../engine/kernels.js";
import type { BackendSettings, EngineInfo } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { resolvePretrainingHparams } from "../hparams/pretraining-hparams.js";
import { discriminatorConfig } from "../hparams/transformer-config.js";
import { type KernelCase, type KernelShapes, kernelCases } from "./kernel-cases.js";

export interface KernelBenchmarkOptions extends BackendSettings {
  readonly modelSize: "small" | "base" | "large";
  /** Rows of a batch. */
  readonly batchSize: number;
  /** Tokens of a row. */
  readonly maxSeqLength: number;
  /** Only operators whose name or shape holds this, in any case. Default: all. */
  readonly filter?: string;
  /** Each operator is measured for at least so long. Default 1. */
  readonly seconds?: number;
  /** Told once, before the first operator. */
  readonly onStart?: (info: EngineInfo) => void;
  /** Told after each operator. */
  readonly onFigure?: (figure: KernelFigure) => void;
  readonly signal?: AbortSignal;
}

/** What one operator did. Rates are null where they say nothing: there is no product in it, or it is not measured. */
export interface KernelFigure {
  readonly name: string;
  readonly shape: string;
  /** Median of the operator alone, microseconds. */
  readonly us: number;
  readonly gflop_per_s: number | null;
  /** What must be read and written once, over the time. */
  readonly gb_per_s: number;
  /** Mean of what a program waits for, microseconds: queue, copies and results included. */
  readonly call_us: number;
  /** Relative margin of error of that mean, percent, at 95 %. */
  readonly call_margin_percent: number;
  readonly runs: number;
}

export interface KernelBenchmark {
  readonly model_size: string;
  readonly batch_size: number;
  readonly max_seq_length: number;
  readonly info: EngineInfo;
  readonly operators: readonly KernelFigure[];
}

/**
 * Speed of single operators at the shapes of a model. The package `benchmark` decides how often each is called; the rates
 * come from the times that the engine takes of the operator alone.
 *
 * @throws ElectraError `ERR_ELECTRA_ARGUMENT` when no operator fits the filter; what `Kernels` throws
 */
export async function benchmarkKernels(options: KernelBenchmarkOptions): Promise<KernelBenchmark> {
  const { modelSize, batchSize, maxSeqLength, filter = "", seconds = 1, signal } = options;
  await using kernels = await Kernels.create(options);
  const { info } = kernels;
  options.onStart?.(info);
  const cases = kernelCases(
    shapesOf(modelSize, batchSize, maxSeqLength),
    info.precision === "float32" ? 4 : 2,
  ).filter(
    ({ name, shape, cpuOnly }) =>
      `${name} ${shape}`.toLowerCase().includes(filter.toLowerCase()) &&
      (cpuOnly !== true || info.device === "cpu"),
  );
  if (cases.length === 0) {
    throw new ElectraError("ERR_ELECTRA_ARGUMENT", `no operator's name holds "${filter}"`, { exitCode: 2 });
  }
  const operators: KernelFigure[] = [];
  for (const each of cases) {
    signal?.throwIfAborted();
    const figure = await measure(kernels, each, seconds);
    operators.push(figure);
    options.onFigure?.(figure);
  }
  return { model_size: modelSize, batch_size: batchSize, max_seq_length: maxSeqLength, info, operators };
}

function shapesOf(
  modelSize: KernelBenchmarkOptions["modelSize"],
  rows: number,
  length: number,
): KernelShapes {
  const { hparams } = resolvePretrainingHparams({
    dataDir: ".",
    modelName: "bench",
    hparams: { model_size: modelSize, max_seq_length: length, train_batch_size: rows },
  });
  const config = discriminatorConfig(hparams);
  return {
    rows,
    length,
    hidden: config.hidden_size,
    intermediate: config.intermediate_size,
    heads: config.num_attention_heads,
    embedding: config.embedding_size,
    vocabulary: config.vocab_size,
    slots: hparams.max_predictions_per_seq,
  };
}

async function measure(kernels: Kernels, each: KernelCase, maxTime: number): Promise<KernelFigure> {
  const given = await each.make(kernels);
  const call = (more: object): Promise<{ readonly seconds: Float32Array }> =>
    (kernels[each.name] as (values: object) => Promise<{ readonly seconds: Float32Array }>)({
      ...given,
      ...more,
    });
  // The first call makes room, the second says how long the operator takes.
  await call({});
  const once = (await call({})).seconds[0]!;
  const plan = kernels.info.device === "cpu" ? { repeat: 1, burst: 1 } : gpuPlan(once);
  const seconds: number[] = [];
  const { mean, rme } = await new Promise<Benchmark.Stats>((resolve, reject) => {
    new Benchmark(each.name, {
      defer: true,
      maxTime,
      fn: (deferred: { resolve(): void }) => {
        call(plan).then((result) => {
          seconds.push(...result.seconds);
          deferred.resolve();
        }, reject);
      },
      onComplete: ({ target }: { target: Benchmark }) => resolve(target.stats!),
      onError: ({ target }: { target: { error?: unknown } }) => reject(target.error),
    }).run({ async: true });
  });
  const median = seconds.sort((a, b) => a - b)[seconds.length >> 1]!;
  return {
    name: each.name,
    shape: each.shape,
    us: 1e6 * median,
    gflop_per_s: each.flop === undefined ? null : each.flop / median / 1e9,
    gb_per_s: each.bytes / median / 1e9,
    call_us: 1e6 * mean,
    call_margin_percent: rme,
    runs: seconds.length * plan.burst,
  };
}

/** A GPU's operators take microseconds, about what waiting for them takes, and far less than copying their arrays does. */
function gpuPlan(seconds: number): { readonly repeat: number; readonly burst: number } {
  return { repeat: 10, burst: Math.min(64, Math.max(1, Math.ceil(1e-3 / seconds))) };
}
