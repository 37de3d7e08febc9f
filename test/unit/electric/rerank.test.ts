import { describe, expect, it } from "vitest";
import { parseTruth } from "../../../src/electric/development-truth.js";
import { measureRerank } from "../../../src/electric/measure-rerank.js";
import { formatNBest, parseNBest } from "../../../src/electric/nbest-format.js";
import { rerank, type ScoredList } from "../../../src/electric/rerank.js";
import { scoreNBest } from "../../../src/electric/score-nbest.js";
import type { TextScorer } from "../../../src/electric/text-scorer.js";
import { defaultWeights, tuneWeight } from "../../../src/electric/tune-weight.js";
import { wordErrors } from "../../../src/electric/word-errors.js";
import { ElectraError } from "../../../src/errors.js";

const scored = (id: string, ...entries: readonly [string, number, number, number?][]): ScoredList => ({
  id,
  entries: entries.map(([hypothesis, score, likelihood, tokens = 1]) => ({
    hypothesis,
    score,
    likelihood: { score: likelihood, mean: likelihood / tokens },
  })),
});
const order = (lists: readonly ScoredList[], weight: number, normalize = false): string[][] =>
  rerank(lists, { weight, normalize }).map(({ entries }) => entries.map(({ hypothesis }) => hypothesis));

describe("re-ranking", () => {
  it("orders by score plus weight times likelihood; equal totals stay as they were", () => {
    const lists = [scored("1", ["a", -1, -10], ["b", -2, -8], ["c", -3, -6])];
    expect(order(lists, 0)).toEqual([["a", "b", "c"]]);
    expect(order(lists, 0.5)).toEqual([["a", "b", "c"]]);
    expect(order(lists, 1)).toEqual([["c", "b", "a"]]);
    expect(rerank(lists, { weight: 1 })[0]!.entries[0]!.total).toBe(-9);
  });

  it("weighs the mean over the tokens when normalised, so that a long hypothesis is not worse for its length", () => {
    const lists = [scored("1", ["long", -1, -12, 6], ["short", -1, -9, 3])];
    expect(order(lists, 1)).toEqual([["short", "long"]]);
    expect(order(lists, 1, true)).toEqual([["long", "short"]]);
  });

  it("refuses a weight that is negative or no number", () => {
    for (const weight of [-1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => rerank([], { weight })).toThrow(`the weight is ${weight}`);
  });

  it("asks the scorer once for a text that stands in several places", async () => {
    const asked: string[][] = [];
    const scorer: Pick<TextScorer, "score"> = {
      score: async (texts) => {
        asked.push([...texts]);
        return texts.map((text) => ({ score: -text.length, mean: -1, tokens: [] }));
      },
    };
    const { lists } = parseNBest("1 ||| ab ||| 0\n1 ||| abc ||| 0\n2 ||| ab ||| 0\n", "x");
    const found = await scoreNBest(lists, scorer);
    expect(asked).toEqual([["ab", "abc"]]);
    expect(found.map(({ entries }) => entries.map(({ likelihood }) => likelihood.score))).toEqual([
      [-2, -3],
      [-2],
    ]);
  });
});

describe("a suffix", () => {
  it("is scored with every hypothesis, and is no part of it", async () => {
    const asked: string[] = [];
    const scorer: Pick<TextScorer, "score"> = {
      score: async (texts) => {
        asked.push(...texts);
        return texts.map((text) => ({ score: -text.length, mean: -1, tokens: [] }));
      },
    };
    const { lists } = parseNBest("1 ||| ab ||| 0\n1 ||| c ||| 0\n", "x");
    const [found] = await scoreNBest(lists, scorer, { suffix: " ." });
    expect(asked).toEqual(["ab .", "c ."]);
    expect(found!.entries.map(({ hypothesis, likelihood }) => [hypothesis, likelihood.score])).toEqual([
      ["ab", -4],
      ["c", -3],
    ]);
  });
});

describe("picking the weight", () => {
  // The right hypotheses are likelier, by 5 and 1; their own scores are worse by 1 and 0.5.
  const development = [
    {
      list: scored("1", ["the cat sad", -1, -10], ["the cat sat", -2, -5]),
      truth: { reference: "the cat sat" },
    },
    { list: scored("2", ["a dog's", -1, -3], ["a dog", -1.5, -2]), truth: { reference: "a dog" } },
    // Too great a weight loses this one.
    { list: scored("3", ["so it is", -1, -9], ["so is", -4, -4]), truth: { reference: "so it is" } },
  ];

  it("takes the weight with the fewest word errors, the smallest of equals, and gives the curve", () => {
    const tuned = tuneWeight(development, { grid: [0.1, 0.3, 0.55, 0.58, 1] });
    expect(tuned.metric).toBe("word-error-rate");
    // Words: 3 + 2 + 3. At 0: "sad" and "dog's". At 0.3 the first is right; 0.55 and above gain the second when > 0.5.
    expect(tuned.baseline).toBe(2 / 8);
    expect(tuned).toMatchObject({ weight: 0.55, value: 0, oracle: 0 });
    expect(tuned.trials).toEqual([
      { weight: 0, value: 2 / 8 },
      { weight: 0.1, value: 2 / 8 },
      { weight: 0.3, value: 1 / 8 },
      { weight: 0.55, value: 0 },
      { weight: 0.58, value: 0 },
      { weight: 1, value: 1 / 8 },
    ]);
  });

  it("counts lists for the oracle accuracy, with references or with chosen places", () => {
    expect(tuneWeight(development, { metric: "oracle-accuracy", grid: [0.3, 0.55] })).toMatchObject({
      weight: 0.55,
      value: 1,
      baseline: 1 / 3,
      oracle: 1,
    });
    const chosen = development.map(({ list }, k) => ({ list, truth: { chosen: k === 2 ? 1 : 0 } }));
    expect(tuneWeight(chosen, { metric: "oracle-accuracy", grid: [0.3, 1] })).toMatchObject({
      weight: 0,
      value: 2 / 3,
      oracle: 1,
    });
  });

  it("tries 0 and weights from 0.001 to 1000 by itself", () => {
    expect(tuneWeight(development).trials.map(({ weight }) => weight)).toEqual(defaultWeights);
    expect([defaultWeights[0], defaultWeights[1], defaultWeights.at(-1)]).toEqual([0, 0.001, 1000]);
  });

  it("measures a weight that was picked elsewhere, and how much of its gain is luck with the lists", () => {
    // At 1 the first two lists become right, the third one loses a word: 8 words in all.
    const measured = measureRerank(development, { weight: 1 });
    expect(measured).toMatchObject({ lists: 3, weight: 1, value: 1 / 8, baseline: 2 / 8, oracle: 0 });
    expect(measured).toMatchObject({ gain: 1 / 8, better: 2, worse: 1 });
    // Drawn thrice, the second list alone gains a word of two; the third alone loses one of three.
    expect([measured.gainLower, measured.gainUpper]).toEqual([-1 / 3, 1 / 2]);
    expect(measureRerank(development, { weight: 1, seed: 7 }).gain).toBe(measured.gain);
    expect(measureRerank(development, { weight: 0 })).toMatchObject({ gain: 0, gainLower: 0, gainUpper: 0 });
    const accuracy = measureRerank(development, { weight: 1, metric: "oracle-accuracy" });
    expect(accuracy).toMatchObject({ value: 2 / 3, baseline: 1 / 3, better: 2, worse: 1 });
    expect(accuracy.gain).toBeCloseTo(1 / 3, 12);
    expect(() => measureRerank([], { weight: 1 })).toThrow("no lists to measure");
  });

  it("refuses what has no word error rate", () => {
    expect(() => tuneWeight([])).toThrow("there are no development lists");
    expect(() => tuneWeight([{ list: development[0]!.list, truth: { chosen: 0 } }])).toThrow(
      'the list "1" has no reference',
    );
    expect(() => tuneWeight([{ list: development[0]!.list, truth: { reference: " " } }])).toThrow("no words");
    expect(() => tuneWeight(development, { grid: [-1] })).toThrow("the grid holds the weight -1");
  });

  it.each([
    ["the cat sat", "the cat sat", 0],
    ["the cat sat", "the  bat sat ", 1],
    ["the cat sat", "cat sat down", 2],
    ["", "two words", 2],
    ["two words", "", 2],
  ])("%j heard as %j makes %i word errors", (reference, hypothesis, errors) => {
    expect(wordErrors(reference, hypothesis)).toBe(errors);
  });
});

describe("files of n-best lists", () => {
  it("in JSONL keep the order of ids and every field of others", () => {
    const text =
      '{"id":7,"hypothesis":"a","score":-1,"lang":"en"}\r\n\n{"id":"x","hypothesis":"","score":2e1}\n{"id":7,"hypothesis":"b","score":-2}\n';
    const { format, lists } = parseNBest(text, "f");
    expect(format).toBe("jsonl");
    expect(
      lists.map(({ id, entries }) => [id, entries.map(({ hypothesis, score }) => [hypothesis, score])]),
    ).toEqual([
      [
        "7",
        [
          ["a", -1],
          ["b", -2],
        ],
      ],
      ["x", [["", 20]]],
    ]);
    const ranked = rerank(
      lists.map((list) => ({
        ...list,
        entries: list.entries.map((entry) => ({
          ...entry,
          likelihood: { score: entry.hypothesis === "b" ? 0 : -4, mean: 0 },
        })),
      })),
      { weight: 0.5 },
    );
    expect(
      formatNBest(ranked, format)
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { id: 7, hypothesis: "b", score: -2, pseudo_log_likelihood: 0, total: -2, rank: 0 },
      { id: 7, hypothesis: "a", score: -1, lang: "en", pseudo_log_likelihood: -4, total: -3, rank: 1 },
      { id: "x", hypothesis: "", score: 20, pseudo_log_likelihood: -4, total: 18, rank: 0 },
    ]);
  });

  it("with bars keep features and what is behind the score, and can be read again", () => {
    const { format, lists } = parseNBest(
      "0 ||| a b ||| lm= -3 tm= 2 ||| -1 ||| 0-0 1-1\n0 ||| c ||| -2.5\n",
      "f",
    );
    expect(format).toBe("bars");
    const [list] = lists;
    expect(list!.entries).toEqual([
      { hypothesis: "a b", score: -1, features: "lm= -3 tm= 2", rest: ["0-0 1-1"] },
      { hypothesis: "c", score: -2.5, rest: [] },
    ]);
    const entries = list!.entries.map((entry) => ({ ...entry, likelihood: { score: -2, mean: -1 } }));
    const written = formatNBest(rerank([{ id: "0", entries }], { weight: 1 }), format);
    expect(written).toBe(
      "0 ||| a b ||| lm= -3 tm= 2 PseudoLogLikelihood= -2 ||| -3 ||| 0-0 1-1\n0 ||| c ||| PseudoLogLikelihood= -2 ||| -4.5\n",
    );
    expect(parseNBest(written, "g").lists[0]!.entries.map(({ score }) => score)).toEqual([-3, -4.5]);
  });

  it.each([
    ["0 ||| a ||| 1\n0 ||| b\n", "f:2: 2 fields between bars"],
    ["0 ||| a ||| many", 'f:1: the score is "many"'],
    ["0 ||| a ||| x= 1 ||| ", 'f:1: the score is ""'],
    ["||| a ||| 1", "f:1: the id is empty"],
    ['\n{"id":1,"hypothesis":"a","score":1}\n{"id"\n', "f:3: not valid JSON"],
    ['{"hypothesis":"a","score":1}', 'f:1: "id" is undefined'],
    ['{"id":1,"hypothesis":null,"score":1}', 'f:1: "hypothesis" is null'],
    ['{"id":1,"hypothesis":"a","score":"1"}', 'f:1: "score" is "1"'],
    [" \n", "f: no hypotheses"],
  ])("%j is refused with place and remedy", (text, message) => {
    expect(() => parseNBest(text, "f")).toThrow(message);
    try {
      parseNBest(text, "f");
    } catch (error) {
      expect(error).toBeInstanceOf(ElectraError);
      expect(error).toMatchObject({
        code: "ERR_ELECTRA_NBEST",
        exitCode: 2,
        hint: expect.stringContaining("|||"),
      });
    }
  });
});

describe("the truth for n-best lists", () => {
  const { lists } = parseNBest("u1 ||| a ||| 1\nu2 ||| b ||| 1\nu2 ||| c ||| 0\n", "n");

  it.each([
    ['{"id":"u2","reference":"b"}\n{"id":"u1","reference":"a"}\n'],
    ["u2 ||| b\nother ||| x\nu1 ||| a\n"],
    ["a\nb\n"],
  ])("is read from %j", (text) => {
    expect(parseTruth(text, "t", lists)).toEqual([{ reference: "a" }, { reference: "b" }]);
  });

  it("may be a chosen place, or an empty line", () => {
    expect(parseTruth('{"id":"u1","chosen":0}\n{"id":"u2","chosen":1}', "t", lists)).toEqual([
      { chosen: 0 },
      { chosen: 1 },
    ]);
    expect(parseTruth("a\n\n", "t", lists)).toEqual([{ reference: "a" }, { reference: "" }]);
  });

  it.each([
    ["u1 ||| a\n", 't: no line for the id "u2"'],
    ["u1 ||| a\nu1 ||| b\n", 't:2: a second line for the id "u1"'],
    ["u1 ||| a ||| 3\n", "t:1: 3 fields between bars"],
    ["a\nb\nc\n", "t: 3 references for 2 lists"],
    ['{"id":"u1","chosen":1}', 't:1: "chosen" is 1, but the list has 1'],
    ['{"id":"u1"}', 't:1: neither "reference"'],
    ['{"reference":"a"}', 't:1: "id" is undefined'],
    ["{", "t:1: not valid JSON"],
    ["", "t: no references"],
  ])("%j is refused with its place", (text, message) => {
    expect(() => parseTruth(text, "t", lists)).toThrow(message);
  });
});
