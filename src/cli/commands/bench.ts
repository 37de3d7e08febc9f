import { type Command, Option } from "commander";
import type { KernelFigure } from "../../bench/kernel-benchmark.js";
import { ElectraError } from "../../errors.js";
import { announceMachine } from "../announce-machine.js";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { parsePositiveInteger } from "../option-parsers.js";
import { formatListing, type Output } from "../output.js";
import { addRunOptions, machineOf, type RunOptions } from "../run-options.js";

interface Options extends RunOptions {
  readonly modelSize: "small" | "base" | "large";
  readonly objective: "electra" | "electric" | "mlm";
  readonly batchSize: number;
  readonly maxSeqLength?: number;
  readonly seqLength?: number;
  readonly steps?: number;
  readonly dataDir?: string;
  readonly task: string;
  readonly modelName?: string;
  readonly filter?: string;
  readonly seconds: number;
  readonly gemm: "auto" | "onednn" | "built-in";
  readonly isa: "auto" | "avx512" | "avx2" | "baseline";
}

export function define(command: Command): CommandHandler<Options> {
  command
    .argument(
      "<what>",
      "step: whole pre-training steps; finetune: training and evaluation on a task's data; predict: a fine-tuned model's answers; kernels: the operators one by one",
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
    .optionsGroup("bench step, finetune, predict:")
    .option(
      "--steps <n>",
      "steps that are timed (default: 10, of finetune 40, of predictions 100)",
      parsePositiveInteger,
    )
    .optionsGroup("bench finetune:")
    .option("--data-dir <folder>", "holds vocab.txt and finetuning_data/<task>/")
    .option("--task <name>", "the task", "cola")
    .option("--model-name <name>", "a model under <data-dir>/models (default: random weights)")
    .optionsGroup("bench kernels:")
    .option("--filter <text>", "only operators whose name or shape holds this")
    .option("--seconds <n>", "time for each operator, at least", parsePositiveInteger, 1);
  addRunOptions(command).addHelpText(
    "after",
    [
      "",
      "Examples:",
      "  $ npx electra-native bench step --model-size small --batch-size 16 --seq-length 128 --threads 2 --json",
      "  $ npx electra-native bench finetune --task cola --data-dir data --batch-size 32 --threads 2 --json",
      "  $ npx electra-native bench predict --batch-size 1 --seq-length 16 --threads 2 --json",
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
    if (what === "step") return await step(output, common, options);
    if (what === "finetune") return await finetune(output, common, options);
    if (what === "predict") return await predict(output, common, options);
    if (what === "kernels") return await kernels(output, common, options);
    throw new ElectraError("ERR_ELECTRA_USAGE", `there is no benchmark "${what ?? ""}"`, {
      hint: "Benchmarks: step, finetune, predict, kernels.",
      exitCode: 2,
    });
  };
}

type Common = Pick<Options, "modelSize" | "batchSize" | "gemm" | "isa"> & {
  readonly maxSeqLength: number;
  readonly signal: AbortSignal;
};

async function step(output: Output, common: Common, { objective, steps, seed }: Options): Promise<number> {
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

async function finetune(output: Output, common: Common, options: Options): Promise<number> {
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

async function predict(output: Output, common: Common, { steps, seed }: Options): Promise<number> {
  const { benchmarkPredict } = await import("../../bench/predict-benchmark.js");
  const result = await benchmarkPredict({
    ...common,
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
    ]),
  );
  return 0;
}

async function kernels(output: Output, common: Common, { filter, seconds }: Options): Promise<number> {
  const { benchmarkKernels } = await import("../../bench/kernel-benchmark.js");
  const result = await benchmarkKernels({
    ...common,
    seconds,
    ...(filter === undefined ? {} : { filter }),
    onStart: (info) => {
      announceMachine(output, info);
      if (!output.json) output.result(undefined, HEADER);
    },
    // As they come: minutes pass before the whole table is there.
    onFigure: (figure) => {
      if (output.json) output.talk(formatFigure(figure));
      else output.result(undefined, formatFigure(figure));
    },
  });
  if (output.json) output.result(result, "");
  return 0;
}

const HEADER = formatColumns(["operator", "shape", "µs", "GFLOP/s", "GB/s", "call µs"]);

function formatFigure({
  name,
  shape,
  us,
  gflop_per_s,
  gb_per_s,
  call_us,
  call_margin_percent,
}: KernelFigure): string {
  return formatColumns([
    name,
    shape,
    us.toFixed(1),
    gflop_per_s === null ? "-" : gflop_per_s.toFixed(1),
    gb_per_s.toFixed(1),
    `${call_us.toFixed(0)} ±${call_margin_percent.toFixed(0)} %`,
  ]);
}

function formatColumns([name, shape, ...numbers]: readonly string[]): string {
  return [
    name!.padEnd(33),
    shape!.padEnd(30),
    ...numbers.map((text, index) => text.padStart([10, 9, 7, 14][index]!)),
  ].join(" ");
}
