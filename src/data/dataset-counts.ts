/** What a job counted. */
export interface DatasetCounts {
  /** Input bytes on the disk and files read so far. */
  readonly bytesRead: number;
  readonly filesRead: number;
  readonly documents: number;
  readonly heldOutDocuments: number;
  /** Non-empty lines, or sentences when they are split. */
  readonly sentences: number;
  readonly examples: number;
  readonly heldOutExamples: number;
  /** WordPiece tokens of the text, before anything is thrown away. */
  readonly tokens: number;
  /** Tokens that did not fit into their example; a sixth of good text is usual, as the line that fills an example is cut. */
  readonly discardedTokens: number;
  /** Tokens behind the first `maxSeqLength − 2` of their line: no example could ever have held them. */
  readonly overlongTokens: number;
  /** Tokens that are [UNK]. */
  readonly unknownTokens: number;
}

/** Counts of a job that has not begun, to be counted up. */
export function emptyCounts(): { -readonly [Key in keyof DatasetCounts]: number } {
  return {
    bytesRead: 0,
    filesRead: 0,
    documents: 0,
    heldOutDocuments: 0,
    sentences: 0,
    examples: 0,
    heldOutExamples: 0,
    tokens: 0,
    discardedTokens: 0,
    overlongTokens: 0,
    unknownTokens: 0,
  };
}

/** What several jobs counted together. */
export function sumCounts(all: readonly DatasetCounts[]): DatasetCounts {
  const sum = emptyCounts();
  for (const counts of all) {
    for (const key of Object.keys(sum) as (keyof DatasetCounts)[]) {
      sum[key] += counts[key];
    }
  }
  return sum;
}
