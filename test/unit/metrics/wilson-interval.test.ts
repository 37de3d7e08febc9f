import { expect, it } from "vitest";
import { wilsonInterval } from "../../../src/metrics/wilson-interval.js";

it.each([
  // Solutions of (p̂ − p)² = z² p (1 − p) / n, found by bisection below.
  [10, 7],
  [3000, 2529],
  [100, 50],
  [25, 0],
  [25, 25],
  [40, 12.5],
])("of %i trials with %d successes the bounds solve the score equation", (trials, successes) => {
  const z = 1.959964;
  const { share, lower, upper } = wilsonInterval(successes, trials);
  expect(share).toBe(successes / trials);
  const distance = (p: number): number => (share - p) ** 2 - (z * z * p * (1 - p)) / trials;
  const root = (low: number, high: number): number => {
    // The distance is above 0 outside the interval and below 0 inside.
    for (let k = 0; k < 200; k++) {
      const middle = (low + high) / 2;
      if (Math.sign(distance(middle)) === Math.sign(distance(low))) low = middle;
      else high = middle;
    }
    return low;
  };
  expect(lower).toBeCloseTo(share === 0 ? 0 : root(0, share), 9);
  expect(upper).toBeCloseTo(share === 1 ? 1 : root(1, share), 9);
});

it("says nothing without trials", () => {
  expect(wilsonInterval(0, 0)).toEqual({ share: Number.NaN, lower: 0, upper: 1 });
});
