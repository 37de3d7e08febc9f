import { afterEach, expect, it } from "vitest";
import { FinetuningEngine } from "../../../src/engine/finetuning-engine.js";
import type { FinetuningBatch, FinetuningEngineCreateOptions } from "../../../src/engine/finetuning-types.js";
import { describeOnEmulator } from "./emulated-device.js";
import { mixedBatch, model } from "./tiny-finetuning.js";

const open: FinetuningEngine[] = [];
const create = async (options: Omit<FinetuningEngineCreateOptions, "model">): Promise<FinetuningEngine> => {
  const engine = await FinetuningEngine.create({ model, seed: 1, threads: 1, ...options });
  open.push(engine);
  return engine;
};
afterEach(async () => {
  for (const engine of open.splice(0)) await engine.dispose();
});

/** Rows of other lengths, with other ids, words and answers; no word at all in every third. */
function variedBatch(salt: number): FinetuningBatch {
  const batch = mixedBatch();
  const words = salt % 3 === 2 ? 0 : 1 + (salt % 3);
  return {
    ...batch,
    inputIds: batch.inputIds.map((id, i) => 5 + ((id + salt * i) % 50)),
    lengths: batch.lengths.map((length, row) => Math.max(row === 4 ? 10 : 6, length - (salt % 4))),
    words: {
      offsets: batch.words!.offsets.map((offset) => (offset > 0 ? words : 0)),
      positions: Int32Array.of(2, 4, 3).subarray(0, words),
    },
    targets: { ...batch.targets, wordClasses: Int32Array.of(salt % 4, 1, 2).subarray(0, words) },
  };
}

describeOnEmulator("a fine-tuning engine on a GPU", () => {
  it.each([
    ["f32", 1e-4],
    // u · sqrt(roundings) of one row after another, see test/golden/tolerances.mjs; updates follow each other.
    ["bf16", 0.1],
  ] as const)("trains as the CPU does, recorded or not, in %s", async (precision, tolerance) => {
    const cpu = await create({ device: "cpu" });
    const gpu = await create({ device: "emulated", precision, reserveRows: 7 });
    const before = gpu.memory();
    // Shapes return, so steps are seen for the first time, recorded, and replayed.
    for (let step = 0; step < 9; step++) {
      const batch = variedBatch(step);
      const options = { step, learningRate: 3e-5 };
      const [expected, actual] = [await cpu.trainStep(batch, options), await gpu.trainStep(batch, options)];
      expect(actual.taskRows).toEqual(expected.taskRows);
      for (const [task, loss] of expected.taskLosses.entries())
        expect(
          Math.abs(actual.taskLosses[task]! - loss) / (1 + loss),
          `task ${task} of step ${step}`,
        ).toBeLessThan(tolerance);
      expect(Math.abs(actual.gradientNorm / expected.gradientNorm - 1), `norm of step ${step}`).toBeLessThan(
        tolerance,
      );
    }
    expect(gpu.memory()).toEqual(before);
  });

  it("has room for batches with and without an answer to find", async () => {
    const gpu = await create({ device: "emulated", precision: "f32" });
    const cpu = await create({ device: "cpu" });
    const { targets: _, ...batch } = variedBatch(1);
    const outputs = ["topic/logits", "answer/end_top_log_probs", "answer/start_logits", "tags/logits"];
    const [expected, actual] = [await cpu.predict(batch, { outputs }), await gpu.predict(batch, { outputs })];
    for (const name of outputs) {
      const [ours, theirs] = [actual.outputs[name]!, expected.outputs[name]!];
      expect(ours.shape).toEqual(theirs.shape);
      for (const [i, value] of theirs.data.entries()) {
        // Scores from which 1000 was subtracted keep 6e-5.
        if (value < -500) expect(ours.data[i]).toBeLessThan(-500);
        else expect(Math.abs(ours.data[i]! - value), `${name} ${i}`).toBeLessThan(2e-5);
      }
    }
    // Other rows alone: heads without rows give zeros.
    const { words: __, ...topics } = batch;
    const alone = await gpu.predict({ ...topics, taskIds: new Int32Array(7) }, { outputs });
    expect(alone.outputs["answer/end_top_log_probs"]!.data.every((value) => value === 0)).toBe(true);
    expect(alone.outputs["topic/logits"]!.data.every((value) => value !== 0)).toBe(true);
  });
});
