import type { Output } from "../output.js";
import type { RunOptions } from "../run-options.js";

/** What can be given to `bench`; which of it counts depends on the benchmark. */
export interface BenchOptions extends RunOptions {
  readonly modelSize: "small" | "base" | "large";
  readonly objective: "electra" | "electric" | "mlm";
  readonly batchSize: number;
  readonly maxSeqLength?: number;
  readonly seqLength?: number;
  readonly steps?: number;
  readonly profile?: boolean;
  readonly dataDir?: string;
  readonly task: string;
  readonly modelName?: string;
  readonly vocabFile?: string;
  readonly input?: string;
  readonly filter?: string;
  readonly seconds: number;
  readonly gemm: "auto" | "onednn" | "built-in";
  readonly isa: "auto" | "avx512" | "avx2" | "baseline";
}

/** What every benchmark of a model is told. */
export type BenchCommon = Pick<BenchOptions, "modelSize" | "batchSize" | "gemm" | "isa"> & {
  readonly maxSeqLength: number;
  readonly signal: AbortSignal;
};

/** Runs one benchmark and prints what came out; gives the exit code. */
export type Benchmark = (output: Output, common: BenchCommon, options: BenchOptions) => Promise<number>;
