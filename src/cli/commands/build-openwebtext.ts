import { join } from "node:path";
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
  readonly dataDir?: string;
  readonly maxSeqLength: number;
  readonly numProcesses: number;
  readonly splitSentences: boolean;
  readonly heldOutFraction: number;
  readonly numShards: number;
  readonly seed: number;
  readonly skipBroken?: true;
  readonly restart?: true;
}

export function define(command: Command): CommandHandler<Options> {
  command
    .option("--data-dir <folder>", "has openwebtext/* and vocab.txt, gets pretrain_tfrecords")
    .option("--max-seq-length <n>", "tokens per example", parsePositiveInteger, 128)
    .option("--num-processes <n>", "worker threads", parsePositiveInteger, 1)
    .option("--split-sentences <boolean>", "cut lines into sentences first", parseBoolean, false)
    .option("--held-out-fraction <x>", "share of the documents set apart for evaluation", parseFraction, 0)
    .option("--num-shards <n>", "record files", parsePositiveInteger, 1000)
    .option("--seed <n>", "seed of order and segment lengths", parseNonNegativeInteger, 0)
    .option("--skip-broken", "leave broken archives out instead of stopping at the first")
    .option("--restart", "throw away what an interrupted build left");
  addLowerCaseOptions(command).addOption(jsonOption());
  command.addHelpText(
    "after",
    "\nThe same command again goes on where an interrupted build stopped.\n\nExample:\n  $ npx electra-native build-openwebtext --data-dir data --num-processes 5",
  );
  return async ({ output, signal }, options) => {
    const { dataDir } = options;
    requireOptions({ "--data-dir": dataDir });
    const [{ buildOpenWebText }, { BytesProgress }] = await Promise.all([
      import("../../data/openwebtext-builder.js"),
      import("../bytes-progress.js"),
    ]);
    const progress = new BytesProgress(output);
    const report = await buildOpenWebText({
      dataDir: dataDir!,
      maxSeqLength: options.maxSeqLength,
      numProcesses: options.numProcesses,
      splitSentences: options.splitSentences,
      heldOutFraction: options.heldOutFraction,
      numShards: options.numShards,
      lowerCase: options.lowerCase,
      stripAccents: options.stripAccents,
      seed: options.seed,
      skipBroken: options.skipBroken ?? false,
      restart: options.restart ?? false,
      signal,
      onProgress: ({ bytesRead, bytesTotal, filesRead, filesTotal, documents, examples }) =>
        progress.update(
          bytesRead,
          bytesTotal,
          `${filesRead}/${filesTotal} archives, ${documents} documents, ${examples} examples`,
        ),
    }).finally(() => progress.stop());

    for (const { message, hint } of report.warnings) output.warn(message, hint);
    for (const { reason } of report.brokenArchives) output.talk(`left out: ${reason}`);
    output.result(
      {
        output_dir: report.outputDir,
        archives: report.filesRead,
        resumed_archives: report.resumedArchives,
        broken_archives: report.brokenArchives,
        unread_files: report.unreadFiles,
        documents: report.documents,
        sentences: report.sentences,
        examples: report.examples,
        held_out_documents: report.heldOutDocuments,
        held_out_examples: report.heldOutExamples,
        tokens: report.tokens,
        unknown_rate: report.unknownRate,
        discarded_rate: report.discardedRate,
        bytes: report.bytesRead,
        fingerprint: report.fingerprint,
        held_out_fingerprint: report.heldOutFingerprint ?? null,
        warnings: report.warnings,
        seconds: report.seconds,
      },
      formatListing([
        ["dataset", report.outputDir],
        [
          "archives",
          `${report.filesRead}, ${report.brokenArchives.length} of them broken${report.resumedArchives > 0 ? `, ${report.resumedArchives} read before the interruption` : ""}`,
        ],
        ...datasetRows(report, options),
      ]),
    );
    output.next(pretrainCommand(report.outputDir, join(dataDir!, "vocab.txt"), options.maxSeqLength));
    return 0;
  };
}
