import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bootstrapAuc } from "../../../src/metrics/bootstrap-auc.js";
import { rankAuc } from "../../../src/metrics/rank-auc.js";
import { SeededRandom } from "../../../src/metrics/seeded-random.js";
import { ThresholdAuc } from "../../../src/metrics/threshold-auc.js";

/** The definition, pair by pair. */
function pairwiseAuc(scores: readonly number[], labels: readonly number[]): number | null {
  let wins = 0;
  let pairs = 0;
  scores.forEach((a, i) => {
    scores.forEach((b, j) => {
      if (labels[i] !== 1 || labels[j] !== 0) return;
      pairs++;
      wins += a > b ? 1 : a === b ? 0.5 : 0;
    });
  });
  return pairs === 0 ? null : wins / pairs;
}

/** The definition of tf.metrics.auc, threshold by threshold. */
function thresholdAuc(scores: readonly number[], labels: readonly number[]): number {
  const thresholds = [-1e-7, ...Array.from({ length: 198 }, (_, i) => (i + 1) / 199), 1 + 1e-7];
  const points = thresholds.map((threshold) => {
    const above = (label: number) =>
      scores.filter((score, i) => labels[i] === label && Math.fround(score) > Math.fround(threshold)).length;
    const all = (label: number) => labels.filter((value) => value === label).length;
    return { recall: (above(1) + 1e-6) / (all(1) + 1e-6), fpr: above(0) / (all(0) + 1e-6) };
  });
  let area = 0;
  for (const [i, { recall, fpr }] of points.entries()) {
    const next = points[i + 1];
    if (next) area += ((fpr - next.fpr) * (recall + next.recall)) / 2;
  }
  return area;
}

function streamed(scores: readonly number[], labels: readonly number[]): number {
  const auc = new ThresholdAuc();
  scores.forEach((score, i) => {
    auc.add(score, labels[i] ?? 0);
  });
  return auc.value;
}

/** Scores that often tie, also with a threshold. */
const scored = fc.array(
  fc.tuple(
    fc.oneof(
      fc.nat(199).map((i) => i / 199),
      fc.double({ min: 0, max: 1, noNaN: true }),
    ),
    fc.nat(1),
  ),
  { maxLength: 40 },
);

/** Normal deviates by the central limit, for synthetic scores. */
function noise(random: SeededRandom): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += random.uint32() / 2 ** 32;
  return sum;
}

describe("ThresholdAuc", () => {
  it("equals the reference's sum over thresholds", () => {
    fc.assert(
      fc.property(scored, (pairs) => {
        const scores = pairs.map(([score]) => score);
        const labels = pairs.map(([, label]) => label);
        expect(streamed(scores, labels)).toBeCloseTo(thresholdAuc(scores, labels), 10);
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ["separated classes", [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 1],
    ["classes the wrong way round", [0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1], 0],
    ["equal scores", [0.3, 0.3, 0.3], [0, 1, 1], 0.5],
    ["the ends of the range", [0, 1], [0, 1], 1],
    ["scores closer than two thresholds", [0.5001, 0.5002], [0, 1], 0.5],
  ])("of %s", (_, scores, labels, expected) => {
    expect(streamed(scores, labels)).toBeCloseTo(expected, 5);
  });

  it.each([
    ["nothing", [], [], 0],
    ["positives alone", [0.2, 0.7], [1, 1], 0],
    // Recall is epsilon / epsilon at every threshold.
    ["negatives alone", [0.2, 0.7], [0, 0], 1],
  ])("of %s is what the epsilons make of it", (_, scores, labels, expected) => {
    expect(streamed(scores, labels)).toBeCloseTo(expected, 5);
  });

  it("counts many equal scores at once", () => {
    const once = new ThresholdAuc();
    once.add(0.6, 1);
    once.add(0, 0, 3);
    once.add(0.7, 0);
    expect(once.value).toBeCloseTo(streamed([0.6, 0, 0, 0, 0.7], [1, 0, 0, 0, 0]), 12);
  });
});

describe("rankAuc", () => {
  it("equals the share of pairs in the right order, ties counting half", () => {
    fc.assert(
      fc.property(scored, (pairs) => {
        const scores = pairs.map(([score]) => score);
        const labels = pairs.map(([, label]) => label);
        const expected = pairwiseAuc(scores, labels);
        const actual = rankAuc({ scores, labels });
        if (expected === null) expect(actual).toBeNull();
        else expect(actual).toBeCloseTo(expected, 12);
      }),
      { numRuns: 200 },
    );
  });

  it("is null where a class is missing or a score is not a number", () => {
    expect(rankAuc({ scores: [], labels: [] })).toBeNull();
    expect(rankAuc({ scores: [0.5], labels: [1] })).toBeNull();
    expect(rankAuc({ scores: [0.5, Number.NaN], labels: [0, 1] })).toBeNull();
  });

  it("takes any monotonous scale, infinities included", () => {
    const labels = [0, 1, 0, 1, 1];
    expect(
      rankAuc({ scores: [Number.NEGATIVE_INFINITY, -5, 3, 8, Number.POSITIVE_INFINITY], labels }),
    ).toBeCloseTo(5 / 6);
  });
});

describe("bootstrapAuc", () => {
  const random = new SeededRandom(7);
  const labels = Array.from({ length: 600 }, () => (random.below(4) === 0 ? 1 : 0));
  const scores = labels.map((label) => noise(random) + 0.5 * label);

  it("encloses the exact area and counts the classes", () => {
    const result = bootstrapAuc({ scores, labels });
    expect(result?.auc).toBe(rankAuc({ scores, labels }));
    expect(result?.lower).toBeLessThan(result?.auc ?? 0);
    expect(result?.upper).toBeGreaterThan(result?.auc ?? 1);
    expect([result?.positives, result?.negatives]).toEqual([
      labels.filter((label) => label === 1).length,
      labels.filter((label) => label === 0).length,
    ]);
  });

  it("is as wide as Hanley and McNeil's formula says", () => {
    const result = bootstrapAuc({ scores, labels, resamples: 2000 });
    if (result === null) throw new Error("no result");
    const { auc, positives: p, negatives: n } = result;
    const [q1, q2] = [auc / (2 - auc), (2 * auc ** 2) / (1 + auc)];
    const variance = (auc * (1 - auc) + (p - 1) * (q1 - auc ** 2) + (n - 1) * (q2 - auc ** 2)) / (p * n);
    const width = (result.upper - result.lower) / (2 * 1.96 * Math.sqrt(variance));
    expect(width).toBeGreaterThan(0.9);
    expect(width).toBeLessThan(1.1);
  });

  it("gives the same interval for the same seed, another for another", () => {
    const first = bootstrapAuc({ scores, labels, seed: 1, resamples: 50 });
    expect(bootstrapAuc({ scores, labels, seed: 1, resamples: 50 })).toEqual(first);
    expect(bootstrapAuc({ scores, labels, seed: 2, resamples: 50 })).not.toEqual(first);
  });

  it("widens when copies are resampled as one group", () => {
    const copies = 8;
    const repeat = (values: readonly number[]) =>
      values.flatMap((value) => Array<number>(copies).fill(value));
    const many = { scores: repeat(scores), labels: repeat(labels), resamples: 200 };
    const groups = repeat(scores.map((_, i) => i));
    const width = (result: ReturnType<typeof bootstrapAuc>) => (result ? result.upper - result.lower : 0);
    expect(width(bootstrapAuc({ ...many, groups }))).toBeGreaterThan(2 * width(bootstrapAuc(many)));
  });

  it("narrows with the confidence", () => {
    const wide = bootstrapAuc({ scores, labels });
    const narrow = bootstrapAuc({ scores, labels, confidence: 0.5 });
    expect(narrow?.lower).toBeGreaterThan(wide?.lower ?? 1);
    expect(narrow?.upper).toBeLessThan(wide?.upper ?? 0);
  });

  it("is null where a class is missing", () => {
    expect(bootstrapAuc({ scores: [1, 2], labels: [1, 1] })).toBeNull();
  });

  it("survives resamples that miss a class", () => {
    const result = bootstrapAuc({ scores: [1, 2], labels: [0, 1], resamples: 20 });
    expect(result).toMatchObject({ auc: 1, lower: 1, upper: 1 });
  });
});
