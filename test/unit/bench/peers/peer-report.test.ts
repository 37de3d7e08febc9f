import { describe, expect, it } from "vitest";
import { measurements } from "../../../../src/bench/peers/measurements.js";
import { benchmarkPeers } from "../../../../src/bench/peers/peer-benchmark.js";
import {
  countOutcomes,
  formatMeasurement,
  type MeasuredPeer,
} from "../../../../src/bench/peers/peer-report.js";
import { spreadOf } from "../../../../src/bench/spread.js";

const step: MeasuredPeer = {
  name: "step",
  title: "a step",
  peer: "PyTorch",
  pairs: 3,
  repeated: 1,
  disturbed: 0,
  rows: [
    {
      name: "speed",
      unit: "tokens/s",
      better: "higher",
      ours: spreadOf([3400, 3500, 3450]),
      peer: spreadOf([1700, 1720, 1710]),
      ratio: spreadOf([2, 2.03, 2.02]),
      bar: 2,
      pass: true,
    },
    { name: "late", unit: "ms", better: "lower", ours: spreadOf([6, 7, 8]), limit: 5, pass: false },
  ],
};

describe("the report", () => {
  it("shows medians, ratios, bars and what was missed", () => {
    const [heading, notes, empty, head, speed, late] = formatMeasurement(step).split("\n");
    expect([heading, notes, empty]).toEqual([
      "step: a step",
      "beside PyTorch; medians of 3 pairs, 1 repeated because the machine was slower meanwhile",
      "",
    ]);
    const cells = (line: string | undefined) => line?.trim().split(/ {2,}/);
    expect(cells(head)).toEqual(["ours", "peer", "ratio", "least … most", "bar"]);
    expect(cells(speed)).toEqual(["speed", "3450 tokens/s", "1710", "2.02", "2 … 2.03", ">= 2.00 x", "pass"]);
    expect(cells(late)).toEqual(["late", "7 ms", "6 … 8", "<= 5 ms", "MISSED"]);
    expect(formatMeasurement(step, true)).toContain(
      "| speed | 3450 tokens/s | 1710 | 2.02 | 2 … 2.03 | >= 2.00 x | pass |",
    );
  });

  it("counts what was asked", () => {
    const skipped = { ...step, rows: [], skipped: "no Python" };
    expect(countOutcomes([step, skipped])).toEqual({ passed: 1, missed: 1, skipped: 1, failed: 0 });
  });

  it("skips what it lacks, with the way to get it", async () => {
    const needy = measurements.filter(({ needs }) => needs.length > 0).map(({ name }) => name);
    const report = await benchmarkPeers({ root: ".", workDir: ".", threads: 1, only: needy });
    expect(report.measurements.map(({ name }) => name)).toEqual(needy);
    expect(report.skipped).toBe(needy.length);
    expect(report.measurements.find(({ name }) => name === "step")?.skipped).toContain("pip install torch");
  });
});
