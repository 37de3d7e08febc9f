import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BasicTokenizer } from "../../../src/tokenization/basic-tokenizer.js";
import { WordCounter } from "../../../src/tokenization/word-counter.js";
import { trickyText } from "./tricky-text.js";

function count(texts: readonly string[], tokenizer: BasicTokenizer): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const word of tokenizer.tokenize(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

describe("the word counter", () => {
  it("counts basic tokens", () => {
    const counter = new WordCounter();
    counter.add("The caf\u00e9, the Cafe.");
    counter.add("");
    expect(Object.fromEntries(counter.counts())).toEqual({ the: 2, cafe: 2, ",": 1, ".": 1 });
  });

  it("equals counting the words of each text by itself, in every mode", () => {
    fc.assert(
      fc.property(
        fc.array(trickyText, { maxLength: 5 }),
        fc.boolean(),
        fc.boolean(),
        (texts, lowerCase, stripAccents) => {
          const options = { lowerCase, stripAccents };
          const counter = new WordCounter(options);
          for (const text of texts) counter.add(text);
          expect(new Map(counter.counts())).toEqual(count(texts, new BasicTokenizer(options)));
        },
      ),
      { numRuns: 300 },
    );
  });

  it("goes on counting after it was asked, and merges others' counts", () => {
    const one = new WordCounter();
    const two = new WordCounter();
    one.add("a b");
    expect(one.counts().get("a")).toBe(1);
    one.add("a");
    two.add("b c");
    one.merge(two.counts());
    one.merge([["c", 5]]);
    expect(Object.fromEntries(one.counts())).toEqual({ a: 2, b: 2, c: 6 });
  });

  it("loses nothing when more different words come than it keeps waiting", () => {
    const counter = new WordCounter();
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 70_000; i++) counter.add(`averylongwordnumber${i} w`);
    }
    const counts = counter.counts();
    expect(counts.size).toBe(70_001);
    expect([counts.get("w"), counts.get("averylongwordnumber69999")]).toEqual([140_000, 2]);
  });
});
