import { expect, test } from "vitest";
import { philox4x32 } from "../../../src/data/philox.js";
import { RecordedRandomSource, SeededRandomSource } from "../../../src/data/random-source.js";

/** Known answers published with the generator (Random123, kat_vectors, philox4x32 10). */
test.each([
  ["00000000 00000000", "00000000 00000000 00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
  ["ffffffff ffffffff", "ffffffff ffffffff ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"],
  ["a4093822 299f31d0", "243f6a88 85a308d3 13198a2e 03707344", "d16cfe09 94fdcceb 5001e420 24126ea1"],
])("Philox4x32-10 of key %s and counter %s", (key, counter, expected) => {
  const words = (text: string) => Uint32Array.from(text.split(" "), (word) => Number.parseInt(word, 16));
  const output = new Uint32Array(4);
  philox4x32(words(key), words(counter), output);
  expect(output).toEqual(words(expected));
});

test("the numbers of a seed are the same on every machine and in every version", () => {
  const source = new SeededRandomSource(0);
  // Words 6627e8d5 e169c58d: (0x6627e8d5 >>> 5) · 2^26 + (0xe169c58d >>> 6), over 2^53.
  expect(source.random()).toBe(((0x6627e8d5 >>> 5) * 2 ** 26 + (0xe169c58d >>> 6)) / 2 ** 53);
  expect(source.randint(5, 128)).toBe(5 + (0xbc57ac4c % 124));
});

test("equal seeds and streams give equal numbers, others do not", () => {
  const first = (seed: number, stream: number) => {
    const source = new SeededRandomSource(seed, stream);
    return Array.from({ length: 20 }, () => source.random());
  };
  expect(first(7, 3)).toEqual(first(7, 3));
  const all = [first(7, 3), first(8, 3), first(7, 4), first(7 + 2 ** 32, 3), first(7, 3 + 2 ** 32)];
  expect(new Set(all.map((list) => list.join())).size).toBe(all.length);
});

test("draws are uniform: random() in tenths, randint over its whole range with both ends", () => {
  const source = new SeededRandomSource(42);
  const draws = 20_000;
  const tenths = new Array<number>(10).fill(0);
  const integers = new Map<number, number>();
  for (let i = 0; i < draws; i++) {
    const u = source.random();
    tenths[Math.floor(10 * u)]!++;
    const k = source.randint(5, 9);
    integers.set(k, (integers.get(k) ?? 0) + 1);
  }
  // Ten entries: none was below 0 or at 1. Five standard deviations of a binomial count.
  expect(tenths.length).toBe(10);
  for (const count of tenths) expect(Math.abs(count - draws / 10)).toBeLessThan(5 * Math.sqrt(draws * 0.09));
  expect([...integers.keys()].sort()).toEqual([5, 6, 7, 8, 9]);
  for (const count of integers.values())
    expect(Math.abs(count - draws / 5)).toBeLessThan(5 * Math.sqrt(draws * 0.16));
});

test("impossible seeds and ranges are refused", () => {
  expect(() => new SeededRandomSource(-1)).toThrow(/seed must be a non-negative integer, not -1/);
  expect(() => new SeededRandomSource(1, 0.5)).toThrow(/stream must be a non-negative integer, not 0.5/);
  expect(() => new SeededRandomSource(1).randint(5, 4)).toThrow(/no random integer lies between 5 and 4/);
});

test("recorded draws are replayed in order and only for the calls that were recorded", () => {
  const source = new RecordedRandomSource([
    ["random", 0.25],
    ["randint", 5, 64, 15],
    ["random", 0.5],
  ]);
  expect(source.random()).toBe(0.25);
  expect(source.randint(5, 64)).toBe(15);
  expect(source.remaining).toBe(1);
  expect(() => source.randint(5, 64)).toThrow(
    /draw 2: randint\(5, 64\) was asked for, but random\(\) was recorded/,
  );
  expect(() => source.random()).toThrow(/all 3 recorded draws are used up/);
  expect(() => new RecordedRandomSource([["randint", 5, 64, 15]]).randint(5, 63)).toThrow(
    /randint\(5, 64\) was recorded/,
  );
});
