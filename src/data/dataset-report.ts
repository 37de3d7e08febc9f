import type { DataFingerprint } from "./data-fingerprint.js";
import type { DatasetCounts } from "./dataset-counts.js";
import type { DatasetSettings } from "./dataset-settings.js";

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

/** What was built. */
export interface ProducedDataset extends DatasetCounts {
  readonly outputDir: string;
  /** Share of [UNK] among the tokens. */
  readonly unknownRate: number;
  /** Share of the tokens that did not fit into their example. */
  readonly discardedRate: number;
  readonly seconds: number;
  readonly fingerprint: DataFingerprint;
  readonly heldOutFingerprint: DataFingerprint | undefined;
  readonly warnings: readonly DatasetWarning[];
}

/** Above these shares of the tokens a warning is due. */
const tolerableOverlong = 0.05;
const tolerableUnknowns = 0.05;

/** What in the counts of a build deserves a warning. */
export function findCountWarnings(
  counts: DatasetCounts,
  settings: DatasetSettings,
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
  return warnings;
}
