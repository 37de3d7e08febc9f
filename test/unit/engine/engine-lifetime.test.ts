import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { Engine } from "../../../src/engine/engine.js";
import { describeWithAddon } from "./describe-with-addon.js";
import { tinyBatch, tinyModel } from "./tiny-model.js";

const fixture = fileURLToPath(new URL("fixtures/endless-training.mjs", import.meta.url));

/** Where the loader found the addon: it is in Node's cache of modules by then. */
function addonPath(): string {
  const loaded = Object.keys(createRequire(import.meta.url).cache);
  const path = loaded.find((name) => name.endsWith(".node") && name.includes("electra_native"));
  if (path === undefined) throw new Error("the addon is not among the loaded modules");
  return path;
}

function runFixture(ending: string): Promise<{ code: number | null; signal: string | null; errors: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [fixture, addonPath(), ending], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let errors = "";
    child.stderr.on("data", (chunk) => {
      errors += chunk;
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve({ code, signal, errors }));
  });
}

describeWithAddon("the engine's thread", () => {
  it.each([
    ["exit", 0],
    ["throw", 1],
    ["idle", 0],
  ])("lets a process end by %s", async (ending, expected) => {
    const { code, signal, errors } = await runFixture(ending);
    expect({ code, signal }).toEqual({ code: expected, signal: null });
    expect(errors).not.toContain("outlives");
    if (ending === "throw") expect(errors).toContain("left on purpose");
    else expect(errors).toBe("");
  });

  it("lives and dies with worker threads, several at once, terminated in the middle of a step", async () => {
    const workers = [1, 2, 3].map(() => new Worker(fixture, { workerData: { path: addonPath() } }));
    await Promise.all(
      workers.map((worker) => new Promise((done, fail) => worker.once("message", done).once("error", fail))),
    );
    const codes = await Promise.all(workers.map((worker) => worker.terminate()));
    expect(codes).toEqual([1, 1, 1]);
    // The thread that watched is none the worse for it.
    const model = tinyModel();
    const engine = await Engine.create({ model, threads: 2 });
    const { loss } = await engine.trainStep(tinyBatch(model, 2), { step: 0, learningRate: 1e-3 });
    expect(Number.isFinite(loss)).toBe(true);
    await engine.dispose();
  });
});
