import { describe, expect, it } from "vitest";
import { packSequences } from "../../../src/inference/sequence-batches.js";

const sequence = (length: number): Int32Array => new Int32Array(length).fill(length);

describe("packing sequences into batches", () => {
  it("puts like lengths together, pads to the longest, and says which row is which", () => {
    const batches = packSequences([sequence(2), sequence(5), sequence(3)], { maxRows: 2 });
    expect(batches.map(({ sequences }) => sequences)).toEqual([[1, 2], [0]]);
    expect(batches[0]!.batch).toEqual({
      rows: 2,
      length: 5,
      inputIds: Int32Array.of(5, 5, 5, 5, 5, 3, 3, 3, 0, 0),
      lengths: Int32Array.of(5, 3),
    });
  });

  it("keeps to the number of tokens, but gives a longer sequence a batch of its own", () => {
    const batches = packSequences([sequence(4), sequence(4), sequence(4), sequence(10)], { maxTokens: 8 });
    expect(batches.map(({ sequences }) => sequences)).toEqual([[3], [0, 1], [2]]);
  });
});
