import type { Command } from "commander";
import type { ScoredText } from "../../electric/text-scorer.js";
import type { TextLine } from "../../inference/text-lines.js";
import { announceMachine } from "../announce-machine.js";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { shellQuote } from "../output.js";
import { addRunOptions, machineOf, type RunOptions } from "../run-options.js";
import { addScoringOptions, type ScoringOptions, scoringFlags, scoringMethod } from "../scoring-options.js";

interface Options extends RunOptions, ScoringOptions {
  readonly mean?: boolean;
  readonly perToken?: boolean;
}

export function define(command: Command): CommandHandler<Options> {
  command.argument("[files...]", "text files, one text a line; - or none: standard input");
  addScoringOptions(command)
    .option("--mean", "print the mean over a text's tokens instead of the sum")
    .option("--per-token", "add a column with every token's score");
  addRunOptions(command).addHelpText(
    "after",
    [
      "",
      "Prints score, tab, text for every line as the lines come in; higher is likelier.",
      "",
      "Examples:",
      "  $ npx electra-native score --model data/models/my-electric sentences.txt | sort -g",
      '  $ echo "The cat sat on the mat." | npx electra-native score --model data/models/my-electric --per-token',
    ].join("\n"),
  );
  return async ({ output, signal }, options, operands) => {
    requireOptions({ "--model": options.model });
    const [{ openTextScorer }, { lineBlocks }] = await Promise.all([
      import("../../electric/open-text-scorer.js"),
      import("../../electric/line-blocks.js"),
    ]);
    const method = scoringMethod(options);
    const { scorer, warning } = await openTextScorer(options.model!, {
      method,
      ...machineOf(options),
      signal,
    });
    try {
      announceMachine(output, scorer.model.engine.info);
      if (warning !== undefined) output.warn(warning);
      const texts: object[] = [];
      // Commander gives all files as one operand.
      for await (const lines of lineBlocks((operands as readonly unknown[]).flat() as string[], { signal })) {
        const scored = await scorer.score(
          lines.map(({ text }) => text),
          { signal },
        );
        if (output.json) {
          texts.push(...lines.map((line, index) => describeText(line, scored[index]!, options)));
        } else {
          // A block at a time, so that whoever writes to standard input reads the answers meanwhile.
          output.result(
            undefined,
            lines.map((line, index) => `${formatText(line, scored[index]!, options)}\n`).join(""),
          );
        }
      }
      if (output.json)
        output.result({ model: options.model, step: scorer.model.step ?? null, method, texts }, "");
    } finally {
      await scorer.dispose();
    }
    output.next(
      `npx electra-native rerank --model ${shellQuote(options.model!)}${scoringFlags(options)} --nbest nbest.jsonl --weight 0.5`,
    );
    return 0;
  };
}

function describeText({ text, source, line }: TextLine, scored: ScoredText, { perToken }: Options): object {
  const { score, mean, tokens } = scored;
  return { source, line, text, score, mean, count: tokens.length, ...(perToken ? { tokens } : {}) };
}

function formatText({ text }: TextLine, scored: ScoredText, { mean, perToken }: Options): string {
  const columns = [(mean ? scored.mean : scored.score).toFixed(4), text];
  if (perToken)
    columns.push(scored.tokens.map(({ token, score }) => `${token}=${score.toFixed(4)}`).join(" "));
  return columns.join("\t");
}
