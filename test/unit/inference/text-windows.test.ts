import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planTextWindows } from "../../../src/inference/text-windows.js";

describe("windows over a long text", () => {
  it("are a single one where the text fits", () => {
    expect(planTextWindows([1, 2, 3], 6)).toEqual([{ start: 0, end: 3, keepStart: 0, keepEnd: 3 }]);
  });

  it("are none for no words", () => {
    expect(planTextWindows([], 6)).toEqual([]);
  });

  it("overlap by half and share out the words in the middle of the overlap", () => {
    expect(planTextWindows(new Array<number>(8).fill(1), 4)).toEqual([
      { start: 0, end: 4, keepStart: 0, keepEnd: 3 },
      { start: 2, end: 6, keepStart: 3, keepEnd: 5 },
      { start: 4, end: 8, keepStart: 5, keepEnd: 8 },
    ]);
  });

  it("take every word once, from a window that holds it, and hold no more than the model reads", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 60 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 20 }), (words, capacity) => {
        const windows = planTextWindows(words, capacity);
        let next = 0;
        for (const { start, end, keepStart, keepEnd } of windows) {
          expect(keepStart).toBe(next);
          expect(start).toBeLessThanOrEqual(keepStart);
          expect(keepEnd).toBeLessThanOrEqual(end);
          next = keepEnd;
          const used = words.slice(start, end).reduce((sum, size) => sum + size, 0);
          expect(used <= capacity || end - start === 1).toBe(true);
        }
        expect(next).toBe(words.length);
      }),
    );
  });
});
