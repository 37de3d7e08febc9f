import { describe, expect, it } from "vitest";
import { spearman } from "../../../src/metrics/spearman.js";

describe("Spearman's rank correlation", () => {
  it("sees order alone", () => {
    expect(spearman([1, 2, 3, 100], [-5, 0, 7, 8])).toBe(1);
    expect(spearman([1, 2, 3, 100], [3, 2, 1, 0])).toBe(-1);
  });

  it("is 1 − 6 Σd² / (n³ − n) without ties", () => {
    const a = [86, 97, 99, 100, 101, 103, 106, 110, 112, 113];
    const b = [2, 20, 28, 27, 50, 29, 7, 17, 6, 12];
    expect(spearman(a, b)).toBeCloseTo(1 - (6 * 194) / 990, 12);
  });

  it("gives equal values the mean of their ranks", () => {
    // Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: Pearson's correlation of these is √0.9.
    expect(spearman([1, 2, 2, 3], [1, 2, 3, 4])).toBeCloseTo(Math.sqrt(0.9), 12);
  });

  it("is nothing where there is no order", () => {
    expect(spearman([1, 1, 1], [1, 2, 3])).toBeNull();
    expect(spearman([1], [2])).toBeNull();
    expect(spearman([], [])).toBeNull();
    expect(spearman([1, Number.NaN], [1, 2])).toBeNull();
    expect(() => spearman([1], [1, 2])).toThrow("1 values beside 2");
  });
});
