import { type Command, Option } from "commander";
import { ElectraError } from "../../errors.js";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { type ExportFlag, type ExportOptions, type ExportPart, exportTargets } from "../export-targets.js";
import { parseBoolean } from "../option-parsers.js";
import { formatListing } from "../output.js";
import { jsonOption } from "../run-options.js";

interface Options extends ExportOptions {
  readonly to?: string;
  readonly model?: string;
  readonly outputDir?: string;
}

const parts: readonly ExportPart[] = ["discriminator", "generator", "finetuned", "encoder"];

export function define(command: Command): CommandHandler<Options> {
  command
    .option("--model <path>", "run, checkpoint, Hugging Face folder or TensorFlow checkpoint")
    .addOption(
      new Option(
        "--to <format>",
        exportTargets.map(({ name, summary }) => `${name}: ${summary}`).join("; "),
      ).choices(exportTargets.map(({ name }) => name)),
    )
    .option("--output-dir <folder>", "where to; must not exist, or be empty")
    .addOption(
      new Option(
        "--part <name>",
        "of hf: this part alone, straight in the folder (default: each in one of its own); of onnx: what is exported, encoder " +
          "without a head (default: a fine-tuned model's task, else the discriminator, else the generator)",
      ).choices(parts),
    )
    .option(
      "--task <name>",
      "task of a fine-tuned model; of hf: written as the class that does it; of onnx: needed if it knows several",
    )
    .option(
      "--moments [boolean]",
      "of tf: with Adam's moments, if the model has them (default: true)",
      parseBoolean,
    )
    .option("--overwrite", "replace an export that lies in --output-dir")
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
      "  $ npx electra-native export --model data/models/my-model --to onnx --part encoder --output-dir my-encoder",
    ].join("\n"),
  );
  return async ({ output, signal }, options) => {
    const { to, model, outputDir, ...more } = options;
    requireOptions({ "--model": model, "--to": to, "--output-dir": outputDir });
    const target = exportTargets.find(({ name }) => name === to)!;
    for (const flag of ["part", "task", "moments", "overwrite"] as const satisfies readonly ExportFlag[]) {
      if (more[flag] !== undefined && !target.flags.includes(flag)) refuse(flag, target.name);
    }
    const run = await target.load();
    const report = await run({ ...more, model: model!, outputDir: outputDir!, signal });
    for (const warning of report.warnings) output.warn(warning);
    output.result(report.document, formatListing(report.listing));
    for (const remark of report.remarks) output.talk(remark);
    output.next(report.next);
    return 0;
  };
}

function refuse(flag: ExportFlag, format: string): never {
  throw new ElectraError("ERR_ELECTRA_USAGE", `--${flag} means nothing to --to ${format}`, {
    hint: "Leave it out; the command's --help shows which format takes what.",
    exitCode: 2,
  });
}
