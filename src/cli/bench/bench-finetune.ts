import { announceMachine } from "../announce-machine.js";
import { requireOptions } from "../command-module.js";
import { formatListing, type Output } from "../output.js";
import { percent } from "./bench-figures.js";
import type { BenchCommon, BenchOptions } from "./bench-options.js";
import { formatOperators } from "./operator-table.js";

/** `bench finetune`: training and evaluation on the data of a task. */
export async function benchFinetune(
  output: Output,
  common: BenchCommon,
  options: BenchOptions,
): Promise<number> {
  requireOptions({ "--data-dir": options.dataDir });
  const { benchmarkFinetune } = await import("../../bench/finetune-benchmark.js");
  const { maxSeqLength: _, ...rest } = common;
  const { task, steps, seed, modelName, profile } = options;
  const maxSeqLength = options.maxSeqLength ?? options.seqLength;
  const result = await benchmarkFinetune({
    ...rest,
    dataDir: options.dataDir!,
    task,
    profile: profile === true,
    ...(modelName === undefined ? {} : { modelName }),
    ...(maxSeqLength === undefined ? {} : { maxSeqLength }),
    ...(steps === undefined ? {} : { steps }),
    ...(seed === undefined ? {} : { seed }),
  });
  announceMachine(output, result.info);
  output.result(
    result,
    formatListing([
      ["model", `${result.model_size}, on ${result.task}`],
      ["batch", `${result.batch_size} rows of up to ${result.max_seq_length} tokens`],
      [
        "training",
        `${result.train_ex_per_s.toFixed(0)} examples/s, ${result.train_tokens_per_s.toFixed(0)} tokens/s, over ${result.steps} steps`,
      ],
      ["evaluation", `${result.eval_ex_per_s.toFixed(0)} examples/s, over ${result.eval_examples}`],
      [
        "products",
        `${result.train_gflop_per_s.toFixed(0)} GFLOP/s in training, ${result.eval_gflop_per_s.toFixed(0)} in evaluation${ceilingOf(result.gemm_ceiling_gflop_per_s)}`,
      ],
      ["data", `training waited for them ${percent(result.train_data_wait_share)} of the time`],
      [
        "event loop",
        `late by ${result.loop_delay_p99_ms.toFixed(1)} ms (p99), ${result.loop_delay_max_ms.toFixed(1)} at most`,
      ],
      [
        "memory",
        `${result.peak_mb.toFixed(0)} MiB at most, ${result.engine_mb.toFixed(0)} of them the engine's`,
      ],
    ]) + (result.operators === undefined ? "" : `\n\n${formatOperators(result.operators, result.steps)}`),
  );
  return 0;
}

function ceilingOf(ceiling: number | null): string {
  return ceiling === null ? "" : `; good products reach ${ceiling.toFixed(0)} here`;
}
