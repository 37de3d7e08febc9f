import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";
import { stripWhiteSpace } from "../../../src/tokenization/white-space.js";
import { BERT_UNCASED_CASES } from "./bert-uncased-cases.js";
import { knownAlike, plainTokenize } from "./plain-tokenizer.js";
import { trickyText, trickyTokens } from "./tricky-text.js";

const dataDir = process.env["ELECTRA_DATA_DIR"] ?? join(import.meta.dirname, "../../../../shared/data");
const bertFile = join(dataDir, "bert-uncased/vocab.txt");

const small = Vocabulary.fromTokens(
  "[PAD] [UNK] [CLS] [SEP] [MASK] un ##aff ##able the ##s [ ] mask , . ' \u201c \u201d \u4e2d \u00e9 cafe caf\u00e9 Cafe".split(
    " ",
  ),
);
const pieces = (text: string, options = {}) =>
  new Tokenizer({ vocabulary: small, ...options }).tokenize(text).join(" ");

describe("the tokenizer", () => {
  it.each([
    ["", ""],
    [" \u3000\n", ""],
    ["Unaffable, the...", "un ##aff ##able , the . . ."],
    ["[MASK]", "[ mask ]"],
    ["\u201cthe\u201d thes'", "\u201c the \u201d the ##s '"],
    ["Caf\u00e9\u4e2dthe\u200bs", "cafe \u4e2d the ##s"],
    ["the\u000bs \u0000 the\u007fs", "the ##s the ##s"],
    ["the\u4e2d\u6587the", "the \u4e2d [UNK] the"],
    ["x\u00e9y the", "[UNK] the"],
    ["the\ud83d", "the"],
  ])("makes of %j the pieces %j", (text, expected) => {
    expect(pieces(text)).toBe(expected);
  });

  it("keeps accents or case when told to", () => {
    expect(pieces("Caf\u00e9 Cafe", { stripAccents: false })).toBe("caf\u00e9 cafe");
    expect(pieces("Caf\u00e9 Cafe", { lowerCase: false })).toBe("[UNK] Cafe");
  });

  it.each([
    ["\u0391\u03a3.\u0391", "\u03b1 ##\u03c3 . \u03b1"], // a letter follows beyond the stop: not final
    ["\u0391\u03a3.", "\u03b1 ##\u03c2 ."],
    ["a\u2019\u03a3", "a \u2019 \u03c2"], // a letter precedes beyond the apostrophe: final
    ["\u2019\u03a3", "\u2019 \u03c3"],
    ["a'\u03a3 \u03a3", "a ' \u03c2 \u03c3"],
    ["a\u4e2d\u03a3", "a \u4e2d \u03c3"], // an ideograph parts like a space
  ])("lower-cases the sigmas of %j by all of their piece, punctuation included", (text, expected) => {
    const vocabulary = Vocabulary.fromTokens([
      "[UNK]",
      ..."a\u03b1\u03c3\u03c2.'\u2019\u4e2d",
      "##\u03c3",
      "##\u03c2",
    ]);
    expect(new Tokenizer({ vocabulary }).tokenize(text).join(" ")).toBe(expected);
  });

  it("limits words to 200 characters, or to another number", () => {
    const vocabulary = Vocabulary.fromTokens(["[UNK]", "a", "##a", "."]);
    const tokenizer = new Tokenizer({ vocabulary });
    expect([...tokenizer.encode("a".repeat(200))]).toEqual([1, ...Array(199).fill(2)]);
    expect([...tokenizer.encode(`.${"a".repeat(201)}.`)]).toEqual([3, 0, 3]);
    // Accents do not count: the limit is applied to what is left.
    expect(tokenizer.encode("a\u0301".repeat(200))).toHaveLength(200);
    expect([...new Tokenizer({ vocabulary, maxCharsPerWord: 2 }).encode("aa aaa")]).toEqual([1, 2, 0]);
  });

  it("equals a plain implementation, from strings and bytes, cold, cached and with a cache that overflows", () => {
    const bytesOf = new TextEncoder();
    fc.assert(
      fc.property(
        fc.array(trickyText, { minLength: 1, maxLength: 4 }),
        trickyTokens,
        fc.record({
          lowerCase: fc.boolean(),
          stripAccents: fc.boolean(),
          maxCharsPerWord: fc.constantFrom(3, 64, 200),
          cacheCapacity: fc.constantFrom(1, 3, 1000),
        }),
        (texts, tokens, options) => {
          const vocabulary = Vocabulary.fromTokens(tokens);
          const tokenizer = new Tokenizer({ vocabulary, ...options });
          const known = new Set(tokens);
          for (const text of [...texts, ...texts]) {
            const expected = plainTokenize(text, known, options).map((token) => vocabulary.idOf(token));
            expect([...tokenizer.encode(text)]).toEqual(expected);
            expect([...tokenizer.encodeBytes(bytesOf.encode(text))]).toEqual(expected);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it("gives a text the same ids with and without white space around it", () => {
    const tokenizer = new Tokenizer({ vocabulary: small });
    const space = fc.array(fc.constantFrom(..." \t\r\u000b\u001c\u0085\u00a0\u2028\u3000"), { maxLength: 3 });
    fc.assert(
      fc.property(space, trickyText, space, (before, text, after) => {
        const stripped = stripWhiteSpace(text);
        expect(tokenizer.encode([...before, stripped, ...after].join(""))).toEqual(
          tokenizer.encode(stripped),
        );
      }),
      { numRuns: 500 },
    );
  });

  it("ignores malformed bytes as a lenient UTF-8 decoder does", () => {
    const byte = fc.oneof(
      fc.constantFrom(
        0x61,
        0x62,
        0x20,
        0x2e,
        0xe2,
        0x80,
        0x94,
        0x99,
        0xe4,
        0xb8,
        0xad,
        0xc3,
        0xa9,
        0xf0,
        0x9f,
        0xed,
      ),
      fc.integer({ min: 0, max: 255 }),
    );
    const tokens = ["[UNK]", "a", "##a", "b", "##b", ".", "\u2014", "\u2019", "\u4e2d", "e", "##e"];
    const vocabulary = Vocabulary.fromTokens(tokens);
    const options = { lowerCase: true, stripAccents: true, maxCharsPerWord: 200 };
    const tokenizer = new Tokenizer({ vocabulary });
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 24 }), (raw) => {
        const bytes = Uint8Array.from(raw);
        const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
        fc.pre(knownAlike(text));
        const expected = plainTokenize(text, new Set(tokens), options).map((token) => vocabulary.idOf(token));
        expect([...tokenizer.encodeBytes(bytes)]).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it("reads and writes within the ranges given, and says how many ids there are", () => {
    const tokenizer = new Tokenizer({ vocabulary: small });
    const bytes = new TextEncoder().encode("the the\u4e2d the caf\u00e9");
    const out = new Int32Array(12).fill(-7);
    // "the" + two of the ideograph's three bytes, which are ignored.
    expect(tokenizer.encodeInto(bytes, 4, 9, out, 3)).toBe(1);
    expect([...out]).toEqual([-7, -7, -7, small.idOf("the"), ...Array(8).fill(-7)]);
    expect([...tokenizer.encodeBytes(bytes, 0, 10)]).toEqual(
      ["the", "the", "\u4e2d"].map((t) => small.idOf(t)),
    );
    expect(() => tokenizer.encodeInto(bytes, 0, 12, out, 1)).toThrow(RangeError);
    expect(() => tokenizer.encodeInto(bytes, 4, 3, out, 0)).toThrow(RangeError);
    expect(() => tokenizer.encodeInto(bytes, 0, bytes.length + 1, new Int32Array(99), 0)).toThrow(RangeError);
  });

  it("gives ids that later calls leave alone, also for texts beyond its buffers", () => {
    const tokenizer = new Tokenizer({ vocabulary: small });
    const first = tokenizer.encode("the the");
    expect(tokenizer.encode("un ".repeat(500_000))).toHaveLength(500_000);
    tokenizer.encode("mask mask mask");
    expect([...first]).toEqual([small.idOf("the"), small.idOf("the")]);
  });

  it("decodes by joining pieces, and leaves special tokens out on demand", () => {
    const tokenizer = new Tokenizer({ vocabulary: small });
    const ids = ["[CLS]", "un", "##aff", "##able", ",", "[UNK]", "[SEP]", "[PAD]"].map((token) =>
      small.idOf(token),
    );
    expect(tokenizer.decode(ids)).toBe("[CLS] unaffable , [UNK] [SEP] [PAD]");
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("unaffable , [UNK]");
    expect(() => tokenizer.decode([99])).toThrow(/Id 99/);
  });

  it("refuses a vocabulary without [UNK] and a cache size that is none", () => {
    expect(() => new Tokenizer({ vocabulary: Vocabulary.fromTokens(["a"]) })).toThrow(/lacks \[UNK\]/);
    for (const cacheCapacity of [0, 1.5, 2 ** 30]) {
      expect(() => new Tokenizer({ vocabulary: small, cacheCapacity })).toThrow(/cacheCapacity/);
    }
  });
});

// Needs shared data: BERT's uncased vocabulary is not part of this repository.
describe.skipIf(!existsSync(bertFile))("with BERT's uncased vocabulary (from ELECTRA_DATA_DIR)", () => {
  const vocabulary = existsSync(bertFile) ? Vocabulary.parse(readFileSync(bertFile, "utf8")) : small;
  const stripping = new Tokenizer({ vocabulary });
  const keeping = new Tokenizer({ vocabulary, stripAccents: false });

  it.each(
    BERT_UNCASED_CASES.map(([text, pieces, ids, accentsKept = pieces]) => ({
      text,
      pieces,
      ids,
      accentsKept,
    })),
  )("$text gets the reference's pieces and ids", ({ text, pieces, ids, accentsKept }) => {
    expect([...stripping.encode(text)]).toEqual(ids);
    expect(stripping.tokenize(text)).toEqual(pieces);
    expect(keeping.tokenize(text)).toEqual(accentsKept);
  });

  it("has the special tokens where they are known to be", () => {
    expect(vocabulary.size).toBe(30522);
    expect(vocabulary.require(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the"])).toEqual([
      0, 100, 101, 102, 103, 1996,
    ]);
    expect(vocabulary.duplicates).toEqual([]);
  });
});
