import { isUtf8 } from "node:buffer";
import { readdir, readFile, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ElectraError } from "../errors.js";
import { Vocabulary } from "../tokenization/vocabulary.js";
import type { CorpusFile } from "./corpus-reader.js";
import { fingerprintFiles } from "./data-fingerprint.js";
import { type DatasetCounts, sumCounts } from "./dataset-counts.js";
import type { DatasetJob } from "./dataset-job.js";
import {
  claimFolder,
  manifestName,
  partialPrefix,
  removePartials,
  writeManifest,
} from "./dataset-manifest.js";
import { type DatasetProgress, findCountWarnings, type ProducedDataset } from "./dataset-report.js";
import type { DatasetSettings } from "./dataset-settings.js";
import { runDatasetJobs } from "./dataset-workers.js";
import { fileFailure } from "./file-failure.js";
import type { AnyJob, AnyJobResult } from "./run-job.js";
import type { ShardSummary } from "./shard-set.js";
import { splitWork } from "./work-split.js";

/** What {@link produceDataset} shall do. */
export interface DatasetPlan {
  /** Where the text comes from, for messages and the manifest. */
  readonly corpusDir: string;
  readonly files: readonly CorpusFile[];
  readonly vocabFile: string;
  readonly outputDir: string;
  readonly settings: DatasetSettings;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: DatasetProgress) => void) | undefined;
  /** A build that can be interrupted and gone on with; without it, what a build leaves behind is thrown away. */
  readonly resumable?: ResumableBuild;
}

/** The part of a resumable build that depends on its kind. */
export interface ResumableBuild {
  /** Called with the output folder, before anything is written there, to compare with what an interrupted build left. */
  begin(folder: string, vocabularyText: string): Promise<void>;
  /** Makes a job of the kind. */
  makeJob(job: DatasetJob, folder: string): AnyJob;
  /** Whether there is something to go on with. */
  hasState(folder: string): Promise<boolean>;
}

/** What {@link produceDataset} gives. */
export interface Production {
  readonly dataset: ProducedDataset;
  readonly results: readonly AnyJobResult[];
}

/**
 * Runs the jobs of a build into hidden files, and puts those in their place when all are complete.
 *
 * @throws ElectraError as `buildDataset`
 */
export async function produceDataset(plan: DatasetPlan): Promise<Production> {
  const began = performance.now();
  const elapsed = (): number => (performance.now() - began) / 1000;
  const { settings, resumable } = plan;
  plan.signal?.throwIfAborted();
  const vocabulary = { text: await readVocabulary(plan.vocabFile), source: plan.vocabFile };
  Vocabulary.parse(vocabulary.text, { source: vocabulary.source }).require([
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
  ]);

  const folder = resolve(plan.outputDir);
  const described = { corpusDir: plan.corpusDir, vocabFile: plan.vocabFile, ...settings };
  const claimed = await claimFolder(folder, described, { keepPartials: resumable !== undefined });
  try {
    await resumable?.begin(folder, vocabulary.text);
    const jobs = makeJobs(plan.files, vocabulary, settings, folder);
    const progress = progressReporter(jobs.length, plan.files, elapsed, plan.onProgress);
    const results = await runDatasetJobs(
      resumable === undefined ? jobs : jobs.map((job) => resumable.makeJob(job, folder)),
      {
        ...(plan.signal === undefined ? {} : { signal: plan.signal }),
        onProgress: progress,
      },
    );
    const counts = sumCounts(results.map((result) => result.counts));
    if (counts.examples === 0) {
      throw new ElectraError(
        "ERR_ELECTRA_CORPUS",
        `the corpus in ${plan.corpusDir} gave no training example`,
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
    await removePartials(folder);
    const dataset: ProducedDataset = {
      ...counts,
      outputDir: folder,
      unknownRate: counts.unknownTokens / Math.max(1, counts.tokens),
      discardedRate: counts.discardedTokens / Math.max(1, counts.tokens),
      seconds: elapsed(),
      fingerprint,
      heldOutFingerprint,
      warnings: findCountWarnings(counts, settings),
    };
    return { dataset, results };
  } catch (error) {
    if (!(await resumable?.hasState(folder))) {
      await giveUp(folder, claimed.previous === undefined, claimed.created !== undefined);
    }
    throw error;
  }
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
  settings: DatasetSettings,
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
  onProgress: DatasetPlan["onProgress"],
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
  results: readonly AnyJobResult[],
  pick: (result: AnyJobResult) => readonly ShardSummary[],
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
