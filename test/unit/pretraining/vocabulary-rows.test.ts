import { describe, expect, it } from "vitest";
import { gatherRows, vocabularyRows } from "../../../src/pretraining/vocabulary-rows.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";

const old = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hound", "##s", "gre", "##y", "-"];

function match(target: readonly string[], options: Partial<Parameters<typeof vocabularyRows>[0]> = {}) {
  return vocabularyRows({
    target: Vocabulary.fromTokens(target),
    targetRows: target.length,
    source: Vocabulary.fromTokens(old),
    sourceRows: old.length,
    lowerCase: true,
    stripAccents: true,
    ...options,
  });
}

/** Rows of the model that a new token at the end begins with. */
function begins(token: string): readonly number[] {
  const matched = match([...old, token]);
  expect(matched).toMatchObject({ kept: old.length, dropped: 0, byId: false });
  const { kept, rows } = matched!.sources.at(-1)!;
  expect(kept).toBe(false);
  return rows;
}

describe("rows of one vocabulary for another", () => {
  it("are where they were for the same tokens", () => {
    expect(match(old)).toBeUndefined();
    expect(match(old, { source: undefined })).toBeUndefined();
  });

  it.each([
    ["a word", "hounds", [5, 6]],
    ["a word with an accent, as text is read", "gréy", [7, 8]],
    ["words with a hyphen", "grey-hound", [7, 8, 9, 5]],
    ["the rest of a word", "##ys", [8, 6]],
    ["a special token", "[GREY]", []],
    ["a word that cannot be spelled", "cat", []],
    ["a rest that cannot be spelled", "##ysz", []],
    ["the two signs themselves", "##", []],
  ])("begin with the pieces of %s", (_, token, expected) => {
    expect(begins(token)).toEqual(expected);
  });

  it("are found by token, wherever it stands, and counted", () => {
    const matched = match(["[PAD]", "[UNK]", "[MASK]", "[CLS]", "[SEP]", "greys", "hound", "cat"]);
    expect(matched!.sources.map(({ rows }) => rows)).toEqual([[0], [1], [4], [2], [3], [7, 8, 6], [5], []]);
    expect(matched).toMatchObject({ kept: 6, fromPieces: 1, random: 1, dropped: 4 });
  });

  it("are the first ones where the model has no words", () => {
    const matched = match([...old, "hounds"], { source: undefined });
    expect(matched).toMatchObject({ kept: old.length, fromPieces: 1, byId: true });
    expect(matched!.sources.map(({ rows }) => rows)).toEqual([...old.map((_, id) => [id]), [5, 6]]);
  });

  it("without a token are random, or those of the model", () => {
    const matched = match([...old, "hounds"], { targetRows: old.length + 3, sourceRows: old.length + 2 });
    expect(matched!.sources.slice(old.length)).toEqual([
      { kept: false, rows: [5, 6] },
      { kept: true, rows: [old.length + 1] },
      { kept: false, rows: [] },
    ]);
  });

  it("are copied, or the mean, or as they were; moments only copied", () => {
    const sources = [
      { kept: true, rows: [2] },
      { kept: false, rows: [0, 1] },
      { kept: false, rows: [] },
    ];
    const values = Float32Array.of(1, 2, 3, 6, 5, 7);
    const initial = Float32Array.of(-1, -1, -1, -1, -1, -1);
    expect([...gatherRows({ sources }, values, initial, 2, true)]).toEqual([5, 7, 2, 4, -1, -1]);
    expect([...gatherRows({ sources }, values, initial, 2, false)]).toEqual([5, 7, -1, -1, -1, -1]);
  });
});
