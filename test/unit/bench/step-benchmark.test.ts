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
  });

  it("the command says what was trained and how much memory that took", async () => {
    const args = ["bench", "step", "--objective", "mlm", "--batch-size", "1", "--seq-length", "16"];
    const { code, stdout, stderr } = await runCli(...args, "--steps", "1", "--threads", "1");
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^model {3}small, mlm, \d+\.\d M parameters$/m);
    expect(stdout).toMatch(/^memory {2}\d+ MiB at most, \d+ of them the engine's$/m);
    expect((await runCli("bench", "step", "--objective", "gpt")).code).toBe(2);
  });
});
