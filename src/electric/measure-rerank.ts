import { SeededRandom } from "../metrics/seeded-random.js";
import { JudgedLists, type ListWithTruth, type RerankMetric, refuseRerank } from "./judged-lists.js";
import type { RerankOptions } from "./rerank.js";

export interface MeasureRerankOptions extends RerankOptions {
  /** Default `word-error-rate`. */
  readonly metric?: RerankMetric;
  /** Of the bootstrap. Default 1000. */
  readonly resamples?: number;
  /** Default 42. */
  readonly seed?: number;
}

/** What a weight does to lists whose truth is known. */
export interface RerankMeasure {
  readonly metric: RerankMetric;
  readonly lists: number;
  readonly weight: number;
  readonly value: number;
  /** At weight 0: the lists' own order. */
  readonly baseline: number;
  /** The best that any order of the lists could reach. */
  readonly oracle: number;
  /** By how much the value is better than the baseline; negative where it is worse. */
  readonly gain: number;
  /** 95 % interval of the gain, lists being drawn anew: above 0, the gain is more than luck with these lists. */
  readonly gainLower: number;
  readonly gainUpper: number;
  /** Lists for which the first hypothesis becomes a better one, and a worse one. */
  readonly better: number;
  readonly worse: number;
}

/**
 * Measures a weight on lists that it was not picked on.
 *
 * @throws ElectraError `ERR_ELECTRA_RERANK_OPTION`
 */
export function measureRerank(lists: readonly ListWithTruth[], options: MeasureRerankOptions): RerankMeasure {
  const { metric = "word-error-rate", weight, normalize = false, resamples = 1000, seed = 42 } = options;
  if (lists.length === 0) throw refuseRerank("there are no lists to measure", "Give at least one.");
  const judged = new JudgedLists(lists, metric);
  const before = judged.perList({ weight: 0, normalize });
  const after = judged.perList({ weight, normalize });
  const sign = metric === "word-error-rate" ? 1 : -1;
  const gains = before.map((value, index) => sign * (value - after[index]!));
  const random = new SeededRandom(seed);
  const drawn = Array.from({ length: resamples }, () => {
    let gain = 0;
    let size = 0;
    for (let k = 0; k < gains.length; k++) {
      const index = random.below(gains.length);
      gain += gains[index]!;
      size += judged.sizes[index]!;
    }
    return size === 0 ? 0 : gain / size;
  }).sort((a, b) => a - b);
  const quantile = (share: number): number => drawn[Math.round(share * (drawn.length - 1))] ?? Number.NaN;
  const value = judged.value({ weight, normalize });
  const baseline = judged.value({ weight: 0, normalize });
  return {
    metric,
    lists: lists.length,
    weight,
    value,
    baseline,
    oracle: judged.oracle,
    gain: sign * (baseline - value),
    gainLower: quantile(0.025),
    gainUpper: quantile(0.975),
    better: gains.filter((gain) => gain > 0).length,
    worse: gains.filter((gain) => gain < 0).length,
  };
}
