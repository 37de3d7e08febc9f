import { type Command, InvalidArgumentError, Option } from "commander";
import type { InputColumns } from "../../inference/input/input-layout.js";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { parseBoolean, parseFraction, parsePositiveInteger } from "../option-parsers.js";
import { shellQuote } from "../output.js";
import { addRunOptions, machineOf } from "../run-options.js";
import type { PredictCommandOptions } from "../run-predict.js";

type Options = PredictCommandOptions & { readonly model?: string; readonly vocabFile?: string };

export function define(command: Command): CommandHandler<Options> {
  command
    .option(
      "--model <folder>",
      "a fine-tuned model: the folder of a trial, a checkpoint, or the run it lies in",
    )
    .option("--task <name>", "which of the model's tasks, if it knows several")
    .option("--vocab-file <file>", "the model's vocabulary, if it is not the vocab.txt beside its weights")
    .optionsGroup("Rows:")
    .option("--input <file>", "rows to predict; -: standard input", "-")
    .addOption(
      new Option(
        "--format <name>",
        "how they are written (default: as the file's name says; standard input is txt, questions are jsonl): " +
          "txt: a text a line, a tab before a second one; tsv, csv, jsonl; conll: a word a line; squad, mrqa: questions as these sets have them",
      ).choices(["txt", "tsv", "csv", "jsonl", "conll", "squad", "mrqa"]),
    )
    .option(
      "--columns <list>",
      "where to find what, by name or number (from 0): text=body,text_b=3,id=key; also words, question, context " +
        "(default: columns of these names)",
      parseColumns,
    )
    .option(
      "--header <boolean>",
      "the first row of tsv and csv names the columns (default: true)",
      parseBoolean,
    )
    .option(
      "--skip-bad-rows [boolean]",
      "leave out rows that cannot be used, counted and named",
      parseBoolean,
      false,
    )
    .optionsGroup("Predictions:")
    .option("--output-file <file>", "write them here, as JSON Lines (default: standard output)")
    .option("--overwrite [boolean]", "replace that file if it exists", parseBoolean, false)
    .option(
      "--n-best <n>",
      "also the n likeliest answers to a question, or classes of a text",
      parsePositiveInteger,
    )
    .option("--threshold <p>", "how likely a label must be (multi-label)", parseFraction, 0.5)
    .option("--batch-size <n>", "rows that are computed together", parsePositiveInteger, 32);
  addRunOptions(command).addHelpText(
    "after",
    [
      "",
      "Prints a JSON object for each row, in the rows' order. Without a folder of its own, a model is named by the run that it",
      "was made from, if there is only one.",
      "",
      "Examples:",
      '  $ echo "A great film." | npx electra-native predict --model data/models/electra_small',
      "  $ npx electra-native predict --model data/models/electra_small/finetuning_models/mnli_model_1 \\",
      "      --input pairs.csv --columns text=premise,text_b=hypothesis,id=0 --output-file predictions.jsonl",
      "  $ npx electra-native predict --model data/models/electra_small/finetuning_models/squad_model_1 --input dev-v2.0.json --n-best 3",
    ].join("\n"),
  );
  return async ({ output, signal }, options) => {
    requireOptions({ "--model": options.model });
    const { checkOutputFile, runPredict } = await import("../run-predict.js");
    const { outputFile } = options;
    if (outputFile !== undefined) await checkOutputFile(outputFile, options.overwrite);
    const { FinetunedModel } = await import("../../inference/finetuned-model.js");
    const { vocabFile } = options;
    const model = await FinetunedModel.open(options.model!, {
      ...machineOf(options),
      ...(vocabFile === undefined ? {} : { vocabFile }),
      signal,
    });
    try {
      await runPredict(output, signal, model, options);
    } finally {
      await model.dispose();
    }
    output.next(
      outputFile === undefined
        ? `npx electra-native predict --model ${shellQuote(options.model!)} --input rows.jsonl --output-file predictions.jsonl`
        : `head -n 3 ${shellQuote(outputFile)}`,
    );
    return 0;
  };
}

const COLUMN_NAMES = ["id", "text", "text_b", "words", "question", "context"];

/** `text=body,text_b=3`: numbers are places, everything else is a name. */
function parseColumns(list: string): InputColumns {
  return Object.fromEntries(
    list.split(",").map((entry) => {
      const [name, column] = splitOnce(entry, "=");
      if (!COLUMN_NAMES.includes(name) || column === "") {
        throw new InvalidArgumentError(
          `Give pairs such as text=body; the names are ${COLUMN_NAMES.join(", ")}.`,
        );
      }
      return [name, /^-?\d+$/.test(column) ? Number(column) : column];
    }),
  );
}

function splitOnce(text: string, separator: string): [before: string, after: string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}
