import { describe, expect, it } from "vitest";
import { binaryEntropy } from "../../../src/metrics/binary-entropy.js";
import { unigramCrossEntropy } from "../../../src/metrics/unigram-cross-entropy.js";

describe("unigramCrossEntropy", () => {
  it("is the entropy of the counts alone", () => {
    expect(unigramCrossEntropy({ trainCounts: [1, 1, 1, 1] })).toBeCloseTo(Math.log(4));
    expect(unigramCrossEntropy({ trainCounts: [7, 0, 0] })).toBe(0);
    expect(unigramCrossEntropy({ trainCounts: [] })).toBe(0);
  });

  it("predicts held-out tokens with smoothed frequencies, unseen ones too", () => {
    const result = unigramCrossEntropy({ trainCounts: [3, 1, 0, 0], counts: [1, 0, 1, 0] });
    expect(result).toBeCloseTo(-(Math.log(4 / 8) + Math.log(1 / 8)) / 2);
  });

  it("is not below the entropy of the held-out text", () => {
    const counts = new Uint32Array([5, 9, 2]);
    const entropy = unigramCrossEntropy({ trainCounts: counts });
    expect(unigramCrossEntropy({ trainCounts: [9, 5, 2], counts, smoothing: 0 })).toBeGreaterThan(entropy);
  });

  it("is infinite for a token without probability", () => {
    expect(unigramCrossEntropy({ trainCounts: [1, 0], counts: [0, 1], smoothing: 0 })).toBe(
      Number.POSITIVE_INFINITY,
    );
  });
});

describe("binaryEntropy", () => {
  it.each([
    [0.5, Math.LN2],
    [0.15, 0.42271],
    [0, 0],
    [1, 0],
  ])("of %d is %d nats", (chance, expected) => {
    expect(binaryEntropy(chance)).toBeCloseTo(expected, 5);
  });
});
