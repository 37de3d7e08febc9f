import { type Command, Option } from "commander";
import { ElectraError } from "../../errors.js";
import type { CommandHandler } from "../command-module.js";
import { parsePositiveInteger } from "../option-parsers.js";
import { formatListing } from "../output.js";
import { addRunOptions, type RunOptions } from "../run-options.js";

interface Options extends RunOptions {
  readonly modelSize: "small" | "base" | "large";
  readonly objective: "electra" | "electric" | "mlm";
  readonly batchSize: number;
  readonly maxSeqLength?: number;
  readonly seqLength?: number;
  readonly steps: number;
  readonly gemm: "auto" | "onednn" | "built-in";
  readonly isa: "auto" | "avx512" | "avx2" | "baseline";
}

export function define(command: Command): CommandHandler<Options> {
  command
    .argument("<what>", "step: a whole pre-training step")
    .addOption(new Option("--model-size <name>").choices(["small", "base", "large"]).default("small"))
    .addOption(
      new Option("--objective <name>", "what is trained")
        .choices(["electra", "electric", "mlm"])
        .default("electra"),
    )
    .option("--batch-size <n>", "rows of a batch", parsePositiveInteger, 16)
    .option("--max-seq-length <n>", "tokens of a row (default: 128)", parsePositiveInteger)
    .addOption(new Option("--seq-length <n>", "the same").argParser(parsePositiveInteger))
    .option("--steps <n>", "steps that are timed", parsePositiveInteger, 10)
    .addOption(new Option("--gemm <name>").choices(["auto", "onednn", "built-in"]).default("auto"))
    .addOption(new Option("--isa <name>").choices(["auto", "avx512", "avx2", "baseline"]).default("auto"));
  addRunOptions(command).addHelpText(
    "after",
    "\nExample:\n  $ npx electra-native bench step --model-size small --batch-size 16 --seq-length 128 --threads 2 --json",
  );
  return async ({ output, signal }, options, [what]) => {
    if (what !== "step") {
      throw new ElectraError("ERR_ELECTRA_USAGE", `there is no benchmark "${what ?? ""}"`, {
        hint: "Benchmarks: step.",
        exitCode: 2,
      });
    }
    const [{ benchmarkStep }, { refusePrecision }] = await Promise.all([
      import("../../bench/step-benchmark.js"),
      import("../precision.js"),
    ]);
    refusePrecision(options.precision);
    const result = await benchmarkStep({
      modelSize: options.modelSize,
      objective: options.objective,
      batchSize: options.batchSize,
      maxSeqLength: options.maxSeqLength ?? options.seqLength ?? 128,
      steps: options.steps,
      gemm: options.gemm,
      isa: options.isa,
      device: options.device,
      signal,
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...(options.seed === undefined ? {} : { seed: options.seed }),
    });
    const { info } = result;
    output.talk(`device ${info.device}, GEMM ${info.gemm}, ISA ${info.isa}, ${info.threads} threads`);
    output.result(
      result,
      formatListing([
        [
          "model",
          `${result.model_size}, ${result.objective}, ${(result.parameters / 1e6).toFixed(1)} M parameters`,
        ],
        ["batch", `${result.batch_size} x ${result.max_seq_length} tokens`],
        [
          "step",
          `${(1000 * result.sec_per_step).toFixed(1)} ms (${(1000 * result.sec_per_step_min).toFixed(1)} … ${(1000 * result.sec_per_step_max).toFixed(1)}), median of ${result.steps}`,
        ],
        ["speed", `${result.tokens_per_s.toFixed(0)} tokens/s`],
        [
          "memory",
          `${result.peak_mb.toFixed(0)} MiB at most, ${result.engine_mb.toFixed(0)} of them the engine's`,
        ],
      ]),
    );
    return 0;
  };
}
