import { isUtf8 } from "node:buffer";
import { readdir, readFile, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ElectraError } from "../errors.js";
import { Vocabulary } from "../tokenization/vocabulary.js";
import { type CorpusFile, listCorpus } from "./corpus-reader.js";
import { type DataFingerprint, fingerprintFiles } from "./data-fingerprint.js";
import { type DatasetCounts, sumCounts } from "./dataset-counts.js";
import type { DatasetJob, DatasetJobResult } from "./dataset-job.js";
import {
  claimFolder,
  manifestName,
  partialPrefix,
  removePartials,
  writeManifest,
} from "./dataset-manifest.js";
import { runDatasetJobs } from "./dataset-workers.js";
import { fileFailure } from "./file-failure.js";
import type { ShardSummary } from "./shard-set.js";
import { splitWork } from "./work-split.js";

/** Options of {@link buildDataset}. Names and defaults are those of the reference's command line. */
export interface BuildDatasetOptions {
  /** Folder of `.txt` and `.gz` files, one sentence a line; sub-folders are not walked. */
  readonly corpusDir: string;
  readonly vocabFile: string;
  /** Made when missing; must be empty or a dataset made by this function. */
  readonly outputDir: string;
  /** Tokens per example, [CLS] and [SEP] included (default 128). */
  readonly maxSeqLength?: number;
  /** Worker threads (default 1: in this thread). The files depend on it. */
  readonly numProcesses?: number;
  /** A blank line ends a document (default true); otherwise blank lines are skipped and a file is a document. */
  readonly blanksSeparateDocs?: boolean;
  readonly lowerCase?: boolean;
  /** Effective only when lower-casing. */
  readonly stripAccents?: boolean;
  /** Same seed, settings, corpus and number of processes: same files (default 0). */
  readonly seed?: number;
  /** Cut lines into sentences first (default false). */
  readonly splitSentences?: boolean;
  /** Number of record files (default 1000). */
  readonly numShards?: number;
  /** Share of the documents that goes to `heldout_data.tfrecord-*` instead (default 0). */
  readonly heldOutFraction?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DatasetProgress) => void;
}

/** Counts so far, summed over all jobs. */
export interface DatasetProgress extends DatasetCounts {
  readonly filesTotal: number;
  readonly bytesTotal: number;
  /** Seconds since the build began. */
  readonly seconds: number;
}

/** Something about the corpus that the user should know. */
export interface DatasetWarning {
  readonly message: string;
  readonly hint: string;
}

/** The result of a build. */
export interface DatasetReport extends DatasetCounts {
  readonly outputDir: string;
  /** Share of [UNK] among the tokens. */
  readonly unknownRate: number;
  /** Share of the tokens that did not fit into their example. */
  readonly discardedRate: number;
  /** Files in the corpus folder that are no text files. */
  readonly skippedFiles: readonly string[];
  readonly seconds: number;
  readonly fingerprint: DataFingerprint;
  readonly heldOutFingerprint: DataFingerprint | undefined;
  readonly warnings: readonly DatasetWarning[];
}

/** Above these shares of the tokens a warning is due. */
const tolerableOverlong = 0.05;
const tolerableUnknowns = 0.05;

/**
 * Builds pre-training records from text, as the reference's `build_pretraining_dataset.py`: job `j` of `P` reads every `P`-th
 * file and fills every `P`-th of the shards `pretrain_data.tfrecord-<k>-of-<n>` round robin. Streaming: memory does not
 * depend on the corpus.
 *
 * Files are written under hidden names and renamed when all are complete. `dataset.json` marks the folder as ours; its
 * `status` is `building` until then. A dataset of ours that lies there already is replaced at the end; any other non-empty
 * folder is refused and left alone.
 *
 * @throws ElectraError `ERR_ELECTRA_DATASET_OPTION` for impossible settings, `ERR_ELECTRA_OUTPUT_FOLDER`,
 *   `ERR_ELECTRA_CORPUS` (no text, or no example came out of it), `ERR_ELECTRA_TEXT` (not UTF-8), `ERR_ELECTRA_VOCABULARY_…`,
 *   `ERR_ELECTRA_FILE`; the signal's reason when aborted
 */
export async function buildDataset(options: BuildDatasetOptions): Promise<DatasetReport> {
  const began = performance.now();
  const elapsed = (): number => (performance.now() - began) / 1000;
  const settings = completeSettings(options);
  options.signal?.throwIfAborted();
  const listing = await listCorpus(options.corpusDir);
  const vocabulary = { text: await readVocabulary(options.vocabFile), source: options.vocabFile };
  Vocabulary.parse(vocabulary.text, { source: vocabulary.source }).require([
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
  ]);

  const folder = resolve(options.outputDir);
  const described = { corpusDir: options.corpusDir, vocabFile: options.vocabFile, ...settings };
  const claimed = await claimFolder(folder, described);
  try {
    const jobs = makeJobs(listing.files, vocabulary, settings, folder);
    const progress = progressReporter(jobs.length, listing.files, elapsed, options.onProgress);
    const results = await runDatasetJobs(jobs, {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onProgress: progress,
    });
    const counts = sumCounts(results.map((result) => result.counts));
    if (counts.examples === 0) {
      throw new ElectraError(
        "ERR_ELECTRA_CORPUS",
        `the corpus in ${options.corpusDir} gave no training example`,
        {
          hint:
            counts.heldOutExamples > 0
              ? "all documents were held out: give a smaller held-out fraction"
              : "its files hold no text (or none that the vocabulary's tokenizer keeps)",
          exitCode: 2,
        },
      );
    }
    const shards = finalShards(results, (result) => result.shards);
    const heldOutShards = finalShards(results, (result) => result.heldOutShards);
    await publish(folder, described, [...shards, ...heldOutShards]);
    const fingerprint = fingerprintFiles(shards);
    const heldOutFingerprint = settings.heldOutFraction > 0 ? fingerprintFiles(heldOutShards) : undefined;
    await writeManifest(folder, {
      status: "complete",
      settings: described,
      counts: { ...counts },
      fingerprint,
      ...(heldOutFingerprint === undefined ? {} : { heldOutFingerprint }),
    });
    return {
      ...counts,
      outputDir: folder,
      unknownRate: counts.unknownTokens / Math.max(1, counts.tokens),
      discardedRate: counts.discardedTokens / Math.max(1, counts.tokens),
      skippedFiles: listing.skipped,
      seconds: elapsed(),
      fingerprint,
      heldOutFingerprint,
      warnings: findWarnings(counts, settings, listing.skipped),
    };
  } catch (error) {
    await giveUp(folder, claimed.previous === undefined, claimed.created !== undefined);
    throw error;
  }
}

type Settings = Required<
  Omit<BuildDatasetOptions, "corpusDir" | "vocabFile" | "outputDir" | "signal" | "onProgress">
>;

function completeSettings(options: BuildDatasetOptions): Settings {
  const settings: Settings = {
    maxSeqLength: options.maxSeqLength ?? 128,
    numProcesses: options.numProcesses ?? 1,
    blanksSeparateDocs: options.blanksSeparateDocs ?? true,
    lowerCase: options.lowerCase ?? true,
    stripAccents: options.stripAccents ?? true,
    seed: options.seed ?? 0,
    splitSentences: options.splitSentences ?? false,
    numShards: options.numShards ?? 1000,
    heldOutFraction: options.heldOutFraction ?? 0,
  };
  const refuse = (message: string): never => {
    throw new ElectraError("ERR_ELECTRA_DATASET_OPTION", message, { exitCode: 2 });
  };
  const checkInteger = (name: string, value: number, lowest: number): void => {
    if (!Number.isSafeInteger(value) || value < lowest) {
      refuse(`${name} must be an integer of at least ${lowest}, not ${value}`);
    }
  };
  checkInteger("max_seq_length", settings.maxSeqLength, 5);
  checkInteger("num_processes", settings.numProcesses, 1);
  checkInteger("num_shards", settings.numShards, 1);
  checkInteger("seed", settings.seed, 0);
  if (settings.numProcesses > settings.numShards) {
    refuse(
      `${settings.numProcesses} processes cannot share ${settings.numShards} record files: each needs at least one`,
    );
  }
  if (!(settings.heldOutFraction >= 0 && settings.heldOutFraction < 1)) {
    refuse(`the held-out fraction must be at least 0 and below 1, not ${settings.heldOutFraction}`);
  }
  return settings;
}

async function readVocabulary(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fileFailure(error, "cannot read the vocabulary", path);
  });
  if (!isUtf8(bytes)) {
    throw new ElectraError("ERR_ELECTRA_TEXT", `the vocabulary ${path} is not valid UTF-8`, {
      hint: "is this a vocab.txt with one token a line?",
      exitCode: 2,
    });
  }
  return bytes.toString("utf8");
}

function makeJobs(
  files: readonly CorpusFile[],
  vocabulary: DatasetJob["vocabulary"],
  settings: Settings,
  folder: string,
): DatasetJob[] {
  const { numProcesses, numShards, heldOutFraction } = settings;
  return splitWork(files, numShards, numProcesses).map((share, index) => ({
    index,
    files: share.files,
    vocabulary,
    maxSeqLength: settings.maxSeqLength,
    lowerCase: settings.lowerCase,
    stripAccents: settings.stripAccents,
    blanksSeparateDocs: settings.blanksSeparateDocs,
    splitSentences: settings.splitSentences,
    seed: settings.seed,
    heldOutFraction,
    shardPaths: share.shards.map((k) =>
      join(folder, `${partialPrefix}pretrain_data.tfrecord-${k}-of-${numShards}`),
    ),
    heldOutPaths:
      heldOutFraction > 0
        ? [join(folder, `${partialPrefix}heldout_data.tfrecord-${index}-of-${numProcesses}`)]
        : [],
  }));
}

function progressReporter(
  jobs: number,
  files: readonly CorpusFile[],
  elapsed: () => number,
  onProgress: BuildDatasetOptions["onProgress"],
): (job: number, counts: DatasetCounts) => void {
  const latest = new Array<DatasetCounts | undefined>(jobs).fill(undefined);
  const bytesTotal = files.reduce((sum, file) => sum + file.bytes, 0);
  return (job, counts) => {
    latest[job] = counts;
    const known = latest.filter((entry) => entry !== undefined);
    onProgress?.({ ...sumCounts(known), filesTotal: files.length, bytesTotal, seconds: elapsed() });
  };
}

/** All shards of one kind under their final names, in the order in which a glob lists them. */
function finalShards(
  results: readonly DatasetJobResult[],
  pick: (result: DatasetJobResult) => readonly ShardSummary[],
): ShardSummary[] {
  return results
    .flatMap(pick)
    .map((shard) => ({
      ...shard,
      path: join(dirname(shard.path), basename(shard.path).slice(partialPrefix.length)),
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Our own record files, and nothing else. */
const recordFile = /^(pretrain|heldout)_data\.tfrecord-\d+-of-\d+$/;

/** Puts the finished files in the place of an earlier dataset's. */
async function publish(
  folder: string,
  settings: Readonly<Record<string, unknown>>,
  shards: readonly ShardSummary[],
): Promise<void> {
  // From here to the end the folder holds a mixture; the manifest says so.
  await writeManifest(folder, { status: "building", settings });
  try {
    for (const name of await readdir(folder)) {
      if (recordFile.test(name)) {
        await rm(join(folder, name));
      }
    }
    for (const { path } of shards) {
      await rename(join(folder, `${partialPrefix}${basename(path)}`), path);
    }
  } catch (error) {
    throw fileFailure(error, "cannot replace the record files in", folder);
  }
}

/** Leaves nothing behind of a build that failed: neither partial files nor a folder that it made. */
async function giveUp(folder: string, fresh: boolean, created: boolean): Promise<void> {
  try {
    await removePartials(folder);
    if (fresh && !(await readdir(folder)).some((name) => recordFile.test(name))) {
      await rm(join(folder, manifestName), { force: true });
      if (created) {
        await rmdir(folder);
      }
    }
  } catch {
    // The failure that led here is the one to report.
  }
}

function findWarnings(
  counts: DatasetCounts,
  settings: Settings,
  skipped: readonly string[],
): readonly DatasetWarning[] {
  const warnings: DatasetWarning[] = [];
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const overlong = counts.overlongTokens / Math.max(1, counts.tokens);
  if (overlong > tolerableOverlong) {
    warnings.push({
      message: `${percent(overlong)} of the tokens were thrown away because they stand in lines that are too long for an example of ${settings.maxSeqLength} tokens`,
      hint: settings.splitSentences
        ? "raise --max-seq-length, or split the text into shorter sentences"
        : "put one sentence on a line, or let --split-sentences do it",
    });
  }
  const unknown = counts.unknownTokens / Math.max(1, counts.tokens);
  if (unknown > tolerableUnknowns) {
    warnings.push({
      message: `${percent(unknown)} of the tokens are [UNK]`,
      hint: "does the vocabulary belong to this language, and does it match the lower-casing?",
    });
  }
  if (settings.heldOutFraction > 0 && counts.heldOutExamples === 0) {
    warnings.push({
      message: `no document was held out: ${counts.documents} documents are too few for a fraction of ${settings.heldOutFraction}`,
      hint: "raise the held-out fraction, or separate documents by blank lines",
    });
  }
  if (skipped.length > 0) {
    warnings.push({
      message: `not read, because their names end in neither .txt nor .gz: ${skipped.slice(0, 5).join(", ")}${skipped.length > 5 ? ` and ${skipped.length - 5} more` : ""}`,
      hint: "rename text files to *.txt; sub-folders are not walked",
    });
  }
  return warnings;
}
