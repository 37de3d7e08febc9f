import { JudgedLists, type ListWithTruth, type RerankMetric, refuseRerank } from "./judged-lists.js";

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

/** 0 and 61 weights from 0.001 to 1000, ten to a power of ten: means over the tokens want far greater ones than sums. */
export const defaultWeights: readonly number[] = [
  0,
  ...Array.from({ length: 61 }, (_, k) => Number((10 ** (k / 10 - 3)).toPrecision(3))),
];

/**
 * Picks the weight that ranks a development set best; of equally good ones the smallest. A weight picked on a set says
 * nothing about that set's own error: measure on another.
 *
 * @throws ElectraError `ERR_ELECTRA_RERANK_OPTION`
 */
export function tuneWeight(
  development: readonly ListWithTruth[],
  options: TuneWeightOptions = {},
): TunedWeight {
  const { metric = "word-error-rate", grid = defaultWeights, normalize = false } = options;
  const impossible = grid.find((weight) => !Number.isFinite(weight) || weight < 0);
  if (impossible !== undefined)
    throw refuseRerank(`the grid holds the weight ${impossible}`, "Weights are numbers of at least 0.");
  if (development.length === 0) throw refuseRerank("there are no development lists", "Give at least one.");
  const judged = new JudgedLists(development, metric);
  const trials = [...new Set([0, ...grid])]
    .sort((a, b) => a - b)
    .map((weight): WeightTrial => ({ weight, value: judged.value({ weight, normalize }) }));
  const best = trials.reduce((kept, trial) => (judged.isBetter(trial.value, kept.value) ? trial : kept));
  return { ...best, metric, baseline: trials[0]!.value, oracle: judged.oracle, trials };
}
