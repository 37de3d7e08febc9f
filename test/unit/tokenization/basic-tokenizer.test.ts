import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BasicTokenizer } from "../../../src/tokenization/basic-tokenizer.js";
import { CharacterClass, characterClass } from "../../../src/tokenization/character-class.js";
import { BASIC_TOKENIZER_CASES, DECOMPOSITION_CASES } from "./basic-tokenizer-cases.js";
import { CHANGED_SINCE, plainWords } from "./plain-tokenizer.js";
import { trickyText } from "./tricky-text.js";

describe("the basic tokenizer", () => {
  it.each(
    BASIC_TOKENIZER_CASES.map(([text, stripped, lower = stripped, cased = lower]) => ({
      text,
      words: { stripped, lower, cased },
    })),
  )("splits $text as the reference does, in all modes", ({ text, words }) => {
    expect({
      stripped: new BasicTokenizer().tokenize(text),
      lower: new BasicTokenizer({ stripAccents: false }).tokenize(text),
      cased: new BasicTokenizer({ lowerCase: false }).tokenize(text),
    }).toEqual(words);
  });

  it.each(DECOMPOSITION_CASES)("decomposes %j before it looks for punctuation", (text, expected) => {
    expect(new BasicTokenizer().tokenize(text)).toEqual(expected);
  });

  it("never strips accents while cased, whatever it is told", () => {
    const tokenizer = new BasicTokenizer({ lowerCase: false, stripAccents: true });
    expect(tokenizer.stripAccents).toBe(false);
    expect(tokenizer.tokenize("Caf\u00e9")).toEqual(["Caf\u00e9"]);
  });

  it("equals a plain implementation on tricky text", () => {
    fc.assert(
      fc.property(trickyText, fc.boolean(), fc.boolean(), (text, lowerCase, stripAccents) => {
        const got = new BasicTokenizer({ lowerCase, stripAccents }).tokenize(text);
        expect(got).toEqual(plainWords(text, { lowerCase, stripAccents }));
      }),
      { numRuns: 1000 },
    );
  });

  it("equals a plain implementation around every character that Unicode 14.0 keeps", () => {
    const tokenizer = new BasicTokenizer();
    const wrong: string[] = [];
    for (let c = 0; c < 0x32000; c++) {
      if (characterClass(c) === CharacterClass.DROP || c === CHANGED_SINCE) continue;
      const text = `A${String.fromCodePoint(c)}b`;
      const expected = plainWords(text, { lowerCase: true, stripAccents: true });
      if (tokenizer.tokenize(text).join(" ") !== expected.join(" ")) wrong.push(c.toString(16));
    }
    expect(wrong).toEqual([]);
  });

  it("never makes more characters than the text has bytes, which buffers are measured by", () => {
    const wrong: string[] = [];
    for (const tokenizer of [new BasicTokenizer(), new BasicTokenizer({ stripAccents: false })]) {
      for (let c = 0; c < 0x32000; c++) {
        if (characterClass(c) === CharacterClass.DROP) continue;
        const text = String.fromCodePoint(c);
        const characters = Array.from(tokenizer.tokenize(text).join("")).length;
        if (characters > Buffer.byteLength(text)) wrong.push(c.toString(16));
      }
    }
    expect(wrong).toEqual([]);
  });
});
