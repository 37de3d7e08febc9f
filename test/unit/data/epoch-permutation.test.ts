import { expect, test } from "vitest";
import { EpochPermutation } from "../../../src/data/epoch-permutation.js";

const order = (length: number, seed = 1, epoch = 0) => {
  const permutation = new EpochPermutation(length, seed, epoch);
  return Array.from({ length }, (_, index) => permutation.at(index));
};

test.each([1, 2, 3, 4, 5, 7, 12, 13, 16, 17, 99, 100, 101, 1000, 4096, 20_011])(
  "a bijection of %i numbers",
  (length) => {
    for (let epoch = 0; epoch < 3; epoch++) {
      expect(order(length, 5, epoch).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length }, (_, index) => index),
      );
    }
  },
);

test("seeds and epochs give orders of their own, the same ones every time", () => {
  expect(order(100, 3, 2)).toEqual(order(100, 3, 2));
  const all = [order(100, 3, 2), order(100, 3, 3), order(100, 4, 2), order(100, 3 + 2 ** 40, 2)];
  expect(new Set(all.map(String)).size).toBe(4);
});

test("an order that was stored by an earlier version continues: the numbers never change", () => {
  expect(order(10, 42, 0)).toEqual([7, 6, 5, 3, 0, 2, 4, 1, 8, 9]);
});

test("places are independent of where an element stood: no element favours a place, no neighbours stay together", () => {
  const length = 10;
  const epochs = 4000;
  const counts = Array.from({ length }, () => new Array<number>(length).fill(0));
  let neighbours = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    const list = order(length, 7, epoch);
    for (const [place, element] of list.entries()) {
      counts[place]![element]!++;
      if (place > 0 && element === list[place - 1]! + 1) neighbours++;
    }
  }
  // Five standard deviations of a binomial count.
  const spread = 5 * Math.sqrt((epochs / length) * (1 - 1 / length));
  for (const row of counts) {
    for (const count of row) expect(Math.abs(count - epochs / length)).toBeLessThan(spread);
  }
  // Of 9 pairs of places each holds successive elements with probability 9 / 90.
  expect(Math.abs(neighbours / epochs - 0.9)).toBeLessThan(0.1);
});

test("huge lengths need no memory and stay in range", () => {
  const length = 2 ** 40 + 3;
  const permutation = new EpochPermutation(length, 1, 0);
  const seen = new Set(Array.from({ length: 1000 }, (_, index) => permutation.at(length - 1 - index)));
  expect(seen.size).toBe(1000);
  for (const value of seen) expect(Number.isInteger(value) && value >= 0 && value < length).toBe(true);
  expect([...seen].filter((value) => value < length / 2).length).toBeGreaterThan(400);
});

test("places outside are refused", () => {
  expect(() => new EpochPermutation(5, 1, 0).at(5)).toThrow(/place 5 does not exist: there are 5/);
});
