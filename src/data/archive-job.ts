import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { ElectraError } from "../errors.js";
import { crc32c } from "./crc32c.js";
import type { DatasetJob, DatasetJobResult, RunJobOptions } from "./dataset-job.js";
import { DocumentWriter, type DocumentWriterState, jobStream } from "./document-writer.js";
import { fileFailure } from "./file-failure.js";
import { shuffled } from "./seeded-shuffle.js";
import { readTextArchive, type TextArchive } from "./text-archive.js";

/** A job whose files are archives of text files. Plain data: it is sent to a worker thread. */
export interface ArchiveJob extends DatasetJob {
  /** Where the job writes how far it has come, and looks for that when it begins. */
  readonly stateFile: string;
  /** Milliseconds between two writes of the state, at least; it is written between archives only. */
  readonly saveInterval: number;
  /** Leave broken archives out instead of failing. */
  readonly skipBroken: boolean;
}

/** An archive that was left out. */
export interface BrokenArchive {
  readonly name: string;
  readonly reason: string;
}

/** What a job says about its archives. */
export interface ArchiveOutcome {
  readonly broken: readonly BrokenArchive[];
  /** Files in folders of the archives and links, which were not read. */
  readonly unreadFiles: number;
  /** Archives that had been read before this run began. */
  readonly resumedArchives: number;
}

export interface ArchiveJobResult extends DatasetJobResult {
  readonly archives: ArchiveOutcome;
}

interface ArchiveJobState {
  readonly version: 1;
  /** Archives done, in the job's order, and the CRC-32C over their sizes. */
  readonly done: number;
  readonly sizesCrc: number;
  readonly broken: readonly BrokenArchive[];
  readonly unreadFiles: number;
  /** Position in the random stream that orders the texts. */
  readonly position: number;
  readonly writer: DocumentWriterState;
}

/**
 * Runs one job over archives: shuffles them, and the texts of each, and makes each text a document. Goes on from the state
 * that an interrupted run left; the record files are the same bytes either way.
 *
 * @throws ElectraError as `readTextArchive` and `DocumentWriter` do, and `ERR_ELECTRA_DATA_CHANGED` when archives that were
 *   already read have another size now
 */
export async function runArchiveJob(job: ArchiveJob, options: RunJobOptions = {}): Promise<ArchiveJobResult> {
  const archives = shuffled(job.files, jobStream(job, "files"));
  const saved = readState(job);
  const resumed = saved?.done ?? 0;
  let sizesCrc = 0;
  for (const archive of archives.slice(0, resumed)) {
    sizesCrc = continueSizesCrc(sizesCrc, archive.bytes);
  }
  if (saved !== undefined && sizesCrc !== saved.sizesCrc) {
    throw new ElectraError(
      "ERR_ELECTRA_DATA_CHANGED",
      `archives that the unfinished build has already read have another size now`,
      { hint: "begin anew with --restart", exitCode: 2 },
    );
  }
  const writer = new DocumentWriter(job, saved?.writer);
  const order = jobStream(job, "documents", saved?.position);
  const broken = [...(saved?.broken ?? [])];
  let unreadFiles = saved?.unreadFiles ?? 0;
  let lastSave = performance.now();
  let unsaved = false;
  let done = resumed;
  const save = (): void => {
    writeState(job.stateFile, {
      version: 1,
      done,
      sizesCrc,
      broken,
      unreadFiles,
      position: order.position,
      writer: writer.save(),
    });
    lastSave = performance.now();
    unsaved = false;
  };
  options.onProgress?.({ ...writer.counts });

  for (const archive of archives.slice(resumed)) {
    let content: TextArchive;
    try {
      options.signal?.throwIfAborted();
      content = await readTextArchive(archive.path, options);
    } catch (error) {
      if (!job.skipBroken || !(error instanceof ElectraError && error.code === "ERR_ELECTRA_ARCHIVE")) {
        // Nothing of this archive has been used yet.
        if (unsaved) {
          save();
        }
        throw error;
      }
      broken.push({ name: archive.name, reason: error.message });
      content = { texts: [], unread: 0 };
    }
    for (const { name, bytes } of shuffled(content.texts, order)) {
      writer.beginFile(`${archive.name}/${name}`);
      writer.lines(bytes);
      writer.endFile();
    }
    unreadFiles += content.unread;
    writer.counts.filesRead++;
    writer.counts.bytesRead += archive.bytes;
    sizesCrc = continueSizesCrc(sizesCrc, archive.bytes);
    done++;
    unsaved = true;
    if (performance.now() - lastSave >= job.saveInterval) {
      save();
    }
    options.onProgress?.({ ...writer.counts });
  }
  if (unsaved) {
    // Another job may still fail.
    save();
  }
  return {
    counts: writer.counts,
    ...writer.finish(),
    archives: { broken, unreadFiles, resumedArchives: resumed },
  };
}

/** The state that an earlier run left, if it and the record files are of use. */
function readState(job: ArchiveJob): ArchiveJobState | undefined {
  try {
    const state = JSON.parse(readFileSync(job.stateFile, "utf8")) as ArchiveJobState;
    return state.version === 1 && DocumentWriter.matches(job, state.writer) ? state : undefined;
  } catch {
    // None, or damaged: the job begins anew.
    return undefined;
  }
}

function writeState(path: string, state: ArchiveJobState): void {
  try {
    writeFileSync(`${path}.new`, JSON.stringify(state));
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw fileFailure(error, "cannot write", path);
  }
}

function continueSizesCrc(crc: number, size: number): number {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(size));
  return crc32c(bytes, 0, 8, crc);
}
