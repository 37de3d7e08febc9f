import { type Command, Option } from "commander";
import { ElectraError } from "../../errors.js";
import type { Benchmark, BenchOptions } from "../bench/bench-options.js";
import type { CommandHandler } from "../command-module.js";
import { parsePositiveInteger } from "../option-parsers.js";
import { addRunOptions, machineOf } from "../run-options.js";

/** A new benchmark needs a file under `cli/bench/`, an entry here and a word in the help. */
const benchmarks: ReadonlyMap<string, () => Promise<Benchmark>> = new Map([
  ["step", async () => (await import("../bench/bench-step.js")).benchStep],
  ["finetune", async () => (await import("../bench/bench-finetune.js")).benchFinetune],
  ["predict", async () => (await import("../bench/bench-predict.js")).benchPredict],
  ["tokenizer", async () => (await import("../bench/bench-tokenizer.js")).benchTokenizer],
  ["dataset", async () => (await import("../bench/bench-dataset.js")).benchDataset],
  ["startup", async () => (await import("../bench/bench-startup.js")).benchStartup],
  ["kernels", async () => (await import("../bench/bench-kernels.js")).benchKernels],
]);

export function define(command: Command): CommandHandler<BenchOptions> {
  command
    .argument(
      "<what>",
      "step: whole pre-training steps; finetune: training and evaluation on a task's data; predict: a fine-tuned model's answers; tokenizer: text to ids; dataset: text to records; startup: --help and the import; kernels: the operators one by one",
    )
    .addOption(new Option("--model-size <name>").choices(["small", "base", "large"]).default("small"))
    .option("--batch-size <n>", "rows of a batch", parsePositiveInteger, 16)
    .option("--max-seq-length <n>", "tokens of a row (default: 128)", parsePositiveInteger)
    .addOption(new Option("--seq-length <n>", "the same").argParser(parsePositiveInteger))
    .addOption(
      new Option("--gemm <name>", "the CPU's products")
        .choices(["auto", "onednn", "built-in"])
        .default("auto"),
    )
    .addOption(
      new Option("--isa <name>", "the CPU's instructions")
        .choices(["auto", "avx512", "avx2", "baseline"])
        .default("auto"),
    )
    .optionsGroup("bench step:")
    .addOption(
      new Option("--objective <name>", "what is trained")
        .choices(["electra", "electric", "mlm"])
        .default("electra"),
    )
    .optionsGroup("all but kernels:")
    .option(
      "--steps <n>",
      "steps that are timed (default: 10, of finetune 40, of predictions 100, of tokenizers 7, of datasets 5, of starts 11)",
      parsePositiveInteger,
    )
    .option("--profile", "time every operator of the timed steps (CPU)")
    .optionsGroup("bench finetune:")
    .option("--data-dir <folder>", "holds vocab.txt and finetuning_data/<task>/")
    .option("--task <name>", "the task", "cola")
    .option("--model-name <name>", "a model under <data-dir>/models (default: random weights)")
    .optionsGroup("bench tokenizer, dataset:")
    .option("--vocab-file <file>", "the vocabulary, one token a line")
    .option("--input <file>", "text, plain or compressed with gzip")
    .optionsGroup("bench kernels:")
    .option("--filter <text>", "only operators whose name or shape holds this")
    .option("--seconds <n>", "time for each operator, at least", parsePositiveInteger, 1);
  addRunOptions(command).addHelpText(
    "after",
    [
      "",
      "Examples:",
      "  $ npx electra-native bench step --model-size small --batch-size 16 --seq-length 128 --threads 2 --json",
      "  $ npx electra-native bench step --steps 20 --threads 2 --profile",
      "  $ npx electra-native bench finetune --task cola --data-dir data --batch-size 32 --threads 2 --json",
      "  $ npx electra-native bench predict --batch-size 1 --seq-length 16 --threads 2 --json",
      "  $ npx electra-native bench dataset --vocab-file vocab.txt --input text.txt --threads 2 --json",
      "  $ npx electra-native bench kernels --device cuda --precision bf16 --model-size base --filter attention",
    ].join("\n"),
  );
  return async ({ output, signal }, options, [what]) => {
    const common = {
      ...machineOf(options),
      modelSize: options.modelSize,
      batchSize: options.batchSize,
      maxSeqLength: options.maxSeqLength ?? options.seqLength ?? 128,
      gemm: options.gemm,
      isa: options.isa,
      signal,
    };
    const load = benchmarks.get(what ?? "");
    if (load === undefined) {
      throw new ElectraError("ERR_ELECTRA_USAGE", `there is no benchmark "${what ?? ""}"`, {
        hint: `Benchmarks: ${[...benchmarks.keys()].join(", ")}.`,
        exitCode: 2,
      });
    }
    return await (await load())(output, common, options);
  };
}
