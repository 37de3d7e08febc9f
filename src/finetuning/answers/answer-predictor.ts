import type { Tokenizer } from "../../tokenization/tokenizer.js";
import { collapsed, type QuestionExample } from "../features/question-example.js";
import type { HeadOutput, TaskFeatures } from "../task.js";
import { type AnswerCandidate, answerCandidates, type CandidateLimits } from "./answer-candidates.js";
import { finalAnswerRange, type TextRange } from "./final-text.js";

/** An answer with its scores: log-probabilities with joint prediction, else logits. */
export interface ScoredAnswer {
  readonly text: string;
  readonly startScore: number;
  readonly endScore: number;
  /** Words of the context, both included; absent where nothing could be found. */
  readonly words?: readonly [first: number, last: number];
  /** Where the text stands in those words, joined by single spaces. */
  readonly range?: TextRange;
}

/** What a model says about a question. */
export interface AnswerPrediction {
  /** Distinct texts, best first; at least one. */
  readonly answers: readonly ScoredAnswer[];
  /** The smallest of the windows' scores for "no answer", a million without windows. */
  readonly nullScore: number;
}

/** What is known of one window of a question. */
export interface AnsweredWindow {
  readonly row: TaskFeatures;
  readonly output: HeadOutput;
}

export interface AnswerPredictorOptions extends CandidateLimits {
  readonly tokenizer: Tokenizer;
  readonly answerableClassifier: boolean;
}

/** Where a question has no window at all. */
const NO_NULL_SCORE = 1_000_000;

/** Turns the outputs for the windows of a question into answers. */
export function predictAnswers(
  question: Pick<QuestionExample, "words">,
  windows: readonly AnsweredWindow[],
  options: AnswerPredictorOptions,
): AnswerPrediction {
  const candidates = windows.flatMap(({ row, output }) => answerCandidates(row, output, options));
  const score = ({ startScore, endScore }: AnswerCandidate) => startScore + endScore;
  candidates.sort((a, b) => score(b) - score(a));
  const answers: ScoredAnswer[] = [];
  const seen = new Set<string>();
  for (const candidate of candidates) {
    if (answers.length >= options.nBestSize) break;
    const answer = answerOf(candidate, question.words, options.tokenizer);
    if (seen.has(answer.text)) continue;
    seen.add(answer.text);
    answers.push(answer);
  }
  // The word that the reference gives where it finds nothing.
  if (answers.length === 0) answers.push({ text: "empty", startScore: 0, endScore: 0 });
  const nullScore = windows.reduce(
    (least, { output }) => Math.min(least, nullScoreOf(output, options.answerableClassifier)),
    NO_NULL_SCORE,
  );
  return { answers, nullScore };
}

function nullScoreOf(output: HeadOutput, answerableClassifier: boolean): number {
  if (answerableClassifier) return output.answerableLogit ?? 0;
  return (output.startLogits?.[0] ?? 0) + (output.endLogits?.[0] ?? 0);
}

function answerOf(candidate: AnswerCandidate, words: readonly string[], tokenizer: Tokenizer): ScoredAnswer {
  const { row, start, end, startScore, endScore } = candidate;
  const { firstPosition, wordOfPiece } = row.window!;
  const pieces = Array.from(row.inputIds.subarray(start, end + 1), (id) => tokenizer.vocabulary.tokenOf(id));
  const predicted = collapsed(pieces.join(" ").replaceAll(" ##", "").replaceAll("##", ""));
  const first = wordOfPiece[start - firstPosition]!;
  const last = wordOfPiece[end - firstPosition]!;
  const original = words.slice(first, last + 1).join(" ");
  const range = finalAnswerRange(predicted, original, tokenizer.basic);
  return { text: original.slice(...range), startScore, endScore, words: [first, last], range };
}
