/** A hypothesis of a recogniser, a translator or the like. */
export interface NBestEntry {
  readonly hypothesis: string;
  /** What its maker gave it. Higher is better: a log-probability, not a cost. */
  readonly score: number;
  /** Third field of the form with bars, where there is one: the maker's features, kept as they are. */
  readonly features?: string;
  /** Fields behind the score in the form with bars, kept as they are. */
  readonly rest?: readonly string[];
  /** The whole object of the JSONL form: fields of others are kept. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** All hypotheses for one utterance or sentence, in the order of the file. */
export interface NBestList {
  readonly id: string;
  readonly entries: readonly NBestEntry[];
}
