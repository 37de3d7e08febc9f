import { announceMachine } from "../announce-machine.js";
import { requireOptions } from "../command-module.js";
import { formatListing, type Output } from "../output.js";
import type { BenchCommon, BenchOptions } from "./bench-options.js";

/** `bench finetune`: training and evaluation on the data of a task. */
export async function benchFinetune(
  output: Output,
  common: BenchCommon,
  options: BenchOptions,
): Promise<number> {
  requireOptions({ "--data-dir": options.dataDir });
  const { benchmarkFinetune } = await import("../../bench/finetune-benchmark.js");
  const { maxSeqLength: _, ...rest } = common;
  const { task, steps, seed, modelName } = options;
  const maxSeqLength = options.maxSeqLength ?? options.seqLength;
  const result = await benchmarkFinetune({
    ...rest,
    dataDir: options.dataDir!,
    task,
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
        "memory",
        `${result.peak_mb.toFixed(0)} MiB at most, ${result.engine_mb.toFixed(0)} of them the engine's`,
      ],
    ]),
  );
  return 0;
}
