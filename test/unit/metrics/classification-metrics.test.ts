import { describe, expect, it } from "vitest";
import {
  accuracy,
  binaryF1,
  macroF1,
  matthewsCorrelation,
} from "../../../src/metrics/classification-metrics.js";
import { regressionScores } from "../../../src/metrics/classification-scores.js";
import { exactLabelSets, macroLabelF1, microF1 } from "../../../src/metrics/multi-label-metrics.js";
import { pearson } from "../../../src/metrics/pearson.js";

describe("metrics of classes", () => {
  const labels = [0, 0, 1, 1, 1, 2];
  const predictions = [0, 1, 1, 1, 0, 2];

  it("counts by hand", () => {
    expect(accuracy(predictions, labels)).toBeCloseTo(4 / 6, 12);
    expect(binaryF1(predictions, labels)).toEqual({ precision: 2 / 3, recall: 2 / 3, f1: 2 / 3 });
    expect(macroF1(predictions, labels)).toBeCloseTo((0.5 + 2 / 3 + 1) / 3, 12);
    // (4·6 − (2·2 + 3·3 + 1)) / (36 − 14)
    expect(matthewsCorrelation(predictions, labels)).toBeCloseTo(10 / 22, 12);
  });

  it("gives 0 instead of 0/0 and refuses nothing at all", () => {
    expect(binaryF1([0, 0], [0, 1]).f1).toBe(0);
    expect(matthewsCorrelation([1, 1], [0, 1])).toBe(0);
    expect(() => accuracy([], [])).toThrowError(expect.objectContaining({ code: "ERR_ELECTRA_METRIC" }));
    expect(() => accuracy([1], [1, 0])).toThrow(RangeError);
  });

  it("scores sets of labels", () => {
    const outputs = { width: 3, predictions: [1, 0, 1, 0, 1, 0], labels: [1, 0, 0, 0, 1, 0] };
    expect(exactLabelSets(outputs)).toBe(0.5);
    expect(microF1(outputs)).toEqual({ precision: 2 / 3, recall: 1, f1: 0.8 });
    expect(macroLabelF1(outputs)).toBeCloseTo(2 / 3, 12);
  });
});

describe("correlation", () => {
  it("is null for a constant that has no exact mean, not a correlation of rounding errors", () => {
    expect(pearson(new Array(10).fill(0.1), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])).toBeNull();
    expect(pearson([1, 2, 4], [2, 4, 8])).toBeCloseTo(1, 12);
  });

  it("is reported in percent beside the plain error", () => {
    const values = Object.fromEntries(
      regressionScores({ predictions: [0, 1, 2], labels: [2, 1, 0], losses: [4, 0, 4] }),
    );
    expect(values["pearson"]).toBeCloseTo(-100, 10);
    expect(values["mse"]).toBeCloseTo(8 / 3, 12);
  });
});
