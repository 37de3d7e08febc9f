import { describe, expect, it } from "vitest";
import { heldOutSentences } from "../../../src/electric/held-out-sentences.js";
import { rankPairs, scorePairs } from "../../../src/electric/pair-ranking.js";
import { SentenceChanges } from "../../../src/electric/sentence-changes.js";
import { UnigramScorer } from "../../../src/electric/unigram-scorer.js";
import { SeededRandom } from "../../../src/metrics/seeded-random.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";

const letters = [..."abcdefghijklmnopqrstuvwxyz"];
const nouns = letters.map((letter) => `${letter}oun`);
const tokenizer = new Tokenizer({
  vocabulary: Vocabulary.fromTokens([
    "[UNK]",
    ...letters,
    ...letters.map((letter) => `##${letter}`),
    ...nouns,
    ..."the of and people nation peace , . - '".split(" "),
  ]),
});
/** Frequencies a tenth apart; `the` is by far the most frequent. Words of several tokens among them. */
const wordCounts = new Map([
  ...nouns.map((word, k): [string, number] => [word, Math.round(100 * 1.05 ** k)]),
  ["the", 100_000],
  ["zest", 99],
  ["zeal", 100],
  ["zero", 101],
  ["rare", 2],
]);
const changesWith = (seed: number) =>
  new SentenceChanges({ tokenizer, wordCounts, random: new SeededRandom(seed) });

const seeds = Array.from({ length: 60 }, (_, seed) => seed);
const sentence = "The people's noun, a well-known doun of peace and the foun.";
const wordsOf = (text: string): string[] => text.toLowerCase().match(/[a-z]+|[^a-z\s]/g)!;

describe("swapping two words", () => {
  it("changes two places, keeps the words, and leaves parts of compounds and contractions alone", () => {
    const pairs = new Set<string>();
    for (const seed of seeds) {
      const { original, changed } = changesWith(seed).swap(sentence)!;
      expect(original).toBe(sentence);
      const [before, after] = [wordsOf(original), wordsOf(changed)];
      const differing = before.flatMap((word, k) => (word === after[k] ? [] : [k]));
      expect(differing).toHaveLength(2);
      const [first, second] = differing as [number, number];
      expect([after[first], after[second]]).toEqual([before[second], before[first]]);
      expect(changed).toContain("people's");
      expect(changed).toContain("well-known");
      expect(tokenizer.encode(changed)).toHaveLength(tokenizer.encode(original).length);
      pairs.add(`${before[first]} ${before[second]}`);
    }
    expect(pairs.size).toBeGreaterThan(10);
    expect([...pairs].every((pair) => !/people|well|known/.test(pair))).toBe(true);
  });

  it("keeps capitals where they stand", () => {
    const swapped = seeds.map((seed) => changesWith(seed).swap("Peace and Nation")!.changed);
    expect(new Set(swapped)).toEqual(new Set(["And peace Nation", "Nation and Peace", "Peace nation And"]));
  });

  it("finds nothing where there are no two different words", () => {
    expect(changesWith(1).swap("Peace, peace, 1945.")).toBeUndefined();
    expect(changesWith(1).swap("Peace.")).toBeUndefined();
  });
});

describe("replacing a word", () => {
  it("takes one of as many tokens and about the same frequency, rarer as often as not", () => {
    let rarer = 0;
    let replaced = 0;
    for (const seed of seeds) {
      for (const word of ["loun", "moun", "zeal"]) {
        const pair = changesWith(seed).replace(`the ${word}.`);
        if (pair === undefined) continue;
        const other = pair.changed.slice("the ".length, -1);
        const [was, is] = [wordCounts.get(word)!, wordCounts.get(other)!];
        expect(Math.max(was / is, is / was)).toBeLessThanOrEqual(1.25);
        expect(other).not.toBe(word);
        expect(tokenizer.encode(other)).toHaveLength(tokenizer.encode(word).length);
        if (word === "zeal") expect(["zest", "zero"]).toContain(other);
        else {
          replaced++;
          rarer += is < was ? 1 : 0;
        }
      }
    }
    expect(replaced).toBeGreaterThan(100);
    expect(Math.abs(rarer / replaced - 0.5)).toBeLessThan(0.15);
  });

  it("leaves words alone that are unknown, too rare or without a neighbour", () => {
    for (const seed of seeds) {
      expect(changesWith(seed).replace("The rare unknown, the 1945.")).toBeUndefined();
      const { changed } = changesWith(seed).replace(sentence) ?? { changed: sentence };
      expect(changed).toMatch(/^The people's .* a well-known .* and the /);
    }
  });

  it("depends on the seed and on nothing else", () => {
    const reversed = new SentenceChanges({
      tokenizer,
      wordCounts: new Map([...wordCounts].reverse()),
      random: new SeededRandom(3),
    });
    const changes = changesWith(3);
    const made = (from: SentenceChanges) => seeds.map(() => from.replace(sentence)?.changed);
    const first = made(changes);
    expect(made(reversed)).toEqual(first);
    expect(new Set(first).size).toBeGreaterThan(5);
  });
});

describe("the unigram scorer", () => {
  const counts = new Float64Array(tokenizer.vocabulary.size);
  counts[tokenizer.encode("the")[0]!] = 7;
  counts[tokenizer.encode("of")[0]!] = 2;
  const scorer = new UnigramScorer(tokenizer, counts);

  it("adds up smoothed log-frequencies", () => {
    const total = 9 + tokenizer.vocabulary.size;
    const [found, empty] = scorer.score(["the of peace", ""]);
    expect(found!.score).toBeCloseTo(Math.log(8 / total) + Math.log(3 / total) + Math.log(1 / total), 12);
    expect(found!.mean).toBeCloseTo(found!.score / 3, 12);
    expect(empty).toEqual({ score: 0, mean: 0 });
  });

  it("ties exactly when words change places", async () => {
    const pairs = seeds.map((seed) => changesWith(seed).swap(sentence)!);
    expect(rankPairs(await scorePairs(pairs, scorer))).toMatchObject({
      pairs: seeds.length,
      above: 0,
      ties: seeds.length,
      share: 0.5,
    });
  });
});

it("pairs are ranked by their sums, ties counting half, and each text is scored once", async () => {
  const asked: string[][] = [];
  const scores: Record<string, number> = { a: 1, b: 0, c: 1, d: 2 };
  const scorer = {
    score: (texts: readonly string[]) => {
      asked.push([...texts]);
      return texts.map((text) => ({ score: scores[text]!, mean: 0 }));
    },
  };
  const pairs = ["ab", "ac", "ad", "da"].map((pair) => ({ original: pair[0]!, changed: pair[1]! }));
  const ranking = rankPairs(await scorePairs(pairs, scorer));
  expect(asked).toEqual([["a", "b", "c", "d"]]);
  expect(ranking).toMatchObject({ pairs: 4, above: 2, ties: 1, share: 2.5 / 4 });
  expect(ranking.lower).toBeLessThan(0.5);
});

it("held-out sentences are whole, of the wanted length, each once, and not stock phrases of the training texts", () => {
  const training = [{ text: "May God bless America. We meet again today." }];
  const heldOut = [
    { text: "We meet again today. The state of the union is strong.\nwhich was cut off here. What is it?" },
    { text: "The state of the union is strong. Too short. It is, as all can see, far too long for this." },
  ];
  expect(heldOutSentences({ training, heldOut, fewestWords: 3, mostWords: 8 })).toEqual([
    "The state of the union is strong.",
    "What is it?",
  ]);
});
