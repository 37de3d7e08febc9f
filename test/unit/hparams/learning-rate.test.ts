import { describe, expect, it } from "vitest";
import { effectiveWarmupSteps, learningRateAt } from "../../../src/hparams/learning-rate.js";

const pretraining = { learningRate: 5e-4, numTrainSteps: 1_000_000, numWarmupSteps: 10_000 };
const short = { learningRate: 1e-3, numTrainSteps: 10, numWarmupSteps: 4 };

describe("learningRateAt", () => {
  it.each([
    [0, 0],
    [1, 5.0e-8],
    [5000, 2.4875e-4],
    [9999, 4.94951e-4],
    [10_000, 4.95e-4],
    [500_000, 2.5e-4],
    [1_000_000, 0],
    [2_000_000, 0],
  ])("multiplies decay and warm-up at step %d of the default schedule", (step, expected) => {
    expect(learningRateAt(pretraining, step)).toBeCloseTo(expected, 9);
  });

  it("keeps float32's loss of digits in the last step", () => {
    expect(learningRateAt(pretraining, 999_999)).toBe(Math.fround(5.066395081243513e-10));
  });

  it.each(
    [0, 2.25e-4, 4e-4, 5.25e-4, 6e-4, 5e-4, 4e-4, 3e-4, 2e-4, 1e-4, 0].map((rate, step) => [step, rate]),
  )("gives step %d of a ten-step schedule the rate %d", (step, rate) => {
    expect(learningRateAt(short, step)).toBeCloseTo(rate, 9);
  });

  it("has no warm-up factor without a warm-up, at step 0 either", () => {
    expect(learningRateAt({ ...short, numWarmupSteps: 0 }, 0)).toBe(Math.fround(1e-3));
    expect(learningRateAt({ ...short, numWarmupSteps: 0 }, 5)).toBeCloseTo(5e-4, 9);
  });

  it("takes the longer of the two warm-ups and does not round it", () => {
    const schedule = { ...short, numTrainSteps: 345, warmupProportion: 0.1 };
    expect(effectiveWarmupSteps(schedule)).toBe(34.5);
    expect(effectiveWarmupSteps({ ...schedule, numWarmupSteps: 40 })).toBe(40);
  });

  it("decays with the given power", () => {
    const rate = learningRateAt({ ...short, numWarmupSteps: 0, decayPower: 0.5 }, 5);
    expect(rate).toBeCloseTo(1e-3 * Math.sqrt(0.5), 9);
  });
});
