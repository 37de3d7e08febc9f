import { expect, it } from "vitest";
import { benchmarkStep } from "../../../src/bench/step-benchmark.js";
import type { EngineObjective } from "../../../src/engine/types.js";
import { runCli } from "../cli/run-cli.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";

describeWithAddon("timing whole steps", () => {
  const memoryOf = async (objective: EngineObjective): Promise<number> => {
    const result = await benchmarkStep({
      modelSize: "small",
      objective,
      batchSize: 16,
      maxSeqLength: 128,
      steps: 1,
      warmupSteps: 0,
    });
    expect(result).toMatchObject({ objective, batch_size: 16, max_seq_length: 128 });
    return result.engine_mb;
  };

  it("a step of Electric needs at most 1.3 times the memory of ELECTRA's, though its towers predict every token", async () => {
    const electra = await memoryOf("electra");
    const electric = await memoryOf("electric");
    // Logits of all tokens at once would be 238 MiB more, their gradients as much again.
    expect(electric).toBeGreaterThan(electra);
    expect(electric / electra).toBeLessThan(1.3);
  }, 240_000);

  it("the command says what was trained and how much memory that took", async () => {
    const args = ["bench", "step", "--objective", "mlm", "--batch-size", "1", "--seq-length", "16"];
    const { code, stdout, stderr } = await runCli(...args, "--steps", "1", "--threads", "1");
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^model {2,}small, mlm, \d+\.\d M parameters$/m);
    expect(stdout).toMatch(/^memory {2,}\d+ MiB at most, \d+ of them the engine's$/m);
    expect((await runCli("bench", "step", "--objective", "gpt")).code).toBe(2);
  });

  it("figures agree with each other, and the profile with the steps", async () => {
    const result = await benchmarkStep({
      ...{ modelSize: "small", batchSize: 1, maxSeqLength: 16, steps: 2, warmupSteps: 1 },
      ...{ device: "cpu", threads: 1, profile: true },
    });
    const order = (["min", "q1", "q3", "max"] as const).map((each) => result[`sec_per_step_${each}`]);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(result.gflop_per_s * result.sec_per_step).toBeCloseTo(result.gflop_per_step, 9);
    expect(result.gemm_ceiling_share! * result.gemm_ceiling_gflop_per_s!).toBeCloseTo(result.gflop_per_s, 9);
    expect(result.call_share).toBeCloseTo(result.call_us / 1e6 / result.sec_per_step, 12);
    expect(result.idle_share).toBeLessThan(1);
    // Of the timed steps alone: Adam runs once a step.
    expect(result.operators?.find(({ operator }) => operator === "adam")?.calls).toBe(2);
    const flop = result.operators!.reduce((sum, each) => sum + each.flop, 0);
    expect(flop / 2e9).toBeCloseTo(result.gflop_per_step, 9);
  });

  it("the command prints a line an operator", async () => {
    const args = [
      "bench",
      "step",
      "--batch-size",
      "1",
      "--seq-length",
      "16",
      "--steps",
      "1",
      "--threads",
      "1",
    ];
    const { code, stdout, stderr } = await runCli(...args, "--device", "cpu", "--profile");
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^operators {2,}\d+\.\d % of the engine's time$/m);
    expect(stdout).toMatch(/^linearBackwardWeight +256 to 1024 +12 +\d+\.\d\d +\d+\.\d % +\d+\.\d$/m);
    expect(stdout).toMatch(/^adam +1 +\d+\.\d\d +\d+\.\d % +-$/m);
  });
});
