/**
 * Spearman's rank correlation of two lists of equal length, equal values having the mean of their ranks.
 *
 * @returns null for fewer than two values, where all values of a list are equal, and where one is not a number
 */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number | null {
  if (a.length !== b.length) throw new RangeError(`${a.length} values beside ${b.length}`);
  const [first, second] = [ranksOf(a), ranksOf(b)];
  if (first === undefined || second === undefined) return null;
  const mean = (a.length - 1) / 2;
  let product = 0;
  let squaresA = 0;
  let squaresB = 0;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [first[i]! - mean, second[i]! - mean];
    product += x * y;
    squaresA += x * x;
    squaresB += y * y;
  }
  const scale = Math.sqrt(squaresA * squaresB);
  return scale === 0 ? null : product / scale;
}

/** Ranks from 0; undefined where a value is not a number. */
function ranksOf(values: ArrayLike<number>): Float64Array | undefined {
  const order = Array.from({ length: values.length }, (_, i) => i);
  if (order.some((i) => Number.isNaN(values[i]))) return undefined;
  order.sort((i, j) => (values[i]! < values[j]! ? -1 : values[i]! > values[j]! ? 1 : 0));
  const ranks = new Float64Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let k = start; k < end; k++) ranks[order[k]!] = (start + end - 1) / 2;
    start = end;
  }
  return ranks;
}
