import { describe, expect, it } from "vitest";
import { StreamingMean } from "../../../src/metrics/streaming-mean.js";

describe("StreamingMean", () => {
  it("is 0 with no weight", () => {
    const mean = new StreamingMean();
    expect(mean.value).toBe(0);
    mean.add(5, 0);
    expect(mean.value).toBe(0);
  });

  it("weights every value, one where no weight is given", () => {
    const mean = new StreamingMean();
    mean.add(2);
    mean.add(5, 3);
    expect(mean.value).toBe(17 / 4);
    expect(mean.weight).toBe(4);
  });
});
