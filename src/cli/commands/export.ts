import { type Command, Option } from "commander";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { parseBoolean } from "../option-parsers.js";
import { formatListing, shellQuote } from "../output.js";
import { jsonOption } from "../run-options.js";

interface Options {
  readonly model?: string;
  readonly to?: "hf" | "tf";
  readonly outputDir?: string;
  readonly part?: "discriminator" | "generator" | "finetuned";
  readonly moments: boolean;
  readonly vocabFile?: string;
}

export function define(command: Command): CommandHandler<Options> {
  command
    .option("--model <path>", "run, checkpoint, Hugging Face folder or TensorFlow checkpoint")
    .addOption(
      new Option(
        "--to <format>",
        "hf: folders for Hugging Face; tf: a TensorFlow checkpoint with the reference's names",
      ).choices(["hf", "tf"]),
    )
    .option("--output-dir <folder>", "where to; must not exist, or be empty")
    .addOption(
      new Option(
        "--part <name>",
        "of hf: this part alone, straight in the folder (default: each in one of its own)",
      ).choices(["discriminator", "generator", "finetuned"]),
    )
    .option("--moments [boolean]", "of tf: with Adam's moments, if the model has them", parseBoolean, true)
    .option("--vocab-file <file>", "the model's vocabulary, if it is not the vocab.txt beside its weights")
    .addOption(jsonOption());
  command.addHelpText(
    "after",
    [
      "",
      "What was written is read again and compared, value by value.",
      "",
      "Examples:",
      "  $ npx electra-native export --model data/models/my-model --to hf --part discriminator --output-dir my-discriminator",
      "  $ npx electra-native export --model data/models/my-model --to tf --output-dir for-google",
    ].join("\n"),
  );
  return async ({ output }, options) => {
    requireOptions({ "--model": options.model, "--to": options.to, "--output-dir": options.outputDir });
    const { exportModel } = await import("../../interop/export-model.js");
    const result = await exportModel({
      model: options.model!,
      format: options.to!,
      outputDir: options.outputDir!,
      moments: options.moments,
      ...(options.part === undefined ? {} : { part: options.part }),
      ...(options.vocabFile === undefined ? {} : { vocabFile: options.vocabFile }),
    });
    for (const { name, reason } of result.leftOut) {
      if (reason !== "of another part") output.warn(`${name} was left out: ${reason}`);
    }
    output.result(
      result,
      formatListing([
        ["exported to", result.outputDir],
        ["parts", result.parts.join(", ")],
        [
          "size",
          `${(result.bytes / 2 ** 20).toFixed(1)} MiB${result.moments ? ", with Adam's moments" : ""}`,
        ],
        ["compared", `${result.values} values of ${result.tensors} tensors`],
        ["largest difference", String(result.largestDifference)],
      ]),
    );
    output.next(`npx electra-native inspect ${shellQuote(result.outputDir)}`);
    return 0;
  };
}
