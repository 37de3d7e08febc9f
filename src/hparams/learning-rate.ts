/** Polynomial decay to zero, multiplied by (not preceded by) a linear warm-up. */
export interface LearningRateSchedule {
  /** Peak rate before the decay factor. */
  readonly learningRate: number;
  /** Step at which the rate reaches 0 and stays there. */
  readonly numTrainSteps: number;
  readonly numWarmupSteps: number;
  /** Warm-up as a share of `numTrainSteps`; the longer of the two warm-ups holds. Default 0. */
  readonly warmupProportion?: number;
  /** Exponent of the decay. Default 1, linear. */
  readonly decayPower?: number;
}

/** Length of the warm-up in steps; not rounded, so it may be fractional. */
export function effectiveWarmupSteps(schedule: LearningRateSchedule): number {
  return Math.max(schedule.numTrainSteps * (schedule.warmupProportion ?? 0), schedule.numWarmupSteps);
}

/**
 * Rate of the update that starts at `step` (0 is the first update):
 * `rate · (1 − min(step, T) / T)^power · min(1, step / warmup)`.
 *
 * Every operation is rounded to float32 as in the reference's graph, and divisions by constants are products with
 * the rounded reciprocal, which TensorFlow's graph optimizer makes of them: near the end of a long run `1 − step / T`
 * loses most of its digits, and a double would give another rate. With a warm-up the rate of step 0 is 0. Without one
 * the reference divides 0 by 0 at step 0; here the warm-up factor is then 1.
 *
 * @returns a float32 value
 */
export function learningRateAt(schedule: LearningRateSchedule, step: number): number {
  const f = Math.fround;
  const total = f(schedule.numTrainSteps);
  const progress = f(Math.min(f(step), total) * f(1 / total));
  const decay = f(f(1 - progress) ** (schedule.decayPower ?? 1));
  const rate = f(f(schedule.learningRate) * decay);
  const warmup = f(effectiveWarmupSteps(schedule));
  return warmup > 0 ? f(rate * Math.min(1, f(f(step) * f(1 / warmup)))) : rate;
}
