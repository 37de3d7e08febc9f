import { ElectraError } from "../errors.js";
import type { Truth } from "./development-truth.js";
import { combinedScore, type RerankOptions, type ScoredList } from "./rerank.js";
import { wordErrors, wordsOf } from "./word-errors.js";

/**
 * `word-error-rate`: word errors of the first hypotheses per word of the references, needs references.
 * `oracle-accuracy`: share of the lists whose first hypothesis is the chosen one or, with a reference, one of those with
 * the fewest word errors.
 */
export type RerankMetric = "word-error-rate" | "oracle-accuracy";

/** A list of the development set, and what is right for it. */
export interface DevelopmentList {
  readonly list: ScoredList;
  readonly truth: Truth;
}

export interface TuneWeightOptions {
  /** Default `word-error-rate`. */
  readonly metric?: RerankMetric;
  /** Weights to try. Default {@link defaultWeights}; 0 is tried in any case. */
  readonly grid?: readonly number[];
  /** As in {@link RerankOptions}. Default false. */
  readonly normalize?: boolean;
}

export interface WeightTrial {
  readonly weight: number;
  readonly value: number;
}

export interface TunedWeight extends WeightTrial {
  readonly metric: RerankMetric;
  /** At weight 0: the lists' own order. */
  readonly baseline: number;
  /** The best that any order of the lists could reach. */
  readonly oracle: number;
  /** All weights tried, rising. */
  readonly trials: readonly WeightTrial[];
}

/** 0 and 41 weights from 0.001 to 10, ten to a power of ten. */
export const defaultWeights: readonly number[] = [
  0,
  ...Array.from({ length: 41 }, (_, k) => Number((10 ** (k / 10 - 3)).toPrecision(3))),
];

/**
 * Picks the weight that ranks a development set best; of equally good ones the smallest. A weight picked on a set says
 * nothing about that set's own error: measure on another.
 *
 * @throws ElectraError `ERR_ELECTRA_RERANK_OPTION`
 */
export function tuneWeight(
  development: readonly DevelopmentList[],
  options: TuneWeightOptions = {},
): TunedWeight {
  const { metric = "word-error-rate", grid = defaultWeights, normalize = false } = options;
  const impossible = grid.find((weight) => !Number.isFinite(weight) || weight < 0);
  if (impossible !== undefined)
    throw refuse(`the grid holds the weight ${impossible}`, "Weights are numbers of at least 0.");
  if (development.length === 0) throw refuse("there are no development lists", "Give at least one.");
  const judged = development.map(({ list, truth }) => ({ list, values: judge(list, truth, metric) }));
  const denominator = metric === "word-error-rate" ? countWords(development) : development.length;
  const value = (pick: (list: ScoredList, values: readonly number[]) => number): number =>
    judged.reduce((sum, { list, values }) => sum + pick(list, values), 0) / denominator;
  const trials = [...new Set([0, ...grid])]
    .sort((a, b) => a - b)
    .map(
      (weight): WeightTrial => ({
        weight,
        value: value((list, values) => values[firstOf(list, { weight, normalize })]!),
      }),
    );
  const better = (a: number, b: number): boolean => (metric === "word-error-rate" ? a < b : a > b);
  const best = trials.reduce((kept, trial) => (better(trial.value, kept.value) ? trial : kept));
  const oracle = value((_, values) => values.reduce((kept, each) => (better(each, kept) ? each : kept)));
  return { ...best, metric, baseline: trials[0]!.value, oracle, trials };
}

/** Place of the hypothesis that re-ranking puts first. */
function firstOf({ entries }: ScoredList, options: RerankOptions): number {
  const totals = entries.map((entry) => combinedScore(entry, options));
  return totals.reduce((kept, total, place) => (total > totals[kept]! ? place : kept), 0);
}

/** What each hypothesis is worth: its word errors, or 1 where it is right and 0 where not. */
function judge({ id, entries }: ScoredList, truth: Truth, metric: RerankMetric): readonly number[] {
  if ("chosen" in truth) {
    if (metric === "word-error-rate") {
      throw refuse(
        `the list ${JSON.stringify(id)} has no reference, only a chosen hypothesis`,
        "Give references, or choose the metric oracle-accuracy.",
      );
    }
    return entries.map((_, place) => (place === truth.chosen ? 1 : 0));
  }
  const errors = entries.map(({ hypothesis }) => wordErrors(truth.reference, hypothesis));
  if (metric === "word-error-rate") return errors;
  const fewest = Math.min(...errors);
  return errors.map((each) => (each === fewest ? 1 : 0));
}

function countWords(development: readonly DevelopmentList[]): number {
  const words = development.reduce(
    (sum, { truth }) => sum + ("reference" in truth ? wordsOf(truth.reference).length : 0),
    0,
  );
  if (words === 0)
    throw refuse("the references have no words", "A word error rate needs references with words.");
  return words;
}

function refuse(message: string, hint: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_RERANK_OPTION", message, { hint, exitCode: 2 });
}
