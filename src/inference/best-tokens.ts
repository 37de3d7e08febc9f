/** The likeliest tokens after a softmax over all that are not banned; equal ones in the order of their ids. */
export function bestTokens(
  logits: ArrayLike<number>,
  count: number,
  banned: ReadonlySet<number> = new Set(),
): { id: number; probability: number }[] {
  let highest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) if (!banned.has(id)) highest = Math.max(highest, logits[id]!);
  let total = 0;
  const candidates: { id: number; probability: number }[] = [];
  for (let id = 0; id < logits.length; id++) {
    if (banned.has(id)) continue;
    const weight = Math.exp(logits[id]! - highest);
    total += weight;
    candidates.push({ id, probability: weight });
  }
  candidates.sort((a, b) => b.probability - a.probability || a.id - b.id);
  return candidates.slice(0, count).map(({ id, probability }) => ({ id, probability: probability / total }));
}
