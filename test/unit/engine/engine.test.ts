import { afterEach, expect, it } from "vitest";
import { Engine } from "../../../src/engine/engine.js";
import type { EngineCreateOptions, PretrainingModelConfig } from "../../../src/engine/types.js";
import { describeWithAddon } from "./describe-with-addon.js";
import { tinyBatch, tinyModel } from "./tiny-model.js";

const open: Engine[] = [];
async function create(
  model: PretrainingModelConfig = tinyModel(),
  options: Partial<EngineCreateOptions> = {},
): Promise<Engine> {
  const engine = await Engine.create({ model, threads: 2, seed: 1, ...options });
  open.push(engine);
  return engine;
}
afterEach(async () => {
  for (const engine of open.splice(0)) await engine.dispose();
});

describeWithAddon("Engine", () => {
  it("says what it runs on", async () => {
    const engine = await create(tinyModel(), { gemm: "built-in", isa: "baseline" });
    expect(engine.info).toMatchObject({ device: "cpu", isa: "baseline", threads: 2, precision: "float32" });
    expect(engine.info.gemm).toMatch(/built-in/);
    expect(engine.info.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(engine.disposed).toBe(false);
  });

  it("learns a batch by heart", async () => {
    const model = tinyModel({ dropout: 0 });
    const engine = await create(model);
    const batch = tinyBatch(model, 8);
    const first = await engine.trainStep(batch, { step: 0, learningRate: 2e-3 });
    let last = first;
    for (let step = 1; step < 60; step++) last = await engine.trainStep(batch, { step, learningRate: 2e-3 });
    expect(first.generatorLoss).toBeGreaterThan(3.5);
    expect(last.generatorLoss).toBeLessThan(first.generatorLoss - 0.3);
    expect(last).toMatchObject({
      step: 59,
      learningRate: 2e-3,
      tokens: batch.lengths.reduce((a, b) => a + b),
    });
    expect(last.gradientNorm).toBeGreaterThan(0);
    expect(last.generator.slots).toBe(last.slots);
  });

  it("gives the same numbers for one thread and two, and for a step in one call or two parts", async () => {
    const model = tinyModel({ layers: 2 });
    const results: (readonly number[])[] = [];
    for (const [threads, parts] of [
      [1, false],
      [2, false],
      [2, true],
    ] as const) {
      const engine = await create(model, { threads, seed: 9 });
      const losses: number[] = [];
      for (let step = 0; step < 4; step++) {
        const batch = tinyBatch(model, 6, step);
        if (parts) {
          losses.push((await engine.forwardBackward(batch, { step })).loss);
          losses.push((await engine.optimizerStep({ learningRate: 1e-3 })).gradientNorm);
        } else {
          const result = await engine.trainStep(batch, { step, learningRate: 1e-3 });
          losses.push(result.loss, result.gradientNorm);
        }
      }
      const word = await engine.readParameter("electra/embeddings/word_embeddings");
      results.push([...losses, ...word]);
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  it("adds the gradients of parts of a batch to those of the whole", async () => {
    const model = tinyModel();
    const engine = await create(model);
    const whole = tinyBatch(model, 4);
    const { generator, discriminator } = await engine.forwardBackward(whole, { step: 3 });
    const name = "electra/encoder/layer_0/intermediate/dense/kernel";
    const expected = await engine.readParameter(name, "gradient");
    const denominators = { generator: generator.weight, discriminator: discriminator.weight };
    for (const half of [0, 1]) {
      await engine.forwardBackward(
        {
          rows: 2,
          length: whole.length,
          firstRow: 2 * half,
          inputIds: whole.inputIds.slice(2 * half * whole.length, 2 * (half + 1) * whole.length),
          lengths: whole.lengths.slice(2 * half, 2 * half + 2),
        },
        { step: 3, accumulate: half === 1, denominators },
      );
    }
    const sum = await engine.readParameter(name, "gradient");
    const norm = Math.hypot(...expected);
    expect(norm).toBeGreaterThan(0);
    expect(Math.hypot(...sum.map((value, i) => value - (expected[i] ?? 0)))).toBeLessThan(1e-4 * norm);
  });

  it("reads and writes every variable, whatever its kind", async () => {
    const engine = await create();
    const parameters = engine.parameters();
    expect(parameters.length).toBeGreaterThan(20);
    expect(parameters.find(({ name }) => /LayerNorm/.test(name))?.decay).toBe(false);
    const query = parameters.find(({ name }) => /^electra.*query\/kernel$/.test(name));
    expect(query).toMatchObject({ decay: true, shape: [32, 32], elements: 1024 });
    for (const kind of ["value", "adam_m", "adam_v", "gradient"] as const) {
      for (const { name, elements } of parameters) {
        const data = Float32Array.from({ length: elements }, (_, i) => i / 7 + name.length);
        await engine.writeParameter(name, data, kind);
        expect(await engine.readParameter(name, kind), `${name} ${kind}`).toEqual(data);
      }
    }
  });

  it("computes with weights as they were written", async () => {
    const model = tinyModel();
    const batch = tinyBatch(model, 3);
    const options = { network: "discriminator", outputs: ["disc/logits"] } as const;
    const source = await create(model, { seed: 1 });
    const target = await create(model, { seed: 2 });
    const expected = (await source.forward(batch, options))["disc/logits"];
    expect((await target.forward(batch, options))["disc/logits"]).not.toEqual(expected);
    for (const { name } of source.parameters()) {
      await target.writeParameter(name, await source.readParameter(name));
    }
    expect((await target.forward(batch, options))["disc/logits"]).toEqual(expected);
  });

  it("returns the arrays asked for, with their shapes", async () => {
    const model = tinyModel();
    const engine = await create(model);
    const n = model.max_predictions_per_seq;
    const { outputs } = await engine.evaluate(tinyBatch(model, 3), {
      outputs: ["disc/logits", "mlm/logits", "fake/replaced_ids"],
    });
    expect(Object.keys(outputs).sort()).toEqual(["disc/logits", "fake/replaced_ids", "mlm/logits"]);
    expect(outputs["disc/logits"]?.shape).toEqual([3, 16]);
    expect(outputs["mlm/logits"]?.shape).toEqual([3, n, 60]);
    expect(outputs["mlm/logits"]?.data).toBeInstanceOf(Float32Array);
    expect(outputs["fake/replaced_ids"]?.data).toBeInstanceOf(Int32Array);
    const none = await engine.evaluate(tinyBatch(model, 3));
    expect(none.outputs).toEqual({});
  });

  it("takes draws from outside", async () => {
    const model = tinyModel();
    const engine = await create(model);
    const n = model.max_predictions_per_seq;
    const positions = Int32Array.from({ length: 2 * n }, (_, i) => 1 + (i % n));
    const { outputs } = await engine.evaluate(tinyBatch(model, 2), {
      draws: {
        positions,
        replaceUniform: new Float32Array(2 * n),
        sampledIds: new Int32Array(2 * n).fill(7),
      },
      outputs: ["masked/positions", "fake/sampled_ids", "masked/weights"],
    });
    const weights = outputs["masked/weights"]?.data ?? [];
    expect(weights.length).toBe(2 * n);
    for (let i = 0; i < 2 * n; i++) {
      if (weights[i] === 0) continue;
      expect(outputs["masked/positions"]?.data[i]).toBe(positions[i]);
      expect(outputs["fake/sampled_ids"]?.data[i]).toBe(7);
    }
  });

  it("accepts arrays over shared memory and may have its batch refilled at once", async () => {
    const model = tinyModel();
    const engine = await create(model);
    const batch = tinyBatch(model, 4);
    const expected = await engine.evaluate(batch);
    const inputIds = new Int32Array(new SharedArrayBuffer(4 * batch.inputIds.length));
    inputIds.set(batch.inputIds);
    const pending = engine.evaluate({ ...batch, inputIds });
    inputIds.fill(-1);
    expect((await pending).loss).toBe(expected.loss);
  });

  it("counts its memory and frees it", async () => {
    const engine = await create();
    await engine.trainStep(tinyBatch(engine.model, 4), { step: 0, learningRate: 0 });
    const memory = engine.memory();
    const elements = engine.parameters().reduce((sum, { elements }) => sum + elements, 0);
    expect(memory.parameters).toBeGreaterThanOrEqual(4 * 4 * elements);
    expect(memory.activations).toBeGreaterThan(0);
    expect(memory.total).toBe(memory.parameters + memory.activations + memory.workspace);
    await engine.dispose();
    expect(engine.memory().total).toBe(0);
  });

  it("leaves the floating-point mode of the calling thread alone", async () => {
    const engine = await create();
    await engine.trainStep(tinyBatch(engine.model, 4), { step: 0, learningRate: 1e-3 });
    const [smallest, small, one] = ["5e-324", "1e-310", "1"].map(Number) as [number, number, number];
    expect(smallest * one + 0 === 0).toBe(false);
    expect(small * one).toBe(1e-310);
    expect(small / one + small).toBe(2e-310);
  });
});
