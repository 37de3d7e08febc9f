/**
 * Weighted mean over any number of batches: the sum of `weight · value` over the sum of weights, as `tf.metrics.mean`
 * keeps it. Sums are doubles; with no weight at all the mean is 0.
 */
export class StreamingMean {
  #total = 0;
  #weight = 0;

  add(value: number, weight = 1): void {
    this.#total += value * weight;
    this.#weight += weight;
  }

  /** Sum of the weights so far. */
  get weight(): number {
    return this.#weight;
  }

  get value(): number {
    return this.#weight === 0 ? 0 : this.#total / this.#weight;
  }
}
