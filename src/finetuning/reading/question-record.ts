/** A question as a data file has it. */
export interface QuestionRecord {
  /** Names the question in predictions. */
  readonly id: string;
  readonly question: string;
  readonly context: string;
  /** The answer that training uses; `start` counts code points. */
  readonly answer?: { readonly text: string; readonly start: number };
  /** All right answers, for the evaluation. */
  readonly answers: readonly string[];
  /** Stated to have no answer. */
  readonly impossible: boolean;
  /** Where it stands in the file, for messages. */
  readonly place: string;
}
