import { expect, it } from "vitest";
import { bestTokens } from "../../../src/inference/best-tokens.js";

it("the likeliest tokens come first, with probabilities of a softmax over all", () => {
  const [first, second] = bestTokens([0, Math.log(6), Math.log(3)], 2);
  expect(first).toEqual({ id: 1, probability: expect.closeTo(0.6, 12) });
  expect(second).toEqual({ id: 2, probability: expect.closeTo(0.3, 12) });
});

it("banned tokens are neither proposed nor counted", () => {
  expect(bestTokens([1000, 2, 2], 3, new Set([0]))).toEqual([
    { id: 1, probability: 0.5 },
    { id: 2, probability: 0.5 },
  ]);
});
