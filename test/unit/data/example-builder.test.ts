import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BuiltExample, ExampleBuilder } from "../../../src/data/example-builder.js";
import {
  type RecordedDraw,
  RecordedRandomSource,
  SeededRandomSource,
} from "../../../src/data/random-source.js";

const CLS = 1;
const SEP = 2;

/** "100x3": the ids 100, 101, 102; "": a blank line. */
function tokenize(line: string): number[] {
  const [first, count] = line.split("x").map(Number);
  return Array.from({ length: count! }, (_, index) => first! + index);
}

/** Feeds a line of text; a blank one ends the document. The example is a copy: the builder uses its memory again. */
function feed(builder: ExampleBuilder, line: string): BuiltExample | undefined {
  const example = line === "" ? builder.endDocument() : builder.addSentence(tokenize(line));
  return example && { ...example, inputIds: example.inputIds.slice() };
}

function build(lines: readonly string[], draws: readonly RecordedDraw[], maxSeqLength = 16) {
  const random = new RecordedRandomSource(draws);
  const builder = new ExampleBuilder({ maxSeqLength, clsId: CLS, sepId: SEP, random });
  const examples = lines.map((line) => feed(builder, line)).filter((example) => example !== undefined);
  expect(random.remaining).toBe(0);
  return examples;
}

/** The segments of an example, after checking its layout. */
function segments({ inputIds, firstSegmentLength }: BuiltExample): [first: number[], second: number[]] {
  const ids = [...inputIds];
  expect(ids[0]).toBe(CLS);
  expect(ids[firstSegmentLength - 1]).toBe(SEP);
  expect(ids.at(-1)).toBe(SEP);
  return [ids.slice(1, firstSegmentLength - 1), ids.slice(firstSegmentLength, -1)];
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const r = (value: number): RecordedDraw => ["random", value];

/** The reference's outputs for L = 16 (specification, appendix A.2). */
describe("the reference's table", () => {
  const four = ["100x5", "200x5", "300x5", "400x3"];
  const cases: [name: string, lines: string[], draws: RecordedDraw[], results: [number[], number[]][]][] = [
    [
      "second segment after a draw of 0.7; the rest is lost",
      four,
      [r(0.5), r(0.7), r(0.99)],
      [[range(100, 104), [...range(200, 204), ...range(300, 302)]]],
    ],
    [
      "a draw of 0.3 lets the first segment grow",
      four,
      [r(0.5), r(0.3), r(0.99)],
      [[[...range(100, 104), ...range(200, 204)], range(300, 302)]],
    ],
    [
      "one segment",
      four,
      [r(0.05), r(0.99)],
      [[[...range(100, 104), ...range(200, 204), ...range(300, 303)], []]],
    ],
    [
      "a later short sentence goes to the first segment",
      ["100x3", "200x6", "300x2", "400x6"],
      [r(0.5), r(0.9), r(0.99)],
      [
        [
          [...range(100, 102), 300, 301],
          [...range(200, 205), 400, 401],
        ],
      ],
    ],
    ["an overlong line", ["100x40"], [r(0.5), r(0.99)], [[range(100, 113), []]]],
    [
      "a blank line ends the document",
      ["100x4", "200x4", ""],
      [r(0.5), r(0.9), r(0.99)],
      [[range(100, 103), range(200, 203)]],
    ],
    ["blank lines before text do nothing", ["", "", "100x20"], [r(0.5), r(0.99)], [[range(100, 113), []]]],
    [
      "a short target for the next example",
      ["100x16", "200x4", "300x4"],
      [r(0.5), r(0.01), ["randint", 5, 16, 5], r(0.5), r(0.99)],
      [
        [range(100, 113), []],
        [range(200, 203), range(300, 303)],
      ],
    ],
    ["an example that just fits", ["100x14", ""], [r(0.5), r(0.99)], [[range(100, 113), []]]],
  ];
  test.each(cases)("%s", (_name, lines, draws, results) => {
    expect(build(lines, draws).map(segments)).toEqual(results);
  });
});

test("what did not fit is counted", () => {
  expect(build(["100x40"], [r(0.5), r(0.99)])[0]?.discardedTokens).toBe(26);
  expect(build(["100x5", "200x5", "300x5", "400x3"], [r(0.5), r(0.7), r(0.99)])[0]?.discardedTokens).toBe(5);
  expect(build(["100x4", "200x4", ""], [r(0.5), r(0.9), r(0.99)])[0]?.discardedTokens).toBe(0);
});

test("a sentence's array may be used again, and counts up to the length given", () => {
  const random = new SeededRandomSource(1);
  const builder = new ExampleBuilder({ maxSeqLength: 16, clsId: CLS, sepId: SEP, random });
  const ids = Int32Array.of(7, 8, 9);
  expect(builder.addSentence(ids, 2)).toBeUndefined();
  ids.fill(0);
  expect(builder.addSentence(ids, 0)).toBeUndefined();
  expect([...(builder.endDocument()?.inputIds ?? [])]).toEqual([CLS, 7, 8, SEP]);
  expect(builder.endDocument()).toBeUndefined();
});

/** The reference's algorithm, transcribed as it stands in the specification: empty sentences are kept, lists are copied. */
function plainBuilder(L: number, random: SeededRandomSource) {
  let sentences: number[][] = [];
  let currentLength = 0;
  let target = L;
  const create = (): [number[], number[]] => {
    const firstTarget = random.random() < 0.1 ? 100_000 : Math.floor((target - 3) / 2);
    let first: number[] = [];
    let second: number[] = [];
    for (const s of sentences) {
      if (
        first.length === 0 ||
        first.length + s.length < firstTarget ||
        (second.length === 0 && first.length < firstTarget && random.random() < 0.5)
      ) {
        first = [...first, ...s];
      } else {
        second = [...second, ...s];
      }
    }
    first = first.slice(0, L - 2);
    second = second.slice(0, Math.max(0, L - first.length - 3));
    sentences = [];
    currentLength = 0;
    target = random.random() < 0.05 ? random.randint(5, L) : L;
    return [first, second];
  };
  return (ids: number[]): [number[], number[]] | undefined => {
    if (ids.length === 0 && currentLength !== 0) return create();
    sentences.push(ids);
    currentLength += ids.length;
    return currentLength >= target ? create() : undefined;
  };
}

test("any lines give what a literal transcription of the specification gives", () => {
  const lines = fc.array(fc.tuple(fc.nat(999), fc.oneof(fc.nat(12), fc.nat(60))), {
    minLength: 1,
    maxLength: 200,
  });
  fc.assert(
    fc.property(lines, fc.integer({ min: 5, max: 48 }), fc.nat(), (list, L, seed) => {
      const plain = plainBuilder(L, new SeededRandomSource(seed));
      const builder = new ExampleBuilder({
        maxSeqLength: L,
        clsId: CLS,
        sepId: SEP,
        random: new SeededRandomSource(seed),
      });
      for (const [first, count] of list) {
        const line = count === 0 ? "" : `${first}x${count}`;
        const example = feed(builder, line);
        expect(example && segments(example)).toEqual(plain(count === 0 ? [] : tokenize(line)));
        if (example) expect(example.inputIds.length).toBeLessThanOrEqual(L);
      }
    }),
    { numRuns: 50 },
  );
});

test("a maximum length below the shortest target is refused", () => {
  expect(() => build([], [], 4)).toThrow(/max_seq_length must be an integer of at least 5, not 4/);
});
