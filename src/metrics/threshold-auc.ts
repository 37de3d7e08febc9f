const thresholdCount = 200;
const epsilon = 1e-7;
/** Added to counts, so that an empty class gives a number. */
const countEpsilon = 1e-6;

/** float32 as in the reference: −1e-7, i / 199 for i = 1 … 198, 1 + 1e-7. */
const thresholds = Float32Array.from({ length: thresholdCount }, (_, i) => {
  if (i === 0) return -epsilon;
  return i === thresholdCount - 1 ? 1 + epsilon : i / (thresholdCount - 1);
});

/**
 * Area under the ROC curve as `tf.metrics.auc` computes it: counts at 200 thresholds, summed over all batches, joined by
 * trapezoids. Coarser than the exact area (`rankAuc`); kept because the reference reports this one.
 */
export class ThresholdAuc {
  /** Scores by the number of thresholds that they exceed. */
  readonly #positives = new Float64Array(thresholdCount + 1);
  readonly #negatives = new Float64Array(thresholdCount + 1);

  /**
   * @param score in [0, 1], taken as float32
   * @param label 1 or true: positive
   * @param count how many such scores
   */
  add(score: number, label: number | boolean, count = 1): void {
    const counts = label ? this.#positives : this.#negatives;
    const bin = thresholdsBelow(Math.fround(score));
    counts[bin] = (counts[bin] ?? 0) + count;
  }

  get value(): number {
    const positives = this.#positives.reduce((sum, count) => sum + count, 0);
    const negatives = this.#negatives.reduce((sum, count) => sum + count, 0);
    let truePositives = 0;
    let falsePositives = 0;
    let area = 0;
    let recall = 0;
    let falseRate = 0;
    // From the highest threshold down, so that the counts above it only grow.
    for (let i = thresholdCount - 1; i >= 0; i--) {
      truePositives += this.#positives[i + 1] ?? 0;
      falsePositives += this.#negatives[i + 1] ?? 0;
      const nextRecall = (truePositives + countEpsilon) / (positives + countEpsilon);
      const nextFalseRate = falsePositives / (negatives + countEpsilon);
      if (i < thresholdCount - 1) area += ((nextFalseRate - falseRate) * (nextRecall + recall)) / 2;
      recall = nextRecall;
      falseRate = nextFalseRate;
    }
    return area;
  }
}

/** Number of thresholds strictly below the score. */
function thresholdsBelow(score: number): number {
  let count = Math.max(0, Math.min(thresholdCount, Math.floor(score * (thresholdCount - 1)) + 1));
  if (Number.isNaN(count)) return 0;
  while (count > 0 && (thresholds[count - 1] ?? 0) >= score) count--;
  while (count < thresholdCount && (thresholds[count] ?? 0) < score) count++;
  return count;
}
