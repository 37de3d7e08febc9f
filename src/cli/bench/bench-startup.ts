import type { Spread } from "../../bench/spread.js";
import { formatListing, type Output } from "../output.js";
import type { BenchCommon, BenchOptions } from "./bench-options.js";

/** `bench startup`: what there is to wait for before anything happens. */
export async function benchStartup(
  output: Output,
  { signal }: BenchCommon,
  { steps }: BenchOptions,
): Promise<number> {
  const { benchmarkStartup } = await import("../../bench/startup-benchmark.js");
  const result = benchmarkStartup({ signal, ...(steps === undefined ? {} : { repeat: steps }) });
  output.result(
    result,
    formatListing([
      [
        "--help",
        `${formatTimes(result.help)}; ${result.help_over_node_ms.toFixed(1)} ms more than bare node`,
      ],
      ["import", formatTimes(result.import)],
      ["bare node", formatTimes(result.node)],
    ]),
  );
  return 0;
}

function formatTimes({ median, min, max }: Spread): string {
  return `${median.toFixed(1)} ms (${min.toFixed(1)} … ${max.toFixed(1)})`;
}
