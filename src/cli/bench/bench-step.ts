import { announceMachine } from "../announce-machine.js";
import { formatListing, type Output } from "../output.js";
import type { BenchCommon, BenchOptions } from "./bench-options.js";

/** `bench step`: whole pre-training steps. */
export async function benchStep(
  output: Output,
  common: BenchCommon,
  { objective, steps, seed }: BenchOptions,
): Promise<number> {
  const { benchmarkStep } = await import("../../bench/step-benchmark.js");
  const result = await benchmarkStep({
    ...common,
    objective,
    ...(steps === undefined ? {} : { steps }),
    ...(seed === undefined ? {} : { seed }),
  });
  const { info } = result;
  const times = [result.sec_per_step, result.sec_per_step_min, result.sec_per_step_max];
  const [median, least, most] = times.map((seconds) => (1000 * seconds).toFixed(seconds < 0.1 ? 2 : 1));
  const engine = result.engine_mb.toFixed(0);
  announceMachine(output, info);
  output.result(
    result,
    formatListing([
      [
        "model",
        `${result.model_size}, ${result.objective}, ${(result.parameters / 1e6).toFixed(1)} M parameters`,
      ],
      ["batch", `${result.batch_size} x ${result.max_seq_length} tokens`],
      ["step", `${median} ms (${least} … ${most}), median of ${result.steps}`],
      ["speed", `${result.tokens_per_s.toFixed(0)} tokens/s`],
      [
        "memory",
        info.device === "cpu"
          ? `${result.peak_mb.toFixed(0)} MiB at most, ${engine} of them the engine's`
          : `${engine} MiB of the GPU's`,
      ],
    ]),
  );
  return 0;
}
