import type { Command } from "commander";
import { type CommandHandler, requireOptions } from "../command-module.js";
import { datasetRows } from "../dataset-listing.js";
import { addLowerCaseOptions, type LowerCaseOptions } from "../lower-case-options.js";
import {
  parseBoolean,
  parseFraction,
  parseNonNegativeInteger,
  parsePositiveInteger,
} from "../option-parsers.js";
import { formatListing } from "../output.js";
import { pretrainCommand } from "../pretrain-command.js";
import { jsonOption } from "../run-options.js";

interface Options extends LowerCaseOptions {
  readonly corpusDir?: string;
  readonly vocabFile?: string;
  readonly outputDir?: string;
  readonly maxSeqLength: number;
  readonly numProcesses: number;
  readonly blanksSeparateDocs: boolean;
  readonly splitSentences: boolean;
  readonly heldOutFraction: number;
  readonly numShards: number;
  readonly seed: number;
}

export function define(command: Command): CommandHandler<Options> {
  command
    .option("--corpus-dir <folder>", "text: .txt and .gz files, one sentence a line")
    .option("--vocab-file <file>", "WordPiece vocabulary, one token a line")
    .option("--output-dir <folder>", "new folder, or a dataset made by this command to replace")
    .option("--max-seq-length <n>", "tokens per example", parsePositiveInteger, 128)
    .option("--num-processes <n>", "worker threads", parsePositiveInteger, 1)
    .option("--blanks-separate-docs <boolean>", "a blank line ends a document", parseBoolean, true)
    .option("--split-sentences <boolean>", "cut lines into sentences first", parseBoolean, false)
    .option("--held-out-fraction <x>", "share of the documents set apart for evaluation", parseFraction, 0)
    .option("--num-shards <n>", "record files", parsePositiveInteger, 1000)
    .option("--seed <n>", "seed of order and segment lengths", parseNonNegativeInteger, 0);
  addLowerCaseOptions(command).addOption(jsonOption());
  command.addHelpText(
    "after",
    "\nExample:\n  $ npx electra-native build-dataset --corpus-dir text --vocab-file data/vocab.txt --output-dir data/pretrain_tfrecords --num-processes 4",
  );
  return async ({ output, signal }, options) => {
    const { corpusDir, vocabFile, outputDir } = options;
    requireOptions({ "--corpus-dir": corpusDir, "--vocab-file": vocabFile, "--output-dir": outputDir });
    const [{ buildDataset }, { BytesProgress }] = await Promise.all([
      import("../../data/dataset-builder.js"),
      import("../bytes-progress.js"),
    ]);
    const progress = new BytesProgress(output);
    const report = await buildDataset({
      corpusDir: corpusDir!,
      vocabFile: vocabFile!,
      outputDir: outputDir!,
      maxSeqLength: options.maxSeqLength,
      numProcesses: options.numProcesses,
      blanksSeparateDocs: options.blanksSeparateDocs,
      splitSentences: options.splitSentences,
      heldOutFraction: options.heldOutFraction,
      numShards: options.numShards,
      lowerCase: options.lowerCase,
      stripAccents: options.stripAccents,
      seed: options.seed,
      signal,
      onProgress: ({ bytesRead, bytesTotal, filesRead, filesTotal, examples }) =>
        progress.update(bytesRead, bytesTotal, `${filesRead}/${filesTotal} files, ${examples} examples`),
    }).finally(() => progress.stop());

    for (const { message, hint } of report.warnings) output.warn(message, hint);
    output.result(
      {
        output_dir: report.outputDir,
        documents: report.documents,
        sentences: report.sentences,
        examples: report.examples,
        held_out_documents: report.heldOutDocuments,
        held_out_examples: report.heldOutExamples,
        tokens: report.tokens,
        unknown_rate: report.unknownRate,
        discarded_rate: report.discardedRate,
        files: report.filesRead,
        bytes: report.bytesRead,
        fingerprint: report.fingerprint,
        held_out_fingerprint: report.heldOutFingerprint ?? null,
        warnings: report.warnings,
        seconds: report.seconds,
      },
      formatListing([["dataset", report.outputDir], ...datasetRows(report, options)]),
    );
    output.next(pretrainCommand(outputDir!, vocabFile!, options.maxSeqLength));
    return 0;
  };
}
