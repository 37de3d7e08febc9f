import { readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";
import { expect, it } from "vitest";
import { Engine } from "../../../src/engine/engine.js";
import { describeWithAddon } from "./describe-with-addon.js";
import { tinyBatch, tinyModel } from "./tiny-model.js";

/** Seconds of processor time that the main thread has used. Wall time would count what other processes take. */
function mainThreadSeconds(): number {
  const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  return Number(nanoseconds) / 1e9;
}

describeWithAddon("the event loop", () => {
  it.skipIf(process.platform !== "linux" || !isMainThread)(
    "has next to nothing to do while a model is created, trained, read and disposed of",
    async () => {
      const model = tinyModel({ hidden: 128, layers: 3, length: 128, vocabulary: 8000 });
      const batch = tinyBatch(model, 16);
      // Once beforehand: compiling our own functions is not what is measured.
      const rehearsal = await Engine.create({ model: tinyModel() });
      await rehearsal.trainStep(tinyBatch(rehearsal.model, 2), { step: 0, learningRate: 1e-3 });
      await rehearsal.readParameter("electra/embeddings/word_embeddings");
      await rehearsal.dispose();

      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      const begin = performance.now();
      const used = mainThreadSeconds();
      const engine = await Engine.create({ model, threads: 2 });
      const steps = 8;
      let calls = 1;
      let stepSeconds = 0;
      for (let step = 0; step < steps; step++) {
        const { seconds } = await engine.trainStep(batch, {
          step,
          learningRate: 1e-3,
          outputs: ["mlm/logits"],
        });
        stepSeconds = Math.max(stepSeconds, seconds);
        await engine.readParameter("electra/embeddings/word_embeddings");
        calls += 2;
      }
      await engine.dispose();
      const wall = (performance.now() - begin) / 1000;
      const cpu = mainThreadSeconds() - used;
      delay.disable();

      // The delay monitor itself wakes the thread a thousand times a second, for some 20 microseconds.
      expect(cpu).toBeLessThan(calls * 0.001 + wall * 0.05);
      // A call that computed on this thread would hold it for a whole step.
      expect(delay.percentile(99) / 1e9).toBeLessThan(stepSeconds / 2);
    },
  );
});
