import { describe, expect, it } from "vitest";
import { quantile, spreadOf } from "../../../src/bench/spread.js";

describe("spread of measurements", () => {
  it("gives the quantiles that numpy gives", () => {
    // numpy.quantile([7, 1, 3, 10], [0, .25, .5, .75, 1])
    expect(spreadOf([7, 1, 3, 10])).toEqual({ min: 1, q1: 2.5, median: 5, q3: 7.75, max: 10 });
    // numpy.quantile(range(1, 101), .99)
    expect(
      quantile(
        Array.from({ length: 100 }, (_, i) => i + 1),
        0.99,
      ),
    ).toBeCloseTo(99.01, 12);
    expect(spreadOf([4])).toEqual({ min: 4, q1: 4, median: 4, q3: 4, max: 4 });
  });

  it("has nothing to say of nothing", () => {
    expect(() => spreadOf([])).toThrow(RangeError);
  });
});
