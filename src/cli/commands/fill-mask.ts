import type { Command } from "commander";
import { ElectraError } from "../../errors.js";
import type { FilledMask } from "../../inference/masked-token-filler.js";
import { announceMachine } from "../announce-machine.js";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { parsePositiveInteger } from "../option-parsers.js";
import { shellQuote } from "../output.js";
import { addRunOptions, machineOf, type RunOptions } from "../run-options.js";

interface Options extends RunOptions {
  readonly model?: string;
  readonly vocabFile?: string;
  readonly topK: number;
}

export function define(command: Command): CommandHandler<Options> {
  command
    .argument("[text]", "a text with [MASK] where a word is to be filled in")
    .option(
      "--model <path>",
      "run, checkpoint, Hugging Face folder or TensorFlow checkpoint with a generator",
    )
    .option("--vocab-file <file>", "the model's vocabulary, if it is not the vocab.txt beside its weights")
    .option("--top-k <n>", "proposals for each mask", parsePositiveInteger, 5);
  addRunOptions(command).addHelpText(
    "after",
    '\nExample:\n  $ npx electra-native fill-mask --model data/models/my-model "Fellow [MASK] of the Senate"',
  );
  return async ({ output, signal }, options, [text]) => {
    requireOptions({ "--model": options.model });
    if (text === undefined) {
      throw new ElectraError("ERR_ELECTRA_USAGE", "no text was given", {
        hint: "Give it as an operand, in quotes, with [MASK] where a word is to be filled in.",
        exitCode: 2,
      });
    }
    const { MaskedTokenFiller } = await import("../../inference/masked-token-filler.js");
    const filler = await MaskedTokenFiller.open(options.model!, {
      ...machineOf(options),
      ...(options.vocabFile === undefined ? {} : { vocabFile: options.vocabFile }),
      signal,
    });
    try {
      announceMachine(output, filler.model.engine.info);
      const masks = await filler.fill(text, { topK: options.topK, signal });
      output.result(
        { model: options.model, step: filler.model.step ?? null, text, masks },
        masks.map((mask, index) => describeMask(mask, index, masks.length)).join("\n"),
      );
    } finally {
      await filler.dispose();
    }
    output.next(
      `echo ${shellQuote(text.replaceAll("[MASK]", "cat"))} | npx electra-native detect --model ${shellQuote(options.model!)} --top 2`,
    );
    return 0;
  };
}

/** A line a proposal, the likeliest first. */
function describeMask({ proposals }: FilledMask, index: number, masks: number): string {
  const lines = proposals.map(
    ({ token, probability }) => `${(100 * probability).toFixed(1).padStart(5)} %  ${token}`,
  );
  return [...(masks > 1 ? [`[MASK] ${index + 1}:`] : []), ...lines].join("\n");
}
