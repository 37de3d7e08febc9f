import { requireOptions } from "../command-module.js";
import { formatListing, type Output } from "../output.js";
import type { BenchCommon, BenchOptions } from "./bench-options.js";

/** `bench dataset`: text to record files. */
export async function benchDataset(
  output: Output,
  { signal, maxSeqLength }: BenchCommon,
  { vocabFile, input, steps, threads }: BenchOptions,
): Promise<number> {
  requireOptions({ "--vocab-file": vocabFile, "--input": input });
  const { benchmarkDataset } = await import("../../bench/dataset-benchmark.js");
  const result = await benchmarkDataset({
    vocabFile: vocabFile!,
    input: input!,
    maxSeqLength,
    signal,
    ...(threads === undefined ? {} : { threads }),
    ...(steps === undefined ? {} : { repeat: steps }),
  });
  const { seconds, times_tokenizing: times } = result;
  output.result(
    result,
    formatListing([
      ["text", `${result.input_mb.toFixed(1)} MB, ${result.tokens} tokens`],
      ["records", `${result.examples} of ${result.max_seq_length} tokens, files: ${result.shards}`],
      [
        "build",
        `${seconds.median.toFixed(2)} s (${seconds.min.toFixed(2)} … ${seconds.max.toFixed(2)}), median of ${result.repeat}, threads: ${result.threads}`,
      ],
      ["speed", `${result.mb_per_s.toFixed(1)} MB/s`],
      [
        "tokenizing alone",
        `${result.tokenize_mb_per_s.toFixed(1)} MB/s on one thread; a build takes ${times.median.toFixed(2)} times as long (${times.min.toFixed(2)} … ${times.max.toFixed(2)})`,
      ],
    ]),
  );
  return 0;
}
