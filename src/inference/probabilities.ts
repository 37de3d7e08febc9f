/** exp(x) over the sum of all exp(x), in float64. */
export function softmax(scores: ArrayLike<number>): number[] {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < scores.length; i++) highest = Math.max(highest, scores[i]!);
  const weights = Array.from(scores, (score) => Math.exp(score - highest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** 1 / (1 + exp(−x)) */
export function sigmoid(score: number): number {
  return 1 / (1 + Math.exp(-score));
}

/** Place of the largest value, the first of equals; −1 for none. */
export function largestAt(values: ArrayLike<number>): number {
  let best = values.length > 0 ? 0 : -1;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
