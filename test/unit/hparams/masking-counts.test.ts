import { describe, expect, it } from "vitest";
import { maxPredictionsPerSequence, numberToPredict } from "../../../src/hparams/masking-counts.js";
import { roundHalfEven } from "../../../src/hparams/round-half-even.js";

describe("roundHalfEven", () => {
  it.each([
    [0.5, 0],
    [1.5, 2],
    [2.5, 2],
    [3.5, 4],
    [-0.5, 0],
    [-1.5, -2],
    [2.4999, 2],
    [2.5001, 3],
  ])("rounds %d to %d", (value, expected) => {
    expect(roundHalfEven(value) + 0).toBe(expected);
  });
});

describe("maxPredictionsPerSequence", () => {
  it.each([
    [0.15, 32, 4],
    [0.15, 64, 9],
    [0.15, 128, 19],
    [0.15, 256, 39],
    [0.15, 384, 59],
    [0.15, 512, 79],
    [0.25, 128, 32],
    [0.25, 384, 97],
    [0.25, 512, 130],
  ])("is, for %d of %d tokens, %d", (share, length, expected) => {
    expect(maxPredictionsPerSequence(share, length)).toBe(expected);
  });
});

describe("numberToPredict", () => {
  it.each([
    [10, 2],
    [17, 3],
    [30, 4],
    [50, 8],
    [63, 9],
    [70, 10],
    [90, 14],
    [110, 16],
    [123, 18],
    [128, 19],
    [3, 1],
  ])("predicts, of %d tokens at 0.15, %d", (tokens, expected) => {
    expect(numberToPredict(tokens, 0.15, 19)).toBe(expected);
  });

  it.each([
    [2, 1],
    [6, 2],
    [10, 2],
    [14, 4],
  ])("rounds half to even: of %d tokens at 0.25, %d", (tokens, expected) => {
    expect(numberToPredict(tokens, 0.25, 32)).toBe(expected);
  });

  it("never exceeds the slots, and predicts at least one token", () => {
    expect(numberToPredict(512, 0.15, 7)).toBe(7);
    expect(numberToPredict(0, 0.15, 7)).toBe(1);
  });
});
