import { describe, expect, it } from "vitest";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";
import { WordPieceTokenizer } from "../../../src/tokenization/wordpiece-tokenizer.js";

const vocabulary = Vocabulary.fromTokens([
  ..."[PAD] [UNK] un ##aff ##able aff able the ##s ##ed jump a ##a , . ##. unaf ##f".split(" "),
  ...["\u00e9", "##\u00e9", "##", "\u{20000}", "##\u{20000}"],
]);
const wordPiece = new WordPieceTokenizer({ vocabulary });

describe("WordPiece", () => {
  it.each([
    ["unaffable", "unaf ##f ##able"], // the longest beginning, though un ##aff ##able has fewer leftovers
    ["unaffs", "unaf ##f ##s"],
    ["jumpx", "[UNK]"],
    ["xjump", "[UNK]"],
    ["the", "the"],
    ["thes jumped", "the ##s jump ##ed"],
    ["  the\u2003\u0085jump\n", "the jump"],
    ["", ""],
    ["\u00e9\u00e9a", "\u00e9 ##\u00e9 ##a"],
    ["\u00e8", "[UNK]"], // shares its first byte with a token
    ["a\u{20000}a", "a ##\u{20000} ##a"],
    ["##able", "##able"], // taken literally; the basic tokenizer never makes such a word
    ["##x", "[UNK]"],
  ])("cuts %j into %j", (text, pieces) => {
    expect(wordPiece.tokenize(text).join(" ")).toBe(pieces);
  });

  it("counts characters, not bytes or UTF-16 units, against the limit of 200", () => {
    expect(wordPiece.tokenize("a".repeat(200))).toEqual(["a", ...Array(199).fill("##a")]);
    expect(wordPiece.tokenize("a".repeat(201))).toEqual(["[UNK]"]);
    expect(wordPiece.tokenize("\u{20000}".repeat(200))).toHaveLength(200);
    expect(wordPiece.tokenize("\u{20000}".repeat(201))).toEqual(["[UNK]"]);
    expect(wordPiece.tokenize(`${"\u00e9".repeat(100)}${"a".repeat(101)}`)).toEqual(["[UNK]"]);
  });

  it("takes another limit and another unknown token", () => {
    const other = new WordPieceTokenizer({ vocabulary, maxCharsPerWord: 2, unknownToken: "the" });
    expect(other.tokenize("aa aaa")).toEqual(["a", "##a", "the"]);
  });

  it("never matches an empty continuation, though ## is a token", () => {
    expect(wordPiece.tokenize("aq")).toEqual(["[UNK]"]);
  });

  it("uses the last of equal tokens", () => {
    const doubled = new WordPieceTokenizer({
      vocabulary: Vocabulary.fromTokens(["[UNK]", "a", "##a", "a", "##a"]),
    });
    const ids = new Int32Array(2);
    expect(doubled.encodeWord(new TextEncoder().encode("aa"), 0, 2, ids, 0)).toBe(2);
    expect([...ids]).toEqual([3, 4]);
  });

  it("cannot be made without the unknown token or with a limit that is none", () => {
    expect(() => new WordPieceTokenizer({ vocabulary: Vocabulary.fromTokens(["a"]) })).toThrow(
      /lacks \[UNK\]/,
    );
    for (const maxCharsPerWord of [0, -1, 1.5, Number.NaN]) {
      expect(() => new WordPieceTokenizer({ vocabulary, maxCharsPerWord })).toThrow(/positive integer/);
    }
  });

  it("finds every token of a vocabulary much larger than its first tables", () => {
    const tokens = ["[UNK]"];
    for (let i = 0; i < 30_000; i++) tokens.push(`w${i * 7919}`, `##v${i}`);
    const large = new WordPieceTokenizer({ vocabulary: Vocabulary.fromTokens(tokens) });
    const wrong: number[] = [];
    for (let i = 0; i < 30_000; i++) {
      if (large.tokenize(`w${i * 7919}v${i}`).join(" ") !== `w${i * 7919} ##v${i}`) wrong.push(i);
    }
    expect(wrong).toEqual([]);
  });
});
