import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  MAX_PACKED_LETTERS,
  PACKED_HALF,
  ShortWordCache,
} from "../../../src/tokenization/short-word-cache.js";

type Letters = readonly number[];

/** The halves of a key, by arithmetic on the whole number instead of shifts on its halves. */
function pack(letters: Letters): [low: number, high: number] {
  let key = 0n;
  for (const letter of letters) key = key * 64n + BigInt(letter);
  return [Number(key % BigInt(PACKED_HALF + 1)), Number(key / BigInt(PACKED_HALF + 1))];
}

function wordCache(capacity: number) {
  const cache = new ShortWordCache(capacity);
  return {
    cache,
    add: (letters: Letters, ids: Letters) =>
      cache.add(...pack(letters), Int32Array.from([-1, ...ids]), 1, 1 + ids.length),
    find(letters: Letters): Letters | undefined {
      const out = new Int32Array(MAX_PACKED_LETTERS + 1);
      const count = cache.lookup(...pack(letters), out, 1);
      return count < 0 ? undefined : [...out.subarray(1, 1 + count)];
    },
  };
}

/** The letters of a number, so that different numbers are different words. */
const lettersOf = (i: number): number[] =>
  i < 62 ? [1 + i] : [...lettersOf(Math.floor(i / 62) - 1), 1 + (i % 62)];
const idsOf = (i: number): number[] => Array.from({ length: 1 + (i % 5) }, (_, k) => i * 10 + k);

describe("the cache of short words", () => {
  it("gives back what it was given, through all its growing", () => {
    const words = wordCache(12_000);
    for (let i = 0; i < 12_000; i++) words.add(lettersOf(i), idsOf(i));
    const wrong = Array.from({ length: 12_000 }, (_, i) => i).filter(
      (i) => words.find(lettersOf(i))?.join() !== idsOf(i).join(),
    );
    expect(wrong).toEqual([]);
    expect(words.find(lettersOf(12_000))).toBeUndefined();
  });

  it("tells any two words apart", () => {
    const word = fc.array(fc.integer({ min: 1, max: 62 }), { minLength: 1, maxLength: MAX_PACKED_LETTERS });
    fc.assert(
      fc.property(fc.uniqueArray(word, { selector: (letters) => letters.join(), maxLength: 40 }), (all) => {
        const words = wordCache(1000);
        for (const [i, letters] of all.entries()) {
          expect(words.find(letters)).toBeUndefined();
          words.add(letters, [i]);
        }
        for (const [i, letters] of all.entries()) expect(words.find(letters)).toEqual([i]);
      }),
    );
  });

  it("never holds more than its capacity and is right after forgetting", () => {
    const words = wordCache(700);
    let largest = 0;
    const wrong: number[] = [];
    for (let i = 0; i < 4000; i++) {
      const ids = Array(MAX_PACKED_LETTERS).fill(i);
      words.add(lettersOf(i), ids);
      largest = Math.max(largest, words.cache.size);
      if (words.find(lettersOf(i))?.join() !== ids.join()) wrong.push(i);
    }
    expect(wrong).toEqual([]);
    expect(largest).toBeLessThanOrEqual(700);
    expect(words.find(lettersOf(0))).toBeUndefined();
  });
});
