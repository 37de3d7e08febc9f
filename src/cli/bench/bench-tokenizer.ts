import type { Spread } from "../../bench/spread.js";
import { requireOptions } from "../command-module.js";
import { formatListing, type Output } from "../output.js";
import type { BenchCommon, BenchOptions } from "./bench-options.js";

/** `bench tokenizer`: text to ids. */
export async function benchTokenizer(
  output: Output,
  { signal }: BenchCommon,
  { vocabFile, input, steps }: BenchOptions,
): Promise<number> {
  requireOptions({ "--vocab-file": vocabFile, "--input": input });
  const { benchmarkTokenizer } = await import("../../bench/tokenizer-benchmark.js");
  const result = await benchmarkTokenizer({
    vocabFile: vocabFile!,
    input: input!,
    signal,
    ...(steps === undefined ? {} : { repeat: steps }),
  });
  output.result(
    result,
    formatListing([
      ["text", `${result.input_mb.toFixed(1)} MB, ${result.tokens} tokens`],
      ["bytes, cold", formatRates(result.bytes_cold_mb_per_s)],
      ["bytes, warm", formatRates(result.bytes_warm_mb_per_s)],
      ["strings, cold", formatRates(result.strings_cold_mb_per_s)],
      ["strings, warm", formatRates(result.strings_warm_mb_per_s)],
      ["first pass", `${result.first_mb_per_s.toFixed(1)} MB/s, bytes, while the engine compiles`],
      ["setting up", `${result.set_up_ms.median.toFixed(1)} ms`],
    ]),
  );
  return 0;
}

function formatRates({ median, min, max }: Spread): string {
  return `${median.toFixed(1)} MB/s (${min.toFixed(1)} … ${max.toFixed(1)})`;
}
