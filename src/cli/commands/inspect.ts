import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { ElectraError } from "../../errors.js";
import type { CommandHandler } from "../command-module.js";
import { formatListing, shellQuote } from "../output.js";
import { jsonOption } from "../run-options.js";

interface Options {
  readonly dataDir?: string;
  readonly modelName?: string;
}

export function define(command: Command): CommandHandler<Options> {
  command
    .argument(
      "[path]",
      "folder of a run, checkpoint, Hugging Face model or dataset; a TensorFlow checkpoint; a .safetensors, pytorch_model.bin, .tfrecord, .onnx or vocab.txt file",
    )
    .option("--data-dir <folder>", "where --model-name is looked up")
    .option("--model-name <name>", "a model of --data-dir instead of a path")
    .addOption(jsonOption());
  command.addHelpText("after", "\nExample:\n  $ npx electra-native inspect data/models/electra-small");
  return async ({ output }, options, [operand]) => {
    const path = operand ?? (await pathByName(options));
    const { inspectPath } = await import("../inspect/inspect-path.js");
    const { document, listing, next } = await inspectPath(path);
    output.result(document, formatListing(listing));
    output.next(`npx electra-native ${next.map(shellQuote).join(" ")}`);
    return 0;
  };
}

async function pathByName({ dataDir, modelName }: Options): Promise<string> {
  if (dataDir !== undefined && modelName !== undefined) {
    const { findModelByName } = await import("../../checkpoint/model-folder.js");
    return await findModelByName(dataDir, modelName);
  }
  if (dataDir !== undefined && (await stat(dataDir)).isDirectory()) return dataDir;
  throw new ElectraError("ERR_ELECTRA_USAGE", "nothing to inspect was given", {
    hint: "Give a path, or --data-dir and --model-name.",
    exitCode: 2,
  });
}
