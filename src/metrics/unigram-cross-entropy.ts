/** How often each token id occurs; index = id. */
export type TokenCounts = ArrayLike<number>;

export interface UnigramCrossEntropyOptions {
  /** Counts that the distribution is estimated from. */
  readonly trainCounts: TokenCounts;
  /** Counts of the text that is predicted. Default: the same, which gives the entropy. */
  readonly counts?: TokenCounts;
  /** Added to every training count, so that unseen tokens keep a probability. Default 0 for the entropy, else 1. */
  readonly smoothing?: number;
}

/**
 * Mean loss in nats per token of predicting every token from the frequencies of a training text alone: the bar that a
 * language model has to pass. 0 for no tokens.
 */
export function unigramCrossEntropy(options: UnigramCrossEntropyOptions): number {
  const { trainCounts, counts = trainCounts } = options;
  const smoothing = options.smoothing ?? (counts === trainCounts ? 0 : 1);
  const size = Math.max(trainCounts.length, counts.length);
  let trainTotal = 0;
  for (let id = 0; id < size; id++) trainTotal += (trainCounts[id] ?? 0) + smoothing;
  let total = 0;
  let loss = 0;
  for (let id = 0; id < size; id++) {
    const count = counts[id] ?? 0;
    if (count === 0) continue;
    total += count;
    loss -= count * Math.log(((trainCounts[id] ?? 0) + smoothing) / trainTotal);
  }
  return total === 0 ? 0 : loss / total;
}
