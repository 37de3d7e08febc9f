import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareByCodePoints } from "../../../src/tokenization/code-point-order.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";
import { WordCounter } from "../../../src/tokenization/word-counter.js";
import { trainWordPiece } from "../../../src/tokenization/wordpiece-trainer.js";

type Words = readonly (readonly [string, number])[];

const CORPUS: Words = [
  ["low", 5],
  ["lower", 2],
  ["newest", 6],
  ["widest", 3],
  [".", 4],
];

/** Counts all pairs anew for every join: slow, obvious. */
function plainJoins(words: Words, joins: number, minFrequency: number): string[] {
  const spelling = words.map(([word, count]) => ({
    pieces: Array.from(word, (c, i) => (i === 0 ? c : `##${c}`)),
    count,
  }));
  const made: string[] = [];
  while (made.length < joins) {
    const counts = new Map<string, number>();
    for (const { pieces, count } of spelling) {
      for (let i = 0; i + 1 < pieces.length; i++) {
        const pair = `${pieces[i]} ${pieces[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + count);
      }
    }
    const order = (a: string, b: string): number => {
      const [left, right] = [a.split(" "), b.split(" ")];
      return compareByCodePoints(left[0]!, right[0]!) || compareByCodePoints(left[1]!, right[1]!);
    };
    const best = [...counts]
      .filter(([, count]) => count >= minFrequency)
      .sort(([a, x], [b, y]) => y - x || order(a, b))[0];
    if (best === undefined) break;
    const [left, right] = best[0].split(" ") as [string, string];
    const joined = left + right.slice(2);
    if (!made.includes(joined)) made.push(joined);
    for (const word of spelling) {
      const pieces: string[] = [];
      for (const piece of word.pieces) {
        // A piece just made cannot be the left side again: it is longer.
        if (piece === right && pieces.at(-1) === left) pieces[pieces.length - 1] = joined;
        else pieces.push(piece);
      }
      word.pieces = pieces;
    }
  }
  return made;
}

describe("the WordPiece trainer", () => {
  it("joins the most frequent pairs of the textbook example", () => {
    const { vocabulary } = trainWordPiece(CORPUS, { vocabSize: 5 + 21 + 6 });
    expect(vocabulary.tokens.slice(-6)).toEqual(
      ["##es", "##est", "##ow", "low", "##ew", "##ewest"].slice(0, 6),
    );
  });

  it("lays the vocabulary out like BERT's: padding, unused, special tokens, alphabet, pieces", () => {
    const { vocabulary, alphabetSize, joinedPieces } = trainWordPiece(CORPUS, {
      vocabSize: 40,
      unusedTokens: 3,
    });
    expect(vocabulary.tokens.slice(0, 8)).toEqual(
      "[PAD] [unused0] [unused1] [unused2] [UNK] [CLS] [SEP] [MASK]".split(" "),
    );
    const alphabet = vocabulary.tokens.slice(8, 8 + alphabetSize);
    const letters = [..."deilnorstw"];
    expect(alphabet).toEqual([".", ...letters, ...letters.map((c) => `##${c}`)]);
    expect(vocabulary.size).toBe(8 + alphabetSize + joinedPieces);
    expect(vocabulary.duplicates).toEqual([]);
  });

  it("takes further special tokens, which follow the unused ones", () => {
    const specialTokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[ENT]"];
    const { vocabulary } = trainWordPiece(CORPUS, { vocabSize: 40, unusedTokens: 1, specialTokens });
    expect(vocabulary.require(["[PAD]", "[unused0]", "[UNK]", "[ENT]"])).toEqual([0, 1, 2, 6]);
  });

  it("does not depend on the order of the words, nor on how their counts are divided", () => {
    const word = fc.tuple(fc.stringMatching(/^[a-d\u{1f600}\uff41]{1,6}$/u), fc.integer({ min: 1, max: 5 }));
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 20 }),
        fc.infiniteStream(fc.nat()),
        (words, random) => {
          const shuffled = words
            .flatMap(([text, count]) => Array.from({ length: count }, () => [text, 1] as const))
            .map((entry) => ({ entry, key: random.next().value as number }))
            .sort((a, b) => a.key - b.key)
            .map(({ entry }) => entry);
          const options = { vocabSize: 40, minFrequency: 1 };
          expect(trainWordPiece(shuffled, options)).toEqual(trainWordPiece(words, options));
        },
      ),
      { numRuns: 100 },
    );
  });

  it("equals joining with all pairs counted anew each time", () => {
    const word = fc.tuple(fc.stringMatching(/^[abc]{1,8}$/), fc.integer({ min: 1, max: 4 }));
    fc.assert(
      fc.property(
        fc.uniqueArray(word, { minLength: 1, maxLength: 15, selector: ([text]) => text }),
        fc.integer({ min: 1, max: 3 }),
        (words, minFrequency) => {
          const { vocabulary, joinedPieces, alphabetSize } = trainWordPiece(words, {
            vocabSize: 30,
            minFrequency,
          });
          const expected = plainJoins(words, 30 - 5 - alphabetSize, minFrequency);
          expect(vocabulary.tokens.slice(vocabulary.size - joinedPieces)).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("stops early when no pair is frequent enough", () => {
    const words: Words = [
      ["ab", 3],
      ["cd", 2],
    ];
    expect(trainWordPiece(words, { vocabSize: 100, minFrequency: 3 }).joinedPieces).toBe(1);
    expect(trainWordPiece(words, { vocabSize: 100, minFrequency: 2 }).joinedPieces).toBe(2);
  });

  it("leaves out words with characters beyond the alphabet limit, ties by code point, and overlong words", () => {
    const words: Words = [
      ["aab", 4],
      ["zb", 1],
      ["yb", 1],
      ["a".repeat(201), 7],
    ];
    const { vocabulary, skippedOccurrences, occurrences } = trainWordPiece(words, {
      vocabSize: 50,
      alphabetLimit: 3,
    });
    expect(vocabulary.has("y") && !vocabulary.has("z")).toBe(true);
    expect([skippedOccurrences, occurrences]).toEqual([8, 13]);
  });

  it("gives letters and digits both forms, other characters only those seen", () => {
    const { vocabulary } = trainWordPiece(
      [
        ["b\u00e9", 9],
        [".", 9],
      ],
      { vocabSize: 9 + 1 },
    );
    expect(vocabulary.tokens.slice(5)).toEqual([".", "b", "##b", "##\u00e9", "b\u00e9"]);
  });

  it("makes a piece of a word that spells like a reserved token, not a second line", () => {
    const { vocabulary } = trainWordPiece([["[UNK]", 50]], { vocabSize: 60, minFrequency: 1 });
    expect(vocabulary.duplicates).toEqual([]);
  });

  it("makes vocabularies that read back and leave nothing of their text unknown", () => {
    const text =
      "The quick brown fox, quickly followed by 3 foxes, jumped. \u4e2d\u6587 caf\u00e9 \u201cquoted\u201d fox's\n";
    const counter = new WordCounter();
    for (let i = 0; i < 3; i++) counter.add(text);
    const trained = trainWordPiece(counter.counts(), { vocabSize: 120, unusedTokens: 2 }).vocabulary;
    const vocabulary = Vocabulary.parse(trained.toText());
    expect(vocabulary.tokens).toEqual(trained.tokens);
    const tokenizer = new Tokenizer({ vocabulary });
    const ids = tokenizer.encode(text);
    expect(ids).not.toContain(vocabulary.idOf("[UNK]"));
    expect(tokenizer.decode(ids)).toBe(tokenizer.basic.tokenize(text).join(" "));
  });

  it.each([
    [{ vocabSize: 20 }, "no room"],
    [{ vocabSize: 0 }, "vocabSize"],
    [{ vocabSize: 1.5 }, "vocabSize"],
    [{ vocabSize: 99, minFrequency: 0 }, "minFrequency"],
    [{ vocabSize: 99, alphabetLimit: 0 }, "alphabetLimit"],
    [{ vocabSize: 99, unusedTokens: -1 }, "unusedTokens"],
    [{ vocabSize: 99, maxCharsPerWord: 0 }, "maxCharsPerWord"],
    [{ vocabSize: 99, specialTokens: ["[PAD]", "[UNK]"] }, "specialTokens"],
    [{ vocabSize: 99, specialTokens: ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"] }, "begin with [PAD]"],
  ])("refuses %j", (options, message) => {
    expect(() => trainWordPiece(CORPUS, options)).toThrow(message);
  });

  it("refuses to learn from nothing", () => {
    expect(() => trainWordPiece([], { vocabSize: 99 })).toThrow("no words");
    expect(() => trainWordPiece([["ab", 0]], { vocabSize: 99 })).toThrow("no words");
  });
});

describe("code point order", () => {
  it("puts characters beyond the basic plane last, which UTF-16 order does not", () => {
    const sorted = ["\u{10000}", "\uff21", "b", "a\u{1f600}", "a\uffee", "a", ""].sort(compareByCodePoints);
    expect(sorted).toEqual(["", "a", "a\uffee", "a\u{1f600}", "b", "\uff21", "\u{10000}"]);
  });
});
