import { type CorpusFile, readLineBlocks } from "./corpus-reader.js";
import type { DatasetCounts } from "./dataset-counts.js";
import { DocumentWriter, type DocumentWriterOptions, jobStream } from "./document-writer.js";
import { shuffled } from "./seeded-shuffle.js";
import type { ShardSummary } from "./shard-set.js";

/** One process's share of a dataset build. Plain data: it is sent to a worker thread. */
export interface DatasetJob extends DocumentWriterOptions {
  /** The job's files, sorted; it shuffles them itself. */
  readonly files: readonly CorpusFile[];
}

export interface DatasetJobResult {
  readonly counts: DatasetCounts;
  readonly shards: readonly ShardSummary[];
  readonly heldOutShards: readonly ShardSummary[];
}

/** Options of a job's run. */
export interface RunJobOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (counts: DatasetCounts) => void;
}

/**
 * Runs one job: shuffles its files, builds examples and writes them round robin to its shards. Deterministic:
 * the same job gives the same bytes.
 *
 * @throws ElectraError as `readLines` and `DocumentWriter` do
 */
export async function runDatasetJob(job: DatasetJob, options: RunJobOptions = {}): Promise<DatasetJobResult> {
  const writer = new DocumentWriter(job);
  const { counts } = writer;
  for (const file of shuffled(job.files, jobStream(job, "files"))) {
    const bytesBefore = counts.bytesRead;
    writer.beginFile(file.name);
    const blocks = readLineBlocks(file.path, {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onRead: (bytes) => {
        counts.bytesRead = bytesBefore + bytes;
      },
    });
    for await (const block of blocks) {
      writer.lines(block);
      options.onProgress?.({ ...counts });
    }
    writer.endFile();
    counts.filesRead++;
    counts.bytesRead = bytesBefore + file.bytes;
    options.onProgress?.({ ...counts });
  }
  return { counts, ...writer.finish() };
}
