import { describe, expect, it } from "vitest";
import { alternate, compare, type Figures, type Pair } from "../../../../src/bench/peers/alternation.js";

/** Gives the values one after the other. */
const sequence = (values: readonly number[]) => {
  let next = 0;
  return async () => values[next++]!;
};

describe("runs in turn", () => {
  it("alternates, with a calibration before each pair and after the last", async () => {
    const log: string[] = [];
    const side = (name: string) => async (): Promise<Figures> => {
      log.push(name);
      return { speed: log.length };
    };
    const { pairs } = await alternate({
      ours: side("A"),
      peer: side("B"),
      pairs: 2,
      calibrate: async () => {
        log.push("c");
        return 100;
      },
    });
    expect(log.join(" ")).toBe("c A B c A B c");
    expect(pairs.map(({ ours, peer }) => [ours["speed"], peer?.["speed"]])).toEqual([
      [2, 3],
      [5, 6],
    ]);
  });

  it("repeats a pair during which the machine was slow, before or after it", async () => {
    let runs = 0;
    const seen: boolean[] = [];
    const { pairs, repeated, calibration } = await alternate({
      ours: async () => ({ run: runs++ }),
      pairs: 2,
      // Before the first pair; after it; and so on. Run 1 ends slow, run 2 begins so.
      calibrate: sequence([100, 99, 84, 98, 100]),
      onPair: (pair) => seen.push(pair.repeated),
    });
    expect(seen).toEqual([false, true, true, false]);
    expect(pairs.map(({ ours }) => ours["run"])).toEqual([0, 3]);
    expect({ repeated, calibration }).toEqual({ repeated: 2, calibration: 100 });
  });

  it("goes on after so many repetitions, and says so", async () => {
    const { pairs, repeated } = await alternate({
      ours: async () => ({}),
      pairs: 2,
      repeats: 1,
      calibrate: sequence([100, 50, 50, 50]),
    });
    expect(repeated).toBe(1);
    expect(pairs.map(({ disturbed, speed }) => [disturbed, speed])).toEqual([
      [true, 0.5],
      [true, 0.5],
    ]);
  });

  it("stops between two runs", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const run = alternate({
      ours: async () => {
        stop.abort(reason);
        return {};
      },
      peer: async () => {
        throw new Error("it should not have come to this");
      },
      pairs: 1,
      calibrate: async () => 1,
      signal: stop.signal,
    });
    await expect(run).rejects.toBe(reason);
  });
});

describe("comparing pairs", () => {
  const pair = (ours: Figures, peer?: Figures): Pair => ({
    ours,
    peer,
    speed: 1,
    disturbed: false,
    repeated: false,
  });
  const pairs = [
    pair({ speed: 30, ms: 2 }, { speed: 10, ms: 5 }),
    pair({ speed: 44, ms: 4 }, { speed: 20, ms: 6 }),
    pair({ speed: 10, ms: 3 }, { speed: 4, ms: 3 }),
  ];

  it("takes the median of the ratios of pairs, not the ratio of medians", () => {
    const row = compare({ name: "speed", key: "speed", unit: "", better: "higher", bar: 2.5 }, pairs);
    expect(row.ratio).toMatchObject({ min: 2.2, median: 2.5, max: 3 });
    expect(row.ours.median / row.peer!.median).toBe(3);
    expect(row.pass).toBe(true);
    expect(compare({ name: "speed", key: "speed", unit: "", better: "higher", bar: 2.51 }, pairs).pass).toBe(
      false,
    );
  });

  it("turns the ratio over where less is better", () => {
    const row = compare({ name: "answer", key: "ms", unit: "ms", better: "lower", bar: 2, limit: 3 }, pairs);
    expect(row.ratio).toMatchObject({ min: 1, median: 1.5, max: 2.5 });
    expect(row.pass).toBe(false);
    expect(compare({ name: "answer", key: "ms", unit: "ms", better: "lower", limit: 3 }, pairs).pass).toBe(
      true,
    );
    expect(compare({ name: "answer", key: "ms", unit: "ms", better: "lower" }, pairs)).not.toHaveProperty(
      "pass",
    );
  });

  it("has no ratio without a peer, and no row without the figure", () => {
    const alone = [pair({ ms: 1 }), pair({ ms: 3 })];
    const row = compare({ name: "start", key: "ms", unit: "ms", better: "lower", limit: 1 }, alone);
    expect(row).toMatchObject({ ours: { median: 2 }, pass: false });
    expect(row).not.toHaveProperty("ratio");
    expect(() => compare({ name: "x", key: "x", unit: "", better: "lower" }, alone)).toThrow(
      "ours gave no x",
    );
  });

  it("compares what both have; a bar needs both", () => {
    const some = [pair({ speed: 3, share: 0.7 }, { speed: 1 })];
    const share = { name: "share", key: "share", unit: "", better: "higher" } as const;
    expect(compare(share, some)).not.toHaveProperty("ratio");
    expect(() => compare({ ...share, bar: 1 }, some)).toThrow("the peer gave no share");
  });
});
