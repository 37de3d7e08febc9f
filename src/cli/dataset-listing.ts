import type { ListingRow } from "./output.js";

/** What every builder of records counts. */
interface DatasetCounts {
  readonly documents: number;
  readonly sentences: number;
  readonly examples: number;
  readonly heldOutExamples: number;
  readonly heldOutDocuments: number;
  readonly tokens: number;
  readonly unknownRate: number;
  readonly discardedRate: number;
  readonly seconds: number;
}

/** The rows that the reports of all builders share. */
export function datasetRows(
  report: DatasetCounts,
  options: { readonly maxSeqLength: number; readonly heldOutFraction: number },
): ListingRow[] {
  const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
  const heldOut: ListingRow[] =
    options.heldOutFraction > 0
      ? [["held out", `${report.heldOutExamples} examples of ${report.heldOutDocuments} documents`]]
      : [];
  return [
    ["documents", `${report.documents}, ${report.sentences} sentences`],
    ["examples", `${report.examples} of ${options.maxSeqLength} tokens at most`],
    ...heldOut,
    [
      "tokens",
      `${report.tokens}, ${percent(report.unknownRate)} [UNK], ${percent(report.discardedRate)} discarded`,
    ],
    ["time", `${report.seconds.toFixed(1)} s`],
  ];
}
