import { describe, expect, it } from "vitest";
import { SeededRandom } from "../../../src/metrics/seeded-random.js";
import { corruptRows, UnigramSampler } from "../../../src/quickstart/fixed-corruption.js";

describe("the fixed corruption", () => {
  const special = new Set([2, 3]);
  const rows = 400;
  const length = 32;
  const lengths = Int32Array.from({ length: rows }, (_, row) => 3 + (row % 30));
  const inputIds = new Int32Array(rows * length);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < lengths[row]!; i++) inputIds[row * length + i] = 5 + ((row * 7 + i) % 20);
    inputIds[row * length] = 2;
    inputIds[row * length + lengths[row]! - 1] = 3;
  }
  const counts = Float64Array.from({ length: 25 }, (_, id) => (id >= 5 ? id : 0));
  const corrupt = (seed: number) =>
    corruptRows(
      { inputIds, lengths, rows, length },
      { sampler: new UnigramSampler(counts), share: 0.15, special, random: new SeededRandom(seed) },
    );

  it("is the same for the same seed and another for another", () => {
    expect(corrupt(1)).toEqual(corrupt(1));
    expect(corrupt(1).inputIds).not.toEqual(corrupt(2).inputIds);
  });

  it("touches neither special tokens nor padding, and labels exactly the tokens that changed", () => {
    const { inputIds: changed, candidates, labels } = corrupt(1);
    for (let k = 0; k < changed.length; k++) {
      const real = k % length < lengths[Math.floor(k / length)]!;
      expect(candidates[k]).toBe(real && !special.has(inputIds[k]!) ? 1 : 0);
      expect(labels[k]).toBe(changed[k] === inputIds[k] ? 0 : 1);
      if (candidates[k] === 0) expect(changed[k]).toBe(inputIds[k]);
    }
  });

  it("redraws about the wanted share, from the given distribution", () => {
    const { inputIds: changed, candidates, labels } = corrupt(1);
    const total = candidates.reduce((sum, each) => sum + each, 0);
    const fakes = labels.reduce((sum, each) => sum + each, 0);
    // A draw hits the original once in about 20.
    expect(fakes / total).toBeGreaterThan(0.12);
    expect(fakes / total).toBeLessThan(0.165);
    expect(changed.every((id, k) => labels[k] === 0 || (id >= 5 && id < 25))).toBe(true);
  });

  it("draws ids as often as they were counted", () => {
    const sampler = new UnigramSampler([0, 1, 0, 3, 0]);
    const random = new SeededRandom(1);
    const drawn = [0, 0, 0, 0, 0];
    for (let i = 0; i < 20_000; i++) drawn[sampler.draw(random)]!++;
    expect([drawn[0], drawn[2], drawn[4]]).toEqual([0, 0, 0]);
    // Standard deviation 0.003.
    expect(drawn[1]! / 20_000).toBeCloseTo(0.25, 1);
    expect(Math.abs(drawn[1]! / 20_000 - 0.25)).toBeLessThan(0.015);
    expect(() => new UnigramSampler([0, 0])).toThrow(RangeError);
  });
});
