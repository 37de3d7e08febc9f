import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutSentence } from "../../../src/quickstart/cut-sentence.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";

const letters = "abcdefghijklmnopqrstuvwxyz".split("");
const tokenizer = new Tokenizer({
  vocabulary: Vocabulary.fromTokens(["[UNK]", ".", ",", ...letters, ...letters.map((each) => `##${each}`)]),
});

describe("a sentence that is too long", () => {
  it("is cut between words into parts of about one size", () => {
    expect(cutSentence("ab cd ef gh ij.", tokenizer, 8)).toEqual(["ab cd ef", "gh ij."]);
  });

  it("stays whole when it fits, and vanishes without tokens", () => {
    expect(cutSentence("ab, cd.", tokenizer, 6)).toEqual(["ab, cd."]);
    expect(cutSentence("\u200b", tokenizer, 6)).toEqual([]);
  });

  it("loses no token, and no part is longer than allowed unless it is one word", () => {
    const sentence = fc.stringMatching(/^[a-f]{1,9}([ ,.][a-f]{1,9}){0,30}$/);
    fc.assert(
      fc.property(sentence, fc.integer({ min: 3, max: 20 }), (text, capacity) => {
        const parts = cutSentence(text, tokenizer, capacity);
        expect(parts.flatMap((part) => [...tokenizer.encode(part)])).toEqual([...tokenizer.encode(text)]);
        for (const part of parts) {
          expect(tokenizer.encode(part).length <= capacity || /^[a-f]+$/.test(part)).toBe(true);
        }
      }),
    );
  });
});
