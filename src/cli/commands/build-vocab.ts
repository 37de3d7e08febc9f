import { dirname, join } from "node:path";
import type { Command } from "commander";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { addLowerCaseOptions, type LowerCaseOptions } from "../lower-case-options.js";
import { parseNonNegativeInteger, parsePositiveInteger } from "../option-parsers.js";
import { formatListing, shellQuote } from "../output.js";
import { jsonOption } from "../run-options.js";

interface Options extends LowerCaseOptions {
  readonly corpusDir?: string;
  readonly outputFile?: string;
  readonly vocabSize: number;
  readonly minFrequency: number;
  readonly alphabetLimit: number;
  readonly unusedTokens: number;
}

export function define(command: Command): CommandHandler<Options> {
  command
    .option("--corpus-dir <folder>", "text: .txt and .gz files, sub-folders are not walked")
    .option("--output-file <file>", "vocabulary to write, one token a line")
    .option("--vocab-size <n>", "tokens at most, special ones included", parsePositiveInteger, 30_522)
    .option("--min-frequency <n>", "how often a pair must occur to be joined", parsePositiveInteger, 2)
    .option("--alphabet-limit <n>", "different characters at most", parsePositiveInteger, 1000)
    .option("--unused-tokens <n>", "[unusedN] tokens to keep ids free", parseNonNegativeInteger, 0);
  addLowerCaseOptions(command).addOption(jsonOption());
  command.addHelpText(
    "after",
    "\nExample:\n  $ npx electra-native build-vocab --corpus-dir text --output-file data/vocab.txt --vocab-size 8000",
  );
  return async ({ output, signal }, options) => {
    const { corpusDir, outputFile } = options;
    requireOptions({ "--corpus-dir": corpusDir, "--output-file": outputFile });
    const [{ buildVocabulary }, { BytesProgress }] = await Promise.all([
      import("../../data/build-vocabulary.js"),
      import("../bytes-progress.js"),
    ]);
    const progress = new BytesProgress(output);
    const report = await buildVocabulary({
      corpusDir: corpusDir!,
      outputFile: outputFile!,
      vocabSize: options.vocabSize,
      minFrequency: options.minFrequency,
      alphabetLimit: options.alphabetLimit,
      unusedTokens: options.unusedTokens,
      lowerCase: options.lowerCase,
      stripAccents: options.stripAccents,
      signal,
      onProgress: (done, total) => progress.update(done, total, "words counted"),
    }).finally(() => progress.stop());

    const { vocabulary, occurrences, skippedOccurrences, skippedFiles } = report;
    if (skippedFiles.length > 0) {
      output.warn(
        `not read, because their names end in neither .txt nor .gz: ${skippedFiles.slice(0, 5).join(", ")}`,
        "Rename text files to *.txt; sub-folders are not walked.",
      );
    }
    if (vocabulary.size < options.vocabSize) {
      output.warn(
        `the text has pieces for only ${vocabulary.size} of ${options.vocabSize} tokens`,
        "Nothing to do, or give more text; pre-training takes the size from the file.",
      );
    }
    const skippedRate = skippedOccurrences / Math.max(1, occurrences);
    if (skippedRate > 0.01) {
      output.warn(
        `${(100 * skippedRate).toFixed(1)} % of the words will be [UNK]: a character of theirs is not in the alphabet`,
        "Raise --alphabet-limit.",
      );
    }
    const document = {
      output_file: outputFile,
      tokens: vocabulary.size,
      alphabet: report.alphabetSize,
      joined_pieces: report.joinedPieces,
      files: report.filesRead,
      words: occurrences,
      different_words: report.words,
      skipped_words: skippedOccurrences,
      seconds: report.seconds,
    };
    output.result(
      document,
      formatListing([
        ["vocabulary", outputFile!],
        [
          "tokens",
          `${vocabulary.size} (${report.alphabetSize} characters, ${report.joinedPieces} joined pieces)`,
        ],
        ["words", `${occurrences}, ${report.words} different, ${skippedOccurrences} skipped`],
        ["files", String(report.filesRead)],
        ["time", `${report.seconds.toFixed(1)} s`],
      ]),
    );
    const cased = options.lowerCase ? "" : " --no-lower-case";
    output.next(
      `npx electra-native build-dataset --corpus-dir ${shellQuote(corpusDir!)} --vocab-file ${shellQuote(outputFile!)} --output-dir ${shellQuote(join(dirname(outputFile!), "pretrain_tfrecords"))}${cased}`,
    );
    return 0;
  };
}
