/** Natural logarithm of the softmax at `id`, in double precision. */
export function logProbability(logits: ArrayLike<number>, id: number): number {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) highest = Math.max(highest, logits[i]!);
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i]! - highest);
  return logits[id]! - highest - Math.log(total);
}
