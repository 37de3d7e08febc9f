import { afterEach, expect, it } from "vitest";
import { Engine } from "../../../src/engine/engine.js";
import type { Batch, PretrainingModelConfig } from "../../../src/engine/types.js";
import { ElectraError } from "../../../src/errors.js";
import { describeWithAddon } from "./describe-with-addon.js";
import { tinyBatch, tinyModel } from "./tiny-model.js";

const model = tinyModel();
const open: Engine[] = [];
async function create(of: PretrainingModelConfig = model): Promise<Engine> {
  const engine = await Engine.create({ model: of, threads: 1, seed: 1 });
  open.push(engine);
  return engine;
}
afterEach(async () => {
  for (const engine of open.splice(0)) await engine.dispose();
});

describeWithAddon("a bad request", () => {
  const bad: readonly (readonly [string, Partial<Parameters<typeof Engine.create>[0]>, string])[] = [
    ["a GPU that is not there", { device: "cuda:999" }, "ERR_ELECTRA_NO_CUDA"],
    ["an unknown device", { device: "tpu" as "cpu" }, "ERR_ELECTRA_ARGUMENT"],
    ["no threads", { threads: 0 }, "ERR_ELECTRA_ARGUMENT"],
    ["a seed with a fraction", { seed: 0.5 }, "ERR_ELECTRA_ARGUMENT"],
    ["an unknown product", { gemm: "magic" as "auto" }, "ERR_ELECTRA_ARGUMENT"],
    ["an unknown objective", { model: { ...model, objective: "gan" as "mlm" } }, "ERR_ELECTRA_CONFIG"],
    [
      "an unknown activation",
      { model: { ...model, discriminator: { ...model.discriminator, hidden_act: "swish" } } },
      "ERR_ELECTRA_CONFIG",
    ],
    [
      "heads that do not divide the width",
      { model: { ...model, discriminator: { ...model.discriminator, num_attention_heads: 5 } } },
      "ERR_ELECTRA_CONFIG",
    ],
    [
      "a width that is no number",
      { model: { ...model, discriminator: { ...model.discriminator, hidden_size: Number.NaN } } },
      "ERR_ELECTRA_ARGUMENT",
    ],
  ];
  it.each(bad)("for an engine with %s is refused", async (_, options, code) => {
    const creation = Engine.create({ model, threads: 1, ...options });
    await expect(creation).rejects.toBeInstanceOf(ElectraError);
    await expect(creation).rejects.toMatchObject({ code });
  });

  it("without the generator that its kind needs is refused", async () => {
    const { generator: _, ...rest } = model;
    await expect(Engine.create({ model: rest })).rejects.toMatchObject({ code: "ERR_ELECTRA_CONFIG" });
  });

  const batches: readonly (readonly [string, (batch: Batch) => Batch, RegExp])[] = [
    ["too few ids", (batch) => ({ ...batch, inputIds: new Int32Array(3) }), /inputIds/],
    ["ids of another type", (batch) => ({ ...batch, inputIds: new Float32Array(64) as never }), /inputIds/],
    ["rows longer than the model's", (batch) => ({ ...batch, length: 17 }), /max_seq_length 16/],
    ["no rows", (batch) => ({ ...batch, rows: 0 }), /0 rows/],
    [
      "a length beyond the row",
      (batch) => ({ ...batch, lengths: Int32Array.of(1, 2, 17, 3) }),
      /lengths\[2\]/,
    ],
  ];
  it.each(batches)("with a batch of %s is refused before it is queued", async (_, spoil, message) => {
    const engine = await create();
    const step = engine.trainStep(spoil(tinyBatch(model, 4)), { step: 0, learningRate: 1e-3 });
    await expect(step).rejects.toMatchObject({
      code: "ERR_ELECTRA_BATCH",
      message: expect.stringMatching(message),
    });
  });

  it("with an id beyond the vocabulary names the id", async () => {
    const engine = await create();
    const batch = tinyBatch(model, 2);
    batch.inputIds[5] = 61;
    const step = engine.trainStep(batch, { step: 0, learningRate: 1e-3 });
    await expect(step).rejects.toBeInstanceOf(ElectraError);
    await expect(step).rejects.toThrow(/61/);
  });

  it("with draws of the wrong size is refused", async () => {
    const engine = await create();
    const options = { draws: { positions: new Int32Array(1) } };
    await expect(engine.evaluate(tinyBatch(model, 2), options)).rejects.toMatchObject({
      code: "ERR_ELECTRA_SHAPE",
    });
  });

  it("for an unknown variable or another size is refused", async () => {
    const engine = await create();
    await expect(engine.readParameter("nothing")).rejects.toMatchObject({ code: "ERR_ELECTRA_PARAMETER" });
    const name = engine.parameters()[0]?.name ?? "";
    await expect(engine.writeParameter(name, new Float32Array(3))).rejects.toMatchObject({
      code: "ERR_ELECTRA_PARAMETER",
    });
  });
});

describeWithAddon("a step that is not finite", () => {
  it("names step and variable, changes nothing and drops the steps sent before its failure was known", async () => {
    const engine = await create();
    const name = "electra/encoder/layer_0/attention/output/dense/bias";
    const bias = await engine.readParameter(name);
    await engine.writeParameter(name, new Float32Array(bias.length).fill(Number.NaN));
    const before = await engine.readParameter("electra/embeddings/word_embeddings");

    const batch = tinyBatch(model, 4);
    const steps = [41, 42].map((step) => engine.trainStep(batch, { step, learningRate: 1e-3 }));
    const [failed, dropped] = await Promise.allSettled(steps);
    expect(failed).toMatchObject({
      status: "rejected",
      reason: {
        code: "ERR_ELECTRA_NOT_FINITE",
        message: expect.stringMatching(/^Step 41: the gradient of \S+\//),
      },
    });
    expect(dropped).toMatchObject({ status: "rejected", reason: { code: "ERR_ELECTRA_STEP_DROPPED" } });
    expect(await engine.readParameter("electra/embeddings/word_embeddings")).toEqual(before);
    const moments = await engine.readParameter("electra/embeddings/word_embeddings", "adam_m");
    expect(moments.every((value) => value === 0)).toBe(true);

    // Mended, the engine goes on.
    await engine.writeParameter(name, bias);
    const next = await engine.trainStep(batch, { step: 42, learningRate: 1e-3 });
    expect(Number.isFinite(next.loss)).toBe(true);
  });
});

describeWithAddon("an abort", () => {
  const large = tinyModel({ hidden: 128, layers: 6, length: 64, vocabulary: 500 });

  it("before the call rejects with the signal's reason", async () => {
    const engine = await create();
    const reason = new Error("changed my mind");
    const signal = AbortSignal.abort(reason);
    await expect(engine.evaluate(tinyBatch(model, 2), { signal })).rejects.toBe(reason);
  });

  it("ends a running step between layers and leaves the weights as they were", async () => {
    const engine = await create(large);
    const batch = tinyBatch(large, 12);
    const name = "electra/embeddings/word_embeddings";
    const whole = await engine.trainStep(batch, { step: 0, learningRate: 0 });
    const before = await engine.readParameter(name);
    const controller = new AbortController();
    const running = engine.trainStep(batch, { step: 1, learningRate: 1e-3, signal: controller.signal });
    setTimeout(() => controller.abort(new Error("enough")), 5);
    const begin = performance.now();
    await expect(running).rejects.toThrow("enough");
    expect((performance.now() - begin) / 1000).toBeLessThan(whole.seconds);
    expect(await engine.readParameter(name)).toEqual(before);
  });

  it("takes a queued job out and lets the others be", async () => {
    const engine = await create(large);
    const batch = tinyBatch(large, 8);
    const controller = new AbortController();
    const first = engine.evaluate(batch);
    const second = engine.evaluate(batch, { signal: controller.signal });
    const third = engine.evaluate(batch);
    controller.abort();
    await expect(second).rejects.toMatchObject({ name: "AbortError" });
    expect((await third).loss).toBe((await first).loss);
  });
});

describeWithAddon("disposal", () => {
  it("rejects what runs and what waits, frees the memory, and may be repeated", async () => {
    const large = tinyModel({ hidden: 128, layers: 6, length: 64, vocabulary: 500 });
    const engine = await create(large);
    const batch = tinyBatch(large, 12);
    const jobs = [0, 1, 2].map((step) => engine.trainStep(batch, { step, learningRate: 1e-3 }));
    const settled = Promise.allSettled(jobs);
    await engine.dispose();
    await engine.dispose();
    for (const result of await settled) {
      expect(result).toMatchObject({ status: "rejected", reason: { code: "ERR_ELECTRA_DISPOSED" } });
    }
    expect(engine.disposed).toBe(true);
    await expect(engine.evaluate(batch)).rejects.toMatchObject({ code: "ERR_ELECTRA_DISPOSED" });
    expect(engine.memory().total).toBe(0);
  });

  it("happens at the end of a using block", async () => {
    let seen: Engine;
    {
      await using engine = await Engine.create({ model, threads: 1 });
      seen = engine;
      expect(engine.disposed).toBe(false);
    }
    expect(seen.disposed).toBe(true);
  });

  it("gives all memory back over many lives", async () => {
    const medium = tinyModel({ hidden: 32, vocabulary: 8000 });
    const live = async () => {
      const engine = await Engine.create({ model: medium, threads: 2 });
      await engine.trainStep(tinyBatch(medium, 4), { step: 0, learningRate: 1e-3 });
      const { total } = engine.memory();
      await engine.dispose();
      return total;
    };
    let total = 0;
    for (let i = 0; i < 10; i++) total = await live();
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 30; i++) await live();
    // A leak of one life in ten would show.
    expect(process.memoryUsage.rss() - before).toBeLessThan(3 * total);
  });
});
