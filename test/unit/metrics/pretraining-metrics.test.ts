import { describe, expect, it } from "vitest";
import { PretrainingMetrics, type TokenOutputs } from "../../../src/metrics/pretraining-metrics.js";

const slots = {
  weights: [1, 1, 0, 1],
  losses: [2, 4, Number.NaN, 6],
  predictions: [7, 8, 9, 9],
  targets: [7, 9, 9, 9],
  sampled: [1, 9, 9, 2],
};

/** Two rows of four; the last position of the second is padding. */
const tokens: TokenOutputs = {
  probabilities: [0.1, 0.9, 0.6, 0.2, 0.4, 0.3, 0.7, 0.99],
  labels: [0, 1, 0, 0, 1, 0, 1, 0],
  mask: [1, 1, 1, 1, 1, 1, 1, 0],
  candidates: [0, 1, 1, 0, 1, 1, 1, 0],
  exampleLosses: [0.5, 0.7],
};

function values(...batches: Parameters<PretrainingMetrics["add"]>[0][]) {
  const metrics = new PretrainingMetrics();
  for (const batch of batches) metrics.add(batch);
  return metrics.values(12);
}

describe("PretrainingMetrics", () => {
  it("weights slots, and never reads an unused one", () => {
    expect(values({ totalLoss: 3, slots })).toEqual({
      loss: 3,
      global_step: 12,
      masked_lm_accuracy: 2 / 3,
      masked_lm_loss: 4,
      sampled_masked_lm_accuracy: 1 / 3,
    });
  });

  it("has no value of samples or discriminator under the masked-LM objective", () => {
    const { sampled: _, ...plain } = slots;
    expect(Object.keys(values({ totalLoss: 3, slots: plain }))).toEqual([
      "loss",
      "global_step",
      "masked_lm_accuracy",
      "masked_lm_loss",
    ]);
  });

  it("scores the discriminator over real tokens", () => {
    // Judged replaced: 1, 2, 6; replaced: 1, 4, 6.
    expect(values({ totalLoss: 3, slots, tokens })).toMatchObject({
      disc_loss: 0.6,
      disc_accuracy: 5 / 7,
      disc_precision: 2 / 3,
      disc_recall: 2 / 3,
      disc_balanced_accuracy: expect.closeTo((2 / 3 + 3 / 4) / 2, 12),
      disc_fake_rate: expect.closeTo(3 / 7, 12),
      disc_baseline_loss: expect.closeTo(-(3 / 7) * Math.log(3 / 7) - (4 / 7) * Math.log(4 / 7), 12),
      // Positives 0.9, 0.4, 0.7 against 0.1, 0.6, 0.2, 0.3, and against 0.6, 0.3 among the candidates.
      disc_auc_tokens: expect.closeTo(11 / 12, 12),
      disc_auc_candidates: expect.closeTo(5 / 6, 12),
    });
  });

  it("counts padding as negatives of score 0 in the reference's area alone", () => {
    const { mask: _, ...all } = tokens;
    const packed = Object.fromEntries(
      Object.entries(all).map(([name, array]) => [
        name,
        name === "exampleLosses" ? array : Array.from(array as number[]).slice(0, 7),
      ]),
    ) as unknown as TokenOutputs;
    const padded = values({ totalLoss: 3, slots, tokens });
    // The packed form says how much padding it left out.
    expect(values({ totalLoss: 3, slots, tokens: { ...packed, droppedPadding: 1 } })).toEqual(padded);
    const without = values({ totalLoss: 3, slots, tokens: packed });
    expect(padded.disc_auc).toBeCloseTo(14 / 15, 5);
    expect(without.disc_auc).toBeCloseTo(11 / 12, 5);
    expect(without.disc_auc_tokens).toBe(padded.disc_auc_tokens);
  });

  it("prefers the given predictions to its own threshold", () => {
    const predictions = [0, 1, 0, 0, 1, 0, 1, 1];
    expect(values({ totalLoss: 3, slots, tokens: { ...tokens, predictions } }).disc_accuracy).toBe(1);
  });

  it("judges a probability of exactly one half original", () => {
    const half = { probabilities: [0.5], labels: [0], exampleLosses: [1] };
    expect(values({ totalLoss: 3, slots, tokens: half }).disc_accuracy).toBe(1);
  });

  it("sums numerators and denominators over batches, not means", () => {
    const one = { ...slots, weights: [1, 0, 0, 0] };
    expect(values({ totalLoss: 1, slots }, { totalLoss: 2, slots: one })).toMatchObject({
      loss: 1.5,
      masked_lm_loss: 14 / 4,
      masked_lm_accuracy: 3 / 4,
    });
  });

  it("gives 0 for 0 / 0, and null where an exact area does not exist", () => {
    const real = { probabilities: [0.1, 0.2], labels: [0, 0], exampleLosses: [0.1] };
    expect(values({ totalLoss: 1, slots: { ...slots, weights: [0, 0, 0, 0] }, tokens: real })).toMatchObject({
      masked_lm_loss: 0,
      masked_lm_accuracy: 0,
      disc_precision: 0,
      disc_recall: 0,
      disc_auc_tokens: null,
    });
  });

  it("keeps the scores of all real tokens, more than fit at first", () => {
    const metrics = new PretrainingMetrics();
    const count = 5000;
    const probabilities = Float32Array.from({ length: count }, (_, i) => i / count);
    const labels = Uint8Array.from({ length: count }, (_, i) => (i % 3 === 0 ? 1 : 0));
    metrics.add({ totalLoss: 0, slots, tokens: { probabilities, labels, exampleLosses: [] } });
    expect(metrics.realTokens.scores).toEqual(probabilities);
    expect(metrics.realTokens.labels).toEqual(labels);
  });
});
