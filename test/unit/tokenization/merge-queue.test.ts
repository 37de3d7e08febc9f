import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MergeQueue } from "../../../src/tokenization/merge-queue.js";

interface Item {
  readonly name: number;
  count: number;
}

describe("the merge queue", () => {
  it("always hands out the largest current count, ties by the given order, through rises and falls", () => {
    const changes = fc.array(fc.tuple(fc.nat(9), fc.nat(6)), { maxLength: 6 });
    fc.assert(
      fc.property(
        fc.array(fc.nat(6), { minLength: 1, maxLength: 10 }),
        fc.array(changes),
        (start, rounds) => {
          const items: Item[] = start.map((count, name) => ({ name, count }));
          const queue = new MergeQueue<Item>((a, b) => a.name - b.name);
          for (const item of items) queue.push(item);
          let waiting = items;
          for (const round of [...rounds, []]) {
            for (const [name, count] of round) {
              const item = waiting.find((candidate) => candidate.name === name);
              if (item === undefined) continue;
              const rises = count > item.count;
              item.count = count;
              if (rises) queue.push(item);
            }
            const expected = waiting
              .filter((item) => item.count >= 2)
              .sort((a, b) => b.count - a.count || a.name - b.name)[0];
            const got = queue.pop(2);
            expect(got).toBe(expected);
            waiting = waiting.filter((item) => item !== got);
            if (got !== undefined) got.count = 0; // as after joining: nothing is left of it
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
