import { describe, expect, it, test } from "vitest";
import { segmentWords } from "../../../src/inference/word-segmenter.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";

const vocabulary = Vocabulary.fromTokens([
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  "[MASK]",
  ..."abcdefghijklmnopqrstuvwxyz=.,!'σς中國".split(""),
  ..."abcdefghijklmnopqrstuvwxyz".split("").map((letter) => `##${letter}`),
  "the",
  "##ing",
]);
const tokenizer = new Tokenizer({ vocabulary });

describe("the words of a text", () => {
  test.each<[text: string, words: string[]]>([
    ["The cat, the DOG!", ["The", "cat", ",", "the", "DOG", "!"]],
    ["don't", ["don", "'", "t"]],
    ["  two\tspaces\n", ["two", "spaces"]],
    ["café au lait", ["café", "au", "lait"]],
    ["cafe\u0301 au", ["cafe\u0301", "au"]],
    ["中國 x", ["中", "國", "x"]],
    ["a中b", ["a", "中", "b"]],
    ["İstanbul.", ["İstanbul", "."]],
    ["ΣΑΣ", ["ΣΑΣ"]],
    ["a\u0000b c", ["a\u0000b", "c"]],
    ["", []],
    [" \n", []],
  ])("of %j are %j", (text, expected) => {
    expect(segmentWords(text, tokenizer).map(({ text: word }) => word)).toEqual(expected);
  });

  it("stand where their offsets say, and never overlap", () => {
    const text = "Ça, c'est “l’été” — the thing\u0301ing ≠ x, 中國.";
    let end = 0;
    for (const word of segmentWords(text, tokenizer)) {
      expect(text.slice(word.start, word.end)).toBe(word.text);
      expect(word.start).toBeGreaterThanOrEqual(end);
      end = word.end;
    }
  });

  test.each([
    "The thing, the DOG!",
    "Ça c'est l'été ≠ 中國ing\u00a0x\u2028y a\u200bb",
    "ΑΣ ΣΑΣ. İi",
    "\ud800lone",
  ])("of %j have in a row the ids that the tokenizer gives", (text) => {
    const ids = segmentWords(text, tokenizer).flatMap((word) => [...word.ids]);
    expect(ids).toEqual([...tokenizer.encode(text)]);
  });

  it("lie at their characters also where accents are kept", () => {
    const kept = new Tokenizer({ vocabulary, stripAccents: false });
    expect(segmentWords("l'été, x", kept).map(({ text }) => text)).toEqual(["l", "'", "été", ",", "x"]);
  });
});
