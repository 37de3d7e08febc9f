import { announceMachine } from "../announce-machine.js";
import { formatListing, type Output } from "../output.js";
import { formatProducts, percent } from "./bench-figures.js";
import type { BenchCommon, BenchOptions } from "./bench-options.js";
import { formatOperators, operatorSeconds } from "./operator-table.js";

/** `bench step`: whole pre-training steps. */
export async function benchStep(
  output: Output,
  common: BenchCommon,
  { objective, steps, seed, profile }: BenchOptions,
): Promise<number> {
  const { benchmarkStep } = await import("../../bench/step-benchmark.js");
  const result = await benchmarkStep({
    ...common,
    objective,
    profile: profile === true,
    ...(steps === undefined ? {} : { steps }),
    ...(seed === undefined ? {} : { seed }),
  });
  const { info } = result;
  const times = [
    result.sec_per_step,
    result.sec_per_step_min,
    result.sec_per_step_q1,
    result.sec_per_step_q3,
    result.sec_per_step_max,
  ];
  const [median, least, q1, q3, most] = times.map((seconds) =>
    (1000 * seconds).toFixed(seconds < 0.1 ? 2 : 1),
  );
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
      ["step", `${median} ms (${least} … ${most}; half within ${q1} … ${q3}), median of ${result.steps}`],
      ["speed", `${result.tokens_per_s.toFixed(0)} tokens/s`],
      ["products", formatProducts(result)],
      [
        "event loop",
        `late by ${result.loop_delay_p99_ms.toFixed(1)} ms (p99), ${result.loop_delay_max_ms.toFixed(1)} at most`,
      ],
      [
        "engine call",
        `${result.call_us.toFixed(0)} µs, ${percent(result.call_share, 3)} of a step; the engine waited ${percent(result.idle_share, 2)} of the time`,
      ],
      [
        "memory",
        info.device === "cpu"
          ? `${result.peak_mb.toFixed(0)} MiB at most, ${engine} of them the engine's`
          : `${engine} MiB of the GPU's`,
      ],
      ...(result.operators === undefined
        ? []
        : [
            [
              "operators",
              `${percent(operatorSeconds(result.operators) / result.engine_s!, 1)} of the engine's time`,
            ] as const,
          ]),
    ]) + (result.operators === undefined ? "" : `\n\n${formatOperators(result.operators, result.steps)}`),
  );
  return 0;
}
