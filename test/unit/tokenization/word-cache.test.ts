import { describe, expect, it } from "vitest";
import { MAX_CACHED_BYTES, WordCache } from "../../../src/tokenization/word-cache.js";

const utf8 = new TextEncoder();

/** A cache of strings; `hashOf` may be as bad as it likes. */
function stringCache(capacity: number, hashOf: (key: string) => number) {
  const cache = new WordCache(capacity);
  return {
    cache,
    add(key: string, ids: readonly number[]) {
      const bytes = utf8.encode(key);
      cache.add(hashOf(key), bytes, 0, bytes.length, Int32Array.from(ids), 0, ids.length);
    },
    find(key: string): readonly number[] | undefined {
      const bytes = utf8.encode(`..${key}`);
      const out = new Int32Array(MAX_CACHED_BYTES + 1);
      const count = cache.lookup(hashOf(key), bytes, 2, bytes.length, out, 1);
      return count < 0 ? undefined : [...out.subarray(1, 1 + count)];
    },
  };
}

const lengthHash = (key: string): number => key.length;
const sumHash = (key: string): number => {
  let hash = 0;
  for (const byte of utf8.encode(key)) hash = (Math.imul(hash, 31) + byte) | 0;
  return hash;
};
const idsOf = (i: number): number[] => Array.from({ length: i % 5 }, (_, k) => i * 10 + k);

describe("the word cache", () => {
  it("gives back what it was given, through all its growing", () => {
    const words = stringCache(20_000, sumHash);
    for (let i = 0; i < 20_000; i++) words.add(`word${i}`, idsOf(i));
    const wrong = Array.from({ length: 20_000 }, (_, i) => i).filter(
      (i) => words.find(`word${i}`)?.join() !== idsOf(i).join(),
    );
    expect(wrong).toEqual([]);
    expect(words.find("word20000")).toBeUndefined();
  });

  it("tells keys with equal hashes apart", () => {
    const words = stringCache(100, lengthHash);
    words.add("ab", [1]);
    words.add("ba", [2, 3]);
    expect([words.find("ab"), words.find("ba"), words.find("bb")]).toEqual([[1], [2, 3], undefined]);
  });

  it("remembers that a word has no ids at all", () => {
    const words = stringCache(100, sumHash);
    words.add("\u200b", []);
    expect([words.find("\u200b"), words.find("\u200c")]).toEqual([[], undefined]);
  });

  it.each([
    ["many words", (i: number) => `w${i}`],
    [
      "the longest words, which use the room for keys up first",
      (i: number) => `w${i}`.padEnd(MAX_CACHED_BYTES, "x"),
    ],
  ])("never holds more than its capacity and is right after forgetting: %s", (_, keyOf) => {
    const words = stringCache(700, sumHash);
    let largest = 0;
    const wrong: number[] = [];
    for (let i = 0; i < 4000; i++) {
      words.add(keyOf(i), Array(MAX_CACHED_BYTES).fill(i));
      largest = Math.max(largest, words.cache.size);
      const found = words.find(keyOf(i));
      if (found?.length !== MAX_CACHED_BYTES || !found.every((id) => id === i)) wrong.push(i);
    }
    expect(wrong).toEqual([]);
    expect(largest).toBeLessThanOrEqual(700);
    expect(words.find(keyOf(0))).toBeUndefined();
  });
});
