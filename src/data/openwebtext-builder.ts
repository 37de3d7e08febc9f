import { createHash } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ElectraError } from "../errors.js";
import { compareByCodePoints } from "../tokenization/code-point-order.js";
import type { ArchiveJob, ArchiveJobResult, BrokenArchive } from "./archive-job.js";
import type { CorpusFile } from "./corpus-reader.js";
import { partialPrefix, removePartials } from "./dataset-manifest.js";
import { produceDataset, type ResumableBuild } from "./dataset-production.js";
import type { DatasetProgress, DatasetWarning, ProducedDataset } from "./dataset-report.js";
import { completeSettings, type DatasetOptions, type DatasetSettings } from "./dataset-settings.js";
import { fileFailure } from "./file-failure.js";

/** Options of {@link buildOpenWebText}. */
export interface BuildOpenWebTextOptions extends DatasetOptions {
  /** Holds `openwebtext/*` and `vocab.txt`, and will hold `pretrain_tfrecords`. */
  readonly dataDir: string;
  /** Leave broken archives out instead of stopping at the first (default false). */
  readonly skipBroken?: boolean;
  /** Throw away what an interrupted build left instead of going on with it (default false). */
  readonly restart?: boolean;
  /** Milliseconds between two notes of how far the build has come, at least (default 2000); made between archives. */
  readonly saveInterval?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DatasetProgress) => void;
}

/** The result of {@link buildOpenWebText}. `filesRead` and `bytesRead` count archives. */
export interface OpenWebTextReport extends ProducedDataset {
  /** Archives that were left out, sorted by name. */
  readonly brokenArchives: readonly BrokenArchive[];
  /** Files in folders inside the archives and links, which were not read. */
  readonly unreadFiles: number;
  /** Archives that an interrupted build had read already. */
  readonly resumedArchives: number;
}

/**
 * Builds pre-training records from OpenWebText's archives, as the reference's `build_openwebtext_pretraining_dataset.py`: job
 * `j` of `P` reads every `P`-th archive of `<dataDir>/openwebtext`, and every text file in it is one document. Archives are
 * read as streams, nothing is unpacked to the disk.
 *
 * The order is seeded: each job shuffles its archives, and the texts of each archive (sorted by name). A build that was
 * interrupted or that failed goes on, when called again with the same settings, at the archive where each job stopped; the
 * records are the same bytes as without the interruption.
 *
 * @throws ElectraError as `buildDataset` does, `ERR_ELECTRA_ARCHIVE` for a broken archive, `ERR_ELECTRA_UNFINISHED_BUILD` when an
 *   unfinished build with other settings lies there, `ERR_ELECTRA_DATA_CHANGED` when archives changed that it has read
 */
export async function buildOpenWebText(options: BuildOpenWebTextOptions): Promise<OpenWebTextReport> {
  const settings = completeSettings({ ...options, blanksSeparateDocs: false });
  options.signal?.throwIfAborted();
  const corpusDir = join(options.dataDir, "openwebtext");
  const archives = await listArchives(corpusDir);
  const { dataset, results } = await produceDataset({
    corpusDir,
    vocabFile: join(options.dataDir, "vocab.txt"),
    outputDir: join(options.dataDir, "pretrain_tfrecords"),
    files: archives,
    settings,
    signal: options.signal,
    onProgress: options.onProgress,
    resumable: resumableBuild(archives, settings, options),
  });
  const outcomes = results.map((result) => (result as ArchiveJobResult).archives);
  const brokenArchives = outcomes
    .flatMap(({ broken }) => broken)
    .sort((a, b) => compareByCodePoints(a.name, b.name));
  const sum = (pick: (outcome: (typeof outcomes)[number]) => number): number =>
    outcomes.reduce((total, outcome) => total + pick(outcome), 0);
  const unreadFiles = sum((outcome) => outcome.unreadFiles);
  const warnings: DatasetWarning[] = [...dataset.warnings];
  if (brokenArchives.length > 0) {
    const names = brokenArchives.slice(0, 5).map(({ name }) => name);
    warnings.push({
      message: `${brokenArchives.length} of ${archives.length} archives are broken and were left out: ${names.join(", ")}${brokenArchives.length > 5 ? ", …" : ""}`,
      hint: "fetch them again and build anew to have their text, too",
    });
  }
  if (unreadFiles > 0) {
    warnings.push({
      message: `${unreadFiles} files lie in folders inside the archives, or are links, and were not read`,
      hint: "only files at the top of an archive count: pack them again without folders",
    });
  }
  return {
    ...dataset,
    warnings,
    brokenArchives,
    unreadFiles,
    resumedArchives: sum((outcome) => outcome.resumedArchives),
  };
}

/** Every entry of the folder except hidden ones, sorted by code point. */
async function listArchives(folder: string): Promise<readonly CorpusFile[]> {
  let files: CorpusFile[];
  try {
    const names = (await readdir(folder)).filter((name) => !name.startsWith("."));
    files = await Promise.all(
      names.sort(compareByCodePoints).map(async (name) => {
        const path = join(folder, name);
        return { name, path, bytes: (await stat(path)).size };
      }),
    );
  } catch (error) {
    throw fileFailure(error, "cannot read the folder of the archives", folder);
  }
  if (files.length === 0) {
    throw new ElectraError("ERR_ELECTRA_CORPUS", `no archive in ${folder}`, {
      hint: "put OpenWebText's archives there: tar files of text files, packed with xz or otherwise",
      exitCode: 2,
    });
  }
  return files;
}

const planFile = `${partialPrefix}build.json`;
const stateFile = (index: number): string => `${partialPrefix}state-${index}.json`;
const isStateFile = new RegExp(`^${partialPrefix.replaceAll(".", "\\.")}state-\\d+\\.json$`);

function resumableBuild(
  archives: readonly CorpusFile[],
  settings: DatasetSettings,
  options: BuildOpenWebTextOptions,
): ResumableBuild {
  const hasState = async (folder: string): Promise<boolean> =>
    (await readdir(folder).catch(() => [])).some((name) => isStateFile.test(name));
  return {
    hasState,
    async begin(folder, vocabularyText) {
      // Sizes are left out: a broken archive may be replaced before the build goes on.
      const plan: Record<string, unknown> = {
        ...settings,
        vocabulary: digest(vocabularyText),
        archives: digest(archives.map(({ name }) => name).join("\n")),
      };
      const path = join(folder, planFile);
      if (options.restart !== true && (await hasState(folder))) {
        const before = await readPlan(path);
        const differing = Object.keys(plan).filter((key) => before[key] !== plan[key]);
        if (differing.length > 0) {
          throw new ElectraError(
            "ERR_ELECTRA_UNFINISHED_BUILD",
            `${folder} holds an unfinished build with other settings: ${differing.map((key) => difference(key, before[key], plan[key])).join(", ")}`,
            {
              hint: "give the settings of that build to go on with it, or throw it away with --restart",
              exitCode: 2,
            },
          );
        }
        return;
      }
      await removePartials(folder);
      await writeFile(path, `${JSON.stringify(plan)}\n`).catch((error: unknown) => {
        throw fileFailure(error, "cannot write", path);
      });
    },
    makeJob: (job, folder): ArchiveJob => ({
      ...job,
      stateFile: join(folder, stateFile(job.index)),
      saveInterval: options.saveInterval ?? 2000,
      skipBroken: options.skipBroken ?? false,
    }),
  };
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** An unreadable plan differs in everything. */
async function readPlan(path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function difference(key: string, before: unknown, now: unknown): string {
  return key === "vocabulary" || key === "archives"
    ? `another ${key === "vocabulary" ? "vocabulary" : "list of archives"}`
    : `${key} ${String(before)} (now ${String(now)})`;
}
