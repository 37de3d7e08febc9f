import type { AnswerPredictions, GoldAnswers } from "./answer-evaluation.js";
import { answerF1, exactAnswer, normalizeAnswer } from "./answer-text.js";
import type { MetricValues } from "./metric-values.js";
import { nothingToScore } from "./nothing-to-score.js";

/** Of one question, before any threshold: 0 to 1. */
export interface RawAnswerScore {
  readonly exact: number;
  readonly f1: number;
}

/** By question, in the order of the questions; without those that have no prediction. */
export type RawAnswerScores = ReadonlyMap<string, RawAnswerScore>;

/** How certain the model is that a question has no answer, by id; higher is more certain. */
export type NullOdds = Readonly<Record<string, number>>;

export interface SquadV2Options {
  /** Without them nothing is taken as unanswered but empty predictions, and no best threshold is sought. */
  readonly nullOdds?: NullOdds;
  /** A question with null odds above this is taken as unanswered. Default 1, as the official script. */
  readonly threshold?: number;
}

export interface SquadV2Evaluation {
  /**
   * `exact`, `f1` (percent), `total`; the same with `HasAns_` and `NoAns_` where there are such questions; with null odds
   * `best_exact`, `best_exact_thresh`, `best_f1`, `best_f1_thresh`: in the official script's order.
   */
  readonly values: MetricValues;
  /** Questions without a prediction, which are left out. */
  readonly unanswered: readonly string[];
}

/**
 * Exact match and F1 of each question: the best of its gold answers with a non-empty normal form, or of the empty one if
 * there is none.
 */
export function squadV2RawScores(
  questions: readonly GoldAnswers[],
  predictions: AnswerPredictions,
): RawAnswerScores {
  const scores = new Map<string, RawAnswerScore>();
  for (const { id, answers } of questions) {
    if (!Object.hasOwn(predictions, id)) continue;
    const usable = answers.filter((answer) => normalizeAnswer(answer) !== "");
    const gold = usable.length === 0 ? [""] : usable;
    const predicted = predictions[id]!;
    scores.set(id, {
      exact: Math.max(...gold.map((answer) => exactAnswer(answer, predicted))),
      f1: Math.max(...gold.map((answer) => answerF1(answer, predicted, 1))),
    });
  }
  return scores;
}

/**
 * The official evaluation of SQuAD 2.0. A question without gold answers has no answer.
 *
 * @throws ElectraError `ERR_ELECTRA_METRIC` if no question has a prediction
 */
export function evaluateSquadV2(
  questions: readonly GoldAnswers[],
  predictions: AnswerPredictions,
  { nullOdds, threshold = 1 }: SquadV2Options = {},
): SquadV2Evaluation {
  const raw = squadV2RawScores(questions, predictions);
  if (raw.size === 0) throw nothingToScore("questions with a prediction");
  const answerable = new Map(questions.map(({ id, answers }) => [id, answers.length > 0]));
  const scores = new Map(
    [...raw].map(([id, score]) => {
      if (!((nullOdds?.[id] ?? 0) > threshold)) return [id, score];
      const right = answerable.get(id) ? 0 : 1;
      return [id, { exact: right, f1: right }];
    }),
  );
  const values: (readonly [string, number])[] = summary("", [...scores.values()]);
  for (const [prefix, wanted] of [
    ["HasAns_", true],
    ["NoAns_", false],
  ] as const) {
    const part = [...scores].filter(([id]) => answerable.get(id) === wanted).map(([, score]) => score);
    if (part.length > 0) values.push(...summary(prefix, part));
  }
  if (nullOdds !== undefined) {
    for (const metric of ["exact", "f1"] as const) {
      const best = bestThreshold(raw, metric, predictions, answerable, nullOdds);
      values.push([`best_${metric}`, best.value], [`best_${metric}_thresh`, best.threshold]);
    }
  }
  return { values, unanswered: questions.map(({ id }) => id).filter((id) => !raw.has(id)) };
}

function summary(prefix: string, scores: readonly RawAnswerScore[]): [string, number][] {
  const percent = (metric: "exact" | "f1") =>
    (100 * scores.reduce((sum, score) => sum + score[metric], 0)) / scores.length;
  return [
    [`${prefix}exact`, percent("exact")],
    [`${prefix}f1`, percent("f1")],
    [`${prefix}total`, scores.length],
  ];
}

/** The threshold that would have been best: questions with null odds up to it keep their answer. */
function bestThreshold(
  raw: RawAnswerScores,
  metric: "exact" | "f1",
  predictions: AnswerPredictions,
  answerable: ReadonlyMap<string, boolean>,
  nullOdds: NullOdds,
): { readonly value: number; readonly threshold: number } {
  // To begin with, nothing is answered.
  let current = [...answerable.values()].filter((has) => !has).length;
  let best = current;
  let threshold = 0;
  for (const id of byRisingOdds(nullOdds)) {
    const score = raw.get(id);
    if (score === undefined) continue;
    if (answerable.get(id)) current += score[metric];
    else if (predictions[id] !== "") current -= 1;
    if (current > best) {
      best = current;
      threshold = nullOdds[id]!;
    }
  }
  return { value: (100 * best) / raw.size, threshold };
}

/**
 * Average precision in percent of giving an answer, as null odds rise: exact match or F1 of the answerable questions, or
 * (`oracle`) whether a question can be answered at all.
 *
 * @returns null if no question can be answered
 */
export function squadV2AveragePrecision(
  questions: readonly GoldAnswers[],
  predictions: AnswerPredictions,
  nullOdds: NullOdds,
  measure: "exact" | "f1" | "oracle",
): number | null {
  const raw = squadV2RawScores(questions, predictions);
  const answerable = new Set(questions.filter(({ answers }) => answers.length > 0).map(({ id }) => id));
  if (answerable.size === 0) return null;
  const order = byRisingOdds(nullOdds).filter((id) => raw.has(id));
  let right = 0;
  let recall = 0;
  let sum = 0;
  order.forEach((id, i) => {
    if (answerable.has(id)) right += measure === "oracle" ? 1 : raw.get(id)![measure];
    const next = order[i + 1];
    if (next !== undefined && nullOdds[next] === nullOdds[id]) return;
    sum += (right / (i + 1)) * (right / answerable.size - recall);
    recall = right / answerable.size;
  });
  return 100 * sum;
}

/** Ids by their odds; equal odds keep the order of the record. */
function byRisingOdds(nullOdds: NullOdds): string[] {
  return Object.keys(nullOdds).sort((a, b) => nullOdds[a]! - nullOdds[b]!);
}
