import { rankAuc, type ScoredLabels } from "./rank-auc.js";
import { SeededRandom } from "./seeded-random.js";

export interface BootstrapAucOptions extends ScoredLabels {
  /**
   * Group of every score, e.g. its example. Whole groups are then resampled: tokens of one example resemble each other, and
   * resampling them one by one would make the interval too narrow. Default: every score is its own group.
   */
  readonly groups?: ArrayLike<number>;
  /** Default 1000. */
  readonly resamples?: number;
  /** Share of the resampled areas inside the interval. Default 0.95. */
  readonly confidence?: number;
  /** Equal seeds give equal intervals. Default 42. */
  readonly seed?: number;
}

export interface BootstrapAuc {
  readonly auc: number;
  readonly lower: number;
  readonly upper: number;
  readonly positives: number;
  readonly negatives: number;
}

/**
 * Exact area under the ROC curve with a percentile bootstrap interval.
 *
 * @returns null when a class is empty, or a score is not a number
 */
export function bootstrapAuc(options: BootstrapAucOptions): BootstrapAuc | null {
  const { scores, labels, resamples = 1000, confidence = 0.95, seed = 42 } = options;
  const auc = rankAuc(options);
  if (auc === null) return null;
  const sorted = sortByScore(scores, labels, options.groups);
  const random = new SeededRandom(seed);
  const weights = new Float64Array(sorted.groupCount);
  const areas = new Float64Array(resamples);
  let drawn = 0;
  for (let i = 0; i < resamples; i++) {
    weights.fill(0);
    for (let k = 0; k < sorted.groupCount; k++) {
      const group = random.below(sorted.groupCount);
      weights[group] = (weights[group] ?? 0) + 1;
    }
    const area = weightedAuc(sorted, weights);
    // A resample of a tiny set may miss a class; it says nothing about the area.
    if (area !== null) areas[drawn++] = area;
  }
  const kept = areas.subarray(0, drawn).sort();
  const tail = (1 - confidence) / 2;
  const positives = Array.prototype.reduce.call(
    labels,
    (sum, label) => Number(sum) + (label ? 1 : 0),
    0,
  ) as number;
  return {
    auc,
    lower: quantile(kept, tail) ?? auc,
    upper: quantile(kept, 1 - tail) ?? auc,
    positives,
    negatives: scores.length - positives,
  };
}

interface SortedScores {
  readonly labels: Uint8Array;
  readonly groups: Uint32Array;
  /** 1 where the next score is greater: the end of a run of ties. */
  readonly endsTie: Uint8Array;
  readonly groupCount: number;
}

function sortByScore(
  scores: ArrayLike<number>,
  labels: ArrayLike<number>,
  groups: ArrayLike<number> | undefined,
): SortedScores {
  const count = scores.length;
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  order.sort((a, b) => (scores[a] ?? 0) - (scores[b] ?? 0));
  const numbers = new Map<number, number>();
  const numberOf = (i: number): number => {
    if (groups === undefined) return i;
    const name = groups[i] ?? 0;
    const known = numbers.get(name) ?? numbers.size;
    numbers.set(name, known);
    return known;
  };
  const sorted = {
    labels: new Uint8Array(count),
    groups: new Uint32Array(count),
    endsTie: new Uint8Array(count),
  };
  for (let k = 0; k < count; k++) {
    const i = order[k] ?? 0;
    sorted.labels[k] = labels[i] ? 1 : 0;
    sorted.groups[k] = numberOf(i);
    sorted.endsTie[k] = k + 1 === count || scores[order[k + 1] ?? 0] !== scores[i] ? 1 : 0;
  }
  return { ...sorted, groupCount: groups === undefined ? count : numbers.size };
}

/** One pass over the sorted scores, each counted as often as its group was drawn. */
function weightedAuc(sorted: SortedScores, weights: Float64Array): number | null {
  const { labels, groups, endsTie } = sorted;
  let positives = 0;
  let negatives = 0;
  let wins = 0;
  let tiedPositives = 0;
  let tiedNegatives = 0;
  for (let k = 0; k < labels.length; k++) {
    const weight = weights[groups[k] ?? 0] ?? 0;
    if (labels[k] === 1) tiedPositives += weight;
    else tiedNegatives += weight;
    if (endsTie[k] === 1) {
      wins += tiedPositives * (negatives + tiedNegatives / 2);
      positives += tiedPositives;
      negatives += tiedNegatives;
      tiedPositives = 0;
      tiedNegatives = 0;
    }
  }
  return positives === 0 || negatives === 0 ? null : wins / positives / negatives;
}

/** Quantile of sorted values, interpolated linearly. */
function quantile(sorted: Float64Array, share: number): number | undefined {
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)];
  const high = sorted[Math.ceil(at)];
  return low === undefined || high === undefined ? undefined : low + (high - low) * (at - Math.floor(at));
}
