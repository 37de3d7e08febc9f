import type { Command } from "commander";
import type { DetectedWord } from "../../inference/replaced-token-detector.js";
import { announceMachine } from "../announce-machine.js";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { parseFraction, parsePositiveInteger } from "../option-parsers.js";
import { shellQuote } from "../output.js";
import { addRunOptions, machineOf, type RunOptions } from "../run-options.js";

interface Options extends RunOptions {
  readonly model?: string;
  readonly vocabFile?: string;
  readonly threshold: number;
  readonly top?: number;
}

export function define(command: Command): CommandHandler<Options> {
  command
    .argument("[files...]", "text files, one text a line; - or none: standard input")
    .option(
      "--model <path>",
      "run, checkpoint, Hugging Face folder or TensorFlow checkpoint with a discriminator",
    )
    .option("--vocab-file <file>", "the model's vocabulary, if it is not the vocab.txt beside its weights")
    .option(
      "--threshold <p>",
      "mark words whose chance of having been replaced is above this",
      parseFraction,
      0.5,
    )
    .option("--top <n>", "mark the n most suspicious words of each line instead", parsePositiveInteger);
  addRunOptions(command).addHelpText(
    "after",
    [
      "",
      "Examples:",
      '  $ echo "The chef ate the meal that she had cooked." | npx electra-native detect --model data/models/my-model --top 2',
      "  $ npx electra-native detect --model data/models/my-model --json letters.txt",
    ].join("\n"),
  );
  return async ({ output, signal }, options, operands) => {
    requireOptions({ "--model": options.model });
    const [{ ReplacedTokenDetector }, { readTextLines }] = await Promise.all([
      import("../../inference/replaced-token-detector.js"),
      import("../../inference/text-lines.js"),
    ]);
    // Commander gives all files as one operand.
    const files = (operands as readonly unknown[]).flat() as string[];
    const lines = await readTextLines(files, signal);
    const detector = await ReplacedTokenDetector.open(options.model!, {
      ...machineOf(options),
      ...(options.vocabFile === undefined ? {} : { vocabFile: options.vocabFile }),
      signal,
    });
    try {
      announceMachine(output, detector.model.engine.info);
      const found = await detector.detect(
        lines.map(({ text }) => text),
        { signal },
      );
      const texts = lines.map(({ text, source, line }, index) => ({
        source,
        line,
        text,
        words: found[index]!,
      }));
      const marked = texts.map(({ text, words }) => markWords(text, suspiciousWords(words, options)));
      output.result({ model: options.model, step: detector.model.step ?? null, texts }, marked.join("\n"));
    } finally {
      await detector.dispose();
    }
    output.next(
      `npx electra-native fill-mask --model ${shellQuote(options.model!)} "Fellow [MASK] of the Senate"`,
    );
    return 0;
  };
}

function suspiciousWords(
  words: readonly DetectedWord[],
  { threshold, top }: Pick<Options, "threshold" | "top">,
): readonly DetectedWord[] {
  if (top === undefined) return words.filter(({ probability }) => probability > threshold);
  const ranked = [...words].sort((a, b) => b.probability - a.probability).slice(0, top);
  return ranked.sort((a, b) => a.start - b.start);
}

/** `The chef [ate 83%] the meal` */
function markWords(text: string, marked: readonly DetectedWord[]): string {
  let result = "";
  let end = 0;
  for (const word of marked) {
    // Words that could not be told apart share one place; one mark is enough.
    if (word.start < end) continue;
    const percent = (100 * word.probability).toFixed(0);
    result += `${text.slice(end, word.start)}[${text.slice(word.start, word.end)} ${percent}%]`;
    end = word.end;
  }
  return result + text.slice(end);
}
