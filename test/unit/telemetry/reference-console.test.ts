import { describe, expect, it } from "vitest";
import {
  formatConfig,
  formatDuration,
  formatHeading,
  formatReferenceLine,
  formatResults,
} from "../../../src/telemetry/reference-console.js";

describe("the reference's console", () => {
  it.each([
    [0, "0"],
    [5, "5"],
    [10, "10"],
    [60, "1:00"],
    [65, "1:05"],
    [600, "10:00"],
    [3600, "1:00:00"],
    [3605, "1:00:05"],
    [36_000, "10:00:00"],
    [86_400, "1 day, 0:00:00"],
    [90_061, "1 day, 1:01:01"],
    [180_122, "2 days, 2:02:02"],
    [Number.NaN, "?"],
    [Number.POSITIVE_INFINITY, "?"],
  ])("shows %d seconds as %s", (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  it("shows a step with rates that count from this run's first step", () => {
    const options = { step: 120, totalSteps: 1000, elapsedSeconds: 10, stepsOfThisRun: 20 };
    expect(formatReferenceLine({ ...options, loss: 45.123456 })).toBe(
      "120/1000 = 12.0%, SPS: 2.0, ELAP: 10, ETA: 7:20 - loss: 45.1235",
    );
    expect(formatReferenceLine(options)).toBe("120/1000 = 12.0%, SPS: 2.0, ELAP: 10, ETA: 7:20");
  });

  it("does not divide by zero before the first step", () => {
    expect(formatReferenceLine({ step: 0, totalSteps: 0, elapsedSeconds: 0, stepsOfThisRun: 0 })).toBe(
      "0/0 = 100.0%, SPS: 0.0, ELAP: 0, ETA: ?",
    );
  });

  it("lists configuration and results sorted by name", () => {
    expect(formatHeading("Config").split("\n")).toEqual(["=".repeat(80), "Config:", "=".repeat(80)]);
    expect(formatConfig({ b: null, a: "text", c: { x: 1 } })).toBe('a text\nb null\nc {"x":1}');
    expect(formatResults({ loss: 41.5, disc_auc: 0.75 })).toBe("  disc_auc = 0.75\n  loss = 41.5");
  });
});
