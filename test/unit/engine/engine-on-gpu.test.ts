import { afterEach, expect, it } from "vitest";
import { Engine } from "../../../src/engine/engine.js";
import { describeOnEmulator } from "./emulated-device.js";
import { tinyBatch, tinyModel } from "./tiny-model.js";

const model = tinyModel();
const open: Engine[] = [];
const create = async (options: Omit<Parameters<typeof Engine.create>[0], "model">): Promise<Engine> => {
  const engine = await Engine.create({ model, seed: 1, threads: 1, ...options });
  open.push(engine);
  return engine;
};
afterEach(async () => {
  for (const engine of open.splice(0)) await engine.dispose();
});

describeOnEmulator("an engine on a GPU", () => {
  it("starts with the CPU's weights, and holds what is written", async () => {
    const [cpu, gpu] = [await create({ device: "cpu" }), await create({ device: "emulated" })];
    expect(gpu.info).toMatchObject({ device: "cuda:0 emulated", precision: "bfloat16", warnings: [] });
    for (const { name } of gpu.parameters()) {
      expect(await gpu.readParameter(name), name).toEqual(await cpu.readParameter(name));
    }
    // Columns of the block of query, key and value.
    const name = "electra/encoder/layer_0/attention/self/key/kernel";
    const values = (await gpu.readParameter(name)).map((_, i) => i);
    await gpu.writeParameter(name, values);
    expect(await gpu.readParameter(name)).toEqual(values);
  });

  it("counts the parameters' bf16 form among its memory, and the batch that room was made for", async () => {
    const wide = (await create({ device: "emulated", precision: "f32" })).memory();
    const narrow = (await create({ device: "emulated", precision: "bf16" })).memory();
    // 16 bytes a parameter, and 2 more.
    expect(narrow.parameters / wide.parameters).toBeCloseTo(18 / 16, 3);
    expect(wide.activations).toBe(0);
    const reserved = await create({ device: "emulated", precision: "f32", reserveRows: 4 });
    const before = reserved.memory();
    expect(before.activations).toBeGreaterThan(0);
  });

  it.each([
    ["f32", 1e-4],
    // u · sqrt(roundings), see test/golden/tolerances.mjs, of losses of this size; two updates follow each other.
    ["bf16", 0.05],
  ] as const)("trains as the CPU does, in %s", async (precision, tolerance) => {
    const cpu = await create({ device: "cpu" });
    const gpu = await create({ device: "emulated", precision, reserveRows: 4 });
    const before = gpu.memory();
    const batch = tinyBatch(model, 4);
    for (let step = 0; step < 2; step++) {
      const given = await cpu.evaluate(batch, { step, outputs: ["fake/sampled_ids"] });
      const sampledIds = given.outputs["fake/sampled_ids"]!.data as Int32Array;
      const options = { step, learningRate: 1e-3, draws: { sampledIds } };
      const [expected, actual] = [await cpu.trainStep(batch, options), await gpu.trainStep(batch, options)];
      for (const key of ["loss", "generatorLoss", "discriminatorLoss", "gradientNorm"] as const) {
        expect(Math.abs(actual[key] / expected[key] - 1), `${key} of step ${step}`).toBeLessThan(tolerance);
      }
    }
    expect(gpu.memory()).toEqual(before);
  });

  it("replays a recorded step with other weights, seeds and words", async () => {
    // The first step records, the others replay: what they read must have changed under them.
    const losses = async (steps: readonly number[]) => {
      const engine = await create({ device: "emulated", precision: "f32" });
      const results: number[] = [];
      for (const step of steps) {
        const batch = tinyBatch(model, 4, step + 1);
        results.push((await engine.trainStep(batch, { step, learningRate: 1e-3 })).loss);
      }
      return results;
    };
    const [first, second, third] = await losses([0, 1, 2]);
    expect(new Set([first, second, third]).size).toBe(3);
    expect(await losses([0, 1, 2])).toEqual([first, second, third]);
  });
});
