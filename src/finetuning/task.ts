import type { JsonValue } from "../checkpoint/training-state.js";
import type { MetricValues } from "../metrics/metric-values.js";
import type { BadRowSummary } from "./reading/bad-rows.js";

/**
 * A name of a part of a task's data. `train` and `dev` always exist; a name that contains `test` or `diagnostic` stands
 * for data without labels.
 */
export type Split = string;

/** What one example of a task needs at least. */
export interface TaskExample {
  /** Number of the example in its split, in the file's order. */
  readonly eid: number;
}

/** The network on top of the encoder that a task needs. `C` is the number of labels. */
export type TaskHead =
  /** A class for the text: logits [C]. */
  | { readonly kind: "classification"; readonly labels: readonly string[] }
  /** Any number of labels for the text: logits [C]. */
  | { readonly kind: "multi-label"; readonly labels: readonly string[] }
  /** A number for the text; the head learns `(value − minimum) / maximum`. */
  | { readonly kind: "regression"; readonly minimum: number; readonly maximum: number }
  /** A class for every word: logits [C] at the word's first piece. */
  | { readonly kind: "tagging"; readonly labels: readonly string[] }
  /** Start and end of an answer, and whether there is one. */
  | {
      readonly kind: "span";
      readonly jointPrediction: boolean;
      readonly answerableClassifier: boolean;
      readonly answerableUsesStartLogits: boolean;
      readonly answerableWeight: number;
      /** Starts, and ends of each, that prediction returns. */
      readonly beamSize: number;
    };

/** What a head is to learn from one row. */
export type TaskTarget =
  | { readonly kind: "classification"; readonly label: number }
  | { readonly kind: "multi-label"; readonly labels: Uint8Array }
  | { readonly kind: "regression"; readonly value: number }
  /** Labels of the words that are kept, and where in the row each has its first piece. */
  | { readonly kind: "tagging"; readonly labels: Int32Array; readonly positions: Int32Array }
  /** Positions in the row; 0 and 0, the place of `[CLS]`, where the row does not hold the answer. */
  | { readonly kind: "span"; readonly start: number; readonly end: number; readonly impossible: boolean };

/** One row of a batch, without its padding. */
export interface TaskFeatures {
  /** Of the example; for question answering 1000 · example + window. */
  readonly eid: number;
  readonly inputIds: Int32Array;
  /** 0 or 1 for every id. */
  readonly segmentIds: Uint8Array;
  readonly target: TaskTarget;
  /** Of question answering: which part of the context the row holds. */
  readonly window?: ContextWindow;
}

/** The part of a context that a row holds. */
export interface ContextWindow {
  /** `eid` of the question. */
  readonly question: number;
  /** Number of the window among those of the question. */
  readonly index: number;
  /** Position in the row of its first piece. */
  readonly firstPosition: number;
  /** Number of the context's word that each piece belongs to. */
  readonly wordOfPiece: Int32Array;
  /** 1 where no other window shows more on both sides of the piece. */
  readonly isMaxContext: Uint8Array;
}

/**
 * What a head gave for one row of an evaluation. Fields by kind of head: classification and multi-label `logits` [C];
 * regression `prediction`; tagging `wordLabels` [words], the most likely label of each kept word; spans either `beams` or
 * `startLogits` and `endLogits`, and `answerableLogit`. `loss` where the row has a label.
 */
export interface HeadOutput {
  readonly loss?: number;
  readonly logits?: ArrayLike<number>;
  readonly prediction?: number;
  readonly wordLabels?: ArrayLike<number>;
  readonly answerableLogit?: number;
  readonly startLogits?: ArrayLike<number>;
  readonly endLogits?: ArrayLike<number>;
  readonly beams?: AnswerBeams;
}

/** The most likely starts of an answer, best first, and for each the most likely ends. */
export interface AnswerBeams {
  /** [K] */
  readonly startLogProbs: ArrayLike<number>;
  readonly startIndex: ArrayLike<number>;
  /** [K · K], the ends of start i from K · i on. */
  readonly endLogProbs: ArrayLike<number>;
  readonly endIndex: ArrayLike<number>;
}

/** Collects the outputs of a split and scores them. */
export interface TaskScorer {
  add(features: TaskFeatures, output: HeadOutput): void;
  /** In the order in which they are reported. */
  results(): MetricValues;
  /** Why the results are none, such as one class for everything; undefined if they are some. */
  degenerate?(): string | undefined;
  /** Files to write beside the results, such as the answers to questions; by the hparam that says where. */
  files?(): Readonly<Partial<Record<"qa_eval_file" | "qa_preds_file" | "qa_na_file", unknown>>>;
}

/** What {@link Task.examples} gives. */
export interface ExampleSet<Example> {
  readonly examples: readonly Example[];
  /** Rows that were left out; only with `skip_bad_rows`, or where the task itself drops examples. */
  readonly skipped: BadRowSummary;
}

/** All that the rows of a split depend on, but for hparams, vocabulary and labels. */
export interface TaskOrigin {
  /** Files that are read. */
  readonly files: readonly string[];
  /** How they are read: plain data. */
  readonly description: JsonValue;
}

/**
 * A task: where its examples are, what a model sees of them, what it learns, and how it is scored. The tasks of the
 * reference and those described in JSON implement it; a program can do so too.
 *
 * @example
 * const shout: Task<TaskExample & { text: string; loud: number }> = {
 *   name: "shout",
 *   devSplits: ["dev"],
 *   testSplits: [],
 *   head: async () => ({ kind: "classification", labels: ["quiet", "loud"] }),
 *   examples: async (split) => ({ examples: await mine(split), skipped: noBadRows }),
 *   featurize: ({ eid, text, loud }) => [
 *     { eid, ...pairInput(tokenizer, 128, text), target: { kind: "classification", label: loud } },
 *   ],
 *   scorer: async () => new MyScorer(),
 * };
 */
export interface Task<Example extends TaskExample = TaskExample> {
  /** Part of the names of variables, files and results. Unique in a run. */
  readonly name: string;
  /** Splits that are evaluated, the first under the plain name of the task. */
  readonly devSplits: readonly Split[];
  /** Splits that are predicted without labels. */
  readonly testSplits: readonly Split[];
  /** May read the data, for labels that nobody has listed. */
  head(): Promise<TaskHead>;
  examples(split: Split): Promise<ExampleSet<Example>>;
  /**
   * Rows of one example: one, or one for each window of a long context. Must not depend on anything but the example, so
   * that worker threads can do it.
   */
  featurize(example: Example, training: boolean): readonly TaskFeatures[];
  /** Every example has exactly one row, so that training may begin before the last of them is made. Default false. */
  readonly oneRow?: boolean;
  /** What the rows of a split are made of. The rows of a task that does not say so are made anew in every run. */
  origin?(split: Split): Promise<TaskOrigin>;
  /** A new scorer of a split. */
  scorer(split: Split): Promise<TaskScorer>;
}
