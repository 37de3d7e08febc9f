/** Scores with their classes; both arrays have the same length. */
export interface ScoredLabels {
  readonly scores: ArrayLike<number>;
  /** 1: positive, 0: negative. */
  readonly labels: ArrayLike<number>;
}

/**
 * Exact area under the ROC curve: the chance that a positive scores higher than a negative, ties counting half
 * (the Mann–Whitney statistic).
 *
 * @returns null when a class is empty, or a score is not a number
 */
export function rankAuc({ scores, labels }: ScoredLabels): number | null {
  const positives = scoresOf(scores, labels, 1);
  const negatives = scoresOf(scores, labels, 0);
  if (positives.length === 0 || negatives.length === 0) return null;
  // Typed arrays sort NaN to the end.
  if (Number.isNaN(positives.at(-1)) || Number.isNaN(negatives.at(-1))) return null;
  let below = 0;
  let notAbove = 0;
  let wins = 0;
  for (const score of positives) {
    while (below < negatives.length && (negatives[below] ?? 0) < score) below++;
    while (notAbove < negatives.length && (negatives[notAbove] ?? 0) <= score) notAbove++;
    wins += (below + notAbove) / 2;
  }
  return wins / positives.length / negatives.length;
}

function scoresOf(scores: ArrayLike<number>, labels: ArrayLike<number>, label: 0 | 1): Float64Array {
  const selected = new Float64Array(scores.length);
  let count = 0;
  for (let i = 0; i < scores.length; i++) {
    if ((labels[i] ? 1 : 0) === label) selected[count++] = scores[i] ?? Number.NaN;
  }
  return selected.subarray(0, count).sort();
}
