import { type PrecisionRecallF1, precisionRecallF1 } from "./classification-metrics.js";
import { conllSpans } from "./conll-spans.js";
import type { MetricValues } from "./metric-values.js";
import { nothingToScore } from "./nothing-to-score.js";
import { spansOfTags, type TagSpan } from "./tag-spans.js";

/** One scored sentence: label ids of its words, gold and predicted, and its loss (summed over its words). */
export interface TaggedSentence {
  readonly labels: ArrayLike<number>;
  readonly predictions: ArrayLike<number>;
  readonly loss: number;
}

export interface TaggingScoreOptions {
  /**
   * The reference adds each sentence's loss twice, so that the reported loss is twice the mean over words. Default true;
   * false counts it once.
   */
  readonly doubledLoss?: boolean;
}

export interface WordScoreOptions extends TaggingScoreOptions {
  /** Words with this gold label count as wrong, whatever was predicted (a label that stands for unknown tags). */
  readonly autoFailLabel?: number;
}

/**
 * The reference's results of span tagging: `precision`, `recall`, `f1` in percent over the spans of all sentences, all 0
 * if no span is right, and `loss` a word.
 *
 * @param tags the tag of every label id
 */
export function spanScores(
  sentences: readonly TaggedSentence[],
  tags: readonly string[],
  options: TaggingScoreOptions = {},
): MetricValues {
  const tagsOf = (ids: ArrayLike<number>) => Array.from(ids, (id) => tags[id]!);
  const { precision, recall, f1 } = compareSpans(
    sentences.map(({ labels, predictions }) => ({
      gold: spansOfTags(tagsOf(labels)),
      predicted: spansOfTags(tagsOf(predictions)),
    })),
  );
  return [
    ["precision", 100 * precision],
    ["recall", 100 * recall],
    ["f1", 100 * f1],
    ["loss", lossPerWord(sentences, options)],
  ];
}

/** The reference's results of word tagging: `accuracy` in percent, `loss` a word. */
export function wordScores(
  sentences: readonly TaggedSentence[],
  options: WordScoreOptions = {},
): MetricValues {
  let right = 0;
  for (const { labels, predictions } of sentences) {
    for (let i = 0; i < labels.length; i++) {
      if (labels[i] === predictions[i] && labels[i] !== options.autoFailLabel) right++;
    }
  }
  return [
    ["accuracy", (100 * right) / wordsIn(sentences)],
    ["loss", lossPerWord(sentences, options)],
  ];
}

/** Spans of a sentence: those that are true, and those that were found. */
export interface SpanPair {
  readonly gold: readonly TagSpan[];
  readonly predicted: readonly TagSpan[];
}

/** Precision, recall and F1 over the spans of all sentences, as sets; shares from 0 to 1. */
export function compareSpans(sentences: readonly SpanPair[]): PrecisionRecallF1 {
  let right = 0;
  let found = 0;
  let actual = 0;
  for (const { gold, predicted } of sentences) {
    const goldKeys = new Set(gold.map((span) => span.join(" ")));
    const foundKeys = new Set(predicted.map((span) => span.join(" ")));
    actual += goldKeys.size;
    found += foundKeys.size;
    for (const key of foundKeys) if (goldKeys.has(key)) right++;
  }
  return precisionRecallF1(right, found, actual);
}

/** A sentence's tags: those that are true, and those that were predicted. */
export interface TagPair {
  readonly gold: readonly string[];
  readonly predicted: readonly string[];
}

/** What `conlleval` prints: over all types, and for each type in alphabetical order. Shares from 0 to 1. */
export interface ConllEvaluation extends PrecisionRecallF1 {
  /** Share of the words whose whole tag is right. */
  readonly accuracy: number;
  readonly types: Readonly<Record<string, PrecisionRecallF1>>;
}

/** The CoNLL shared tasks' evaluation. @throws ElectraError `ERR_ELECTRA_METRIC` for no words */
export function evaluateConll(sentences: readonly TagPair[]): ConllEvaluation {
  const pairs = sentences.map(({ gold, predicted }) => ({
    gold: conllSpans(gold),
    predicted: conllSpans(predicted),
  }));
  const types = new Set(
    pairs.flatMap(({ gold, predicted }) => [...gold, ...predicted].map(([, , type]) => type)),
  );
  const only = (spans: readonly TagSpan[], wanted: string) => spans.filter(([, , type]) => type === wanted);
  const words = sentences.reduce((sum, { gold }) => sum + gold.length, 0);
  if (words === 0) throw nothingToScore("words");
  const right = sentences.reduce(
    (sum, { gold, predicted }) => sum + gold.filter((tag, i) => tag === predicted[i]).length,
    0,
  );
  return {
    accuracy: right / words,
    ...compareSpans(pairs),
    types: Object.fromEntries(
      [...types].sort().map((type) => [
        type,
        compareSpans(
          pairs.map(({ gold, predicted }) => ({
            gold: only(gold, type),
            predicted: only(predicted, type),
          })),
        ),
      ]),
    ),
  };
}

function wordsIn(sentences: readonly TaggedSentence[]): number {
  const words = sentences.reduce((sum, { labels }) => sum + labels.length, 0);
  if (words === 0) throw nothingToScore("words");
  return words;
}

function lossPerWord(
  sentences: readonly TaggedSentence[],
  { doubledLoss = true }: TaggingScoreOptions,
): number {
  const sum = sentences.reduce((total, { loss }) => total + loss, 0);
  return ((doubledLoss ? 2 : 1) * sum) / wordsIn(sentences);
}
