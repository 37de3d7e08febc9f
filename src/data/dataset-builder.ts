import { listCorpus } from "./corpus-reader.js";
import { produceDataset } from "./dataset-production.js";
import type { DatasetProgress, ProducedDataset } from "./dataset-report.js";
import { completeSettings, type DatasetOptions } from "./dataset-settings.js";

/** Options of {@link buildDataset}. Names and defaults are those of the reference's command line. */
export interface BuildDatasetOptions extends DatasetOptions {
  /** Folder of `.txt` and `.gz` files, one sentence a line; sub-folders are not walked. */
  readonly corpusDir: string;
  readonly vocabFile: string;
  /** Made when missing; must be empty or a dataset made by this function. */
  readonly outputDir: string;
  /** A blank line ends a document (default true); otherwise blank lines are skipped and a file is a document. */
  readonly blanksSeparateDocs?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DatasetProgress) => void;
}

/** The result of a build. */
export interface DatasetReport extends ProducedDataset {
  /** Files in the corpus folder that are no text files. */
  readonly skippedFiles: readonly string[];
}

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
  const settings = completeSettings(options);
  options.signal?.throwIfAborted();
  const { files, skipped } = await listCorpus(options.corpusDir);
  const { corpusDir, vocabFile, outputDir, signal, onProgress } = options;
  const { dataset } = await produceDataset({
    corpusDir,
    vocabFile,
    outputDir,
    files,
    settings,
    signal,
    onProgress,
  });
  const warnings = [...dataset.warnings];
  if (skipped.length > 0) {
    warnings.push({
      message: `not read, because their names end in neither .txt nor .gz: ${skipped.slice(0, 5).join(", ")}${skipped.length > 5 ? ` and ${skipped.length - 5} more` : ""}`,
      hint: "rename text files to *.txt; sub-folders are not walked",
    });
  }
  return { ...dataset, warnings, skippedFiles: skipped };
}
