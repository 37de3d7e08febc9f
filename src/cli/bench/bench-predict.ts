import { announceMachine } from "../announce-machine.js";
import { formatListing, type Output } from "../output.js";
import { formatProducts } from "./bench-figures.js";
import type { BenchCommon, BenchOptions } from "./bench-options.js";
import { formatOperators } from "./operator-table.js";

/** `bench predict`: one answer after the other. */
export async function benchPredict(
  output: Output,
  common: BenchCommon,
  { steps, seed, profile }: BenchOptions,
): Promise<number> {
  const { benchmarkPredict } = await import("../../bench/predict-benchmark.js");
  const result = await benchmarkPredict({
    ...common,
    profile: profile === true,
    ...(steps === undefined ? {} : { steps }),
    ...(seed === undefined ? {} : { seed }),
  });
  const { ms_median, ms_p99, ms_min } = result;
  announceMachine(output, result.info);
  output.result(
    result,
    formatListing([
      ["model", `${result.model_size}, a classifier of two classes`],
      ["batch", `${result.batch_size} x ${result.max_seq_length} tokens`],
      [
        "answer",
        `${ms_median.toFixed(2)} ms, median of ${result.steps}; the fastest ${ms_min.toFixed(2)}, 99 % within ${ms_p99.toFixed(2)}`,
      ],
      ["speed", `${result.rows_per_s.toFixed(0)} rows/s, ${result.tokens_per_s.toFixed(0)} tokens/s`],
      ["products", formatProducts(result)],
      ["engine call", `${result.call_us.toFixed(0)} µs`],
    ]) + (result.operators === undefined ? "" : `\n\n${formatOperators(result.operators, result.steps)}`),
  );
  return 0;
}
