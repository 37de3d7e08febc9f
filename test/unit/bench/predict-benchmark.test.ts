import { describe, expect, it } from "vitest";
import { runCli } from "../cli/run-cli.js";
import { noNativeEngine } from "../inference/describe-with-finetuning.js";

const skipped = noNativeEngine === undefined ? "" : ` (skipped: ${noNativeEngine})`;

describe.skipIf(skipped !== "")(`timing predictions${skipped}`, () => {
  it("says how long an answer takes, in the middle and at worst", async () => {
    const args = [
      "bench",
      "predict",
      "--batch-size",
      "1",
      "--seq-length",
      "8",
      "--steps",
      "5",
      "--threads",
      "1",
    ];
    const { code, stdout, stderr } = await runCli(...args, "--device", "cpu", "--json");
    expect(code, stderr).toBe(0);
    const result = JSON.parse(stdout) as Record<"ms_min" | "ms_median" | "ms_p99" | "rows_per_s", number>;
    expect(result).toMatchObject({
      model_size: "small",
      batch_size: 1,
      max_seq_length: 8,
      steps: 5,
      threads: 1,
    });
    expect(result.ms_min).toBeGreaterThan(0);
    expect(result.ms_median).toBeGreaterThanOrEqual(result.ms_min);
    expect(result.ms_p99).toBeGreaterThanOrEqual(result.ms_median);
    expect(result.rows_per_s * result.ms_median).toBeCloseTo(1000, 6);
    expect((await runCli("bench", "predictions")).stderr).toMatch(/Benchmarks: .*\bpredict\b/);
  });
});
