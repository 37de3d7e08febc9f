import { afterAll, beforeAll, expect, it } from "vitest";
import { FinetuningEngine } from "../../../src/engine/finetuning-engine.js";
import type { FinetuningBatch, FinetuningModelConfig } from "../../../src/engine/finetuning-types.js";
import { describeWithAddon } from "./describe-with-addon.js";
import { length, mixedBatch, model, span } from "./tiny-finetuning.js";
import { tinyModel } from "./tiny-model.js";

/** Rows `from` … `to` of it as a batch of their own. */
function part(batch: FinetuningBatch, from: number, to: number): FinetuningBatch {
  const { words, targets } = batch;
  const offsets = words!.offsets.subarray(from, to + 1).map((offset) => offset - words!.offsets[from]!);
  const [first, last] = [words!.offsets[from]!, words!.offsets[to]!];
  return {
    rows: to - from,
    length: batch.length,
    firstRow: from,
    lengths: batch.lengths.subarray(from, to),
    inputIds: batch.inputIds.subarray(from * length, to * length),
    segmentIds: batch.segmentIds!.subarray(from * length, to * length),
    taskIds: batch.taskIds!.subarray(from, to),
    words: { offsets, positions: words!.positions.subarray(first, last) },
    targets: {
      classes: targets!.classes!.subarray(from, to),
      labels: targets!.labels!.subarray(2 * from, 2 * to),
      values: targets!.values!.subarray(from, to),
      wordClasses: targets!.wordClasses!.subarray(first, last),
      starts: targets!.starts!.subarray(from, to),
      ends: targets!.ends!.subarray(from, to),
      impossible: targets!.impossible!.subarray(from, to),
    },
  };
}

async function gradientsOf(engine: FinetuningEngine): Promise<Map<string, Float32Array>> {
  const gradients = new Map<string, Float32Array>();
  for (const { name } of engine.parameters())
    gradients.set(name, await engine.readParameter(name, "gradient"));
  return gradients;
}

const withTargets = (changes: object): FinetuningBatch => {
  const batch = mixedBatch();
  return { ...batch, targets: { ...batch.targets, ...changes } };
};

describeWithAddon("the fine-tuning engine", () => {
  let engine: FinetuningEngine;
  beforeAll(async () => {
    engine = await FinetuningEngine.create({ model, threads: 2, seed: 3 });
  });
  afterAll(() => engine?.dispose());

  it("has the reference's variables for every head", () => {
    const heads = engine
      .parameters()
      .filter(({ name }) => name.startsWith("task_specific/") && name.endsWith("/kernel"))
      .map(({ name, shape }) => `${name.slice("task_specific/".length)} ${shape.join("x")}`);
    expect(heads).toEqual([
      "topic/dense/kernel 32x3",
      "marks/dense/kernel 32x2",
      "score/dense/kernel 32x1",
      "tags/dense/kernel 32x4",
      "answer/dense/kernel 32x1",
      "answer/qa_hidden/kernel 64x512",
      "answer/dense_1/kernel 512x1",
      "answer/dense_2/kernel 64x512",
      "answer/dense_3/kernel 512x1",
    ]);
    expect(engine.parameters().find(({ name }) => name.endsWith("topic/dense/bias"))?.decay).toBe(false);
  });

  it("sums losses over rows and tasks", async () => {
    const { loss, taskLosses, taskRows, tokens, outputs } = await engine.forwardBackward(mixedBatch(), {
      outputs: ["loss"],
    });
    expect(taskRows).toEqual([2, 1, 1, 1, 1]);
    expect(tokens).toBe(12 + 9 + 16 + 7 + 14 + 3 + 5);
    const rows = [...outputs["loss"]!.data];
    expect(rows[5]).toBe(0);
    expect(rows.filter((value) => value > 0)).toHaveLength(6);
    expect(loss).toBeCloseTo(
      taskLosses.reduce((sum, value) => sum + value, 0),
      9,
    );
    expect(loss / rows.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 6);
    expect(taskLosses[0]! / (rows[0]! + rows[6]!)).toBeCloseTo(1, 6);
  });

  it("learns", async () => {
    const own = await FinetuningEngine.create({ model, threads: 2, seed: 3 });
    const first = await own.trainStep(mixedBatch(), { step: 0, learningRate: 1e-3 });
    for (let step = 1; step < 30; step++) await own.trainStep(mixedBatch(), { step, learningRate: 1e-3 });
    const { loss } = await own.predict(mixedBatch(), { outputs: [] });
    expect(loss).toBeLessThan(first.loss / 10);
    await own.dispose();
  });

  it("computes the same bits with any number of threads", async () => {
    const states = await Promise.all(
      [1, 2, 3].map(async (threads) => {
        const own = await FinetuningEngine.create({ model, threads, seed: 3 });
        for (let step = 0; step < 3; step++) await own.trainStep(mixedBatch(), { step, learningRate: 1e-3 });
        const values = await Promise.all(own.parameters().map(({ name }) => own.readParameter(name)));
        await own.dispose();
        return values;
      }),
    );
    expect(states[1]).toEqual(states[0]);
    expect(states[2]).toEqual(states[0]);
  });

  it("adds up a batch from its parts, whatever the cut: draws belong to rows", async () => {
    const batch = mixedBatch();
    const whole = await engine.forwardBackward(batch, { step: 4 });
    const expected = await gradientsOf(engine);
    const one = await engine.forwardBackward(part(batch, 0, 3), { step: 4 });
    const two = await engine.forwardBackward(part(batch, 3, 7), { step: 4, accumulate: true });
    expect(one.loss + two.loss).toBeCloseTo(whole.loss, 4);
    const actual = await gradientsOf(engine);
    for (const [name, values] of expected) {
      const peak = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
      const worst = values.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - actual.get(name)![i]!)),
        0,
      );
      expect(worst / peak, name).toBeLessThan(1e-4);
    }
  });

  it("scales the rate of every variable", async () => {
    const names: string[] = [];
    const own = await FinetuningEngine.create({
      model,
      threads: 2,
      seed: 3,
      learningRateScale: (name) => {
        names.push(name);
        return name.startsWith("task_specific/") ? 1 : name.includes("/embeddings/") ? 0 : 0.5;
      },
    });
    expect(names).toEqual(own.parameters().map(({ name }) => name));
    const plain = await FinetuningEngine.create({ model, threads: 2, seed: 3 });
    const before = new Map<string, Float32Array>();
    for (const { name } of own.parameters()) before.set(name, await own.readParameter(name));
    for (const each of [own, plain]) await each.trainStep(mixedBatch(), { step: 0, learningRate: 1e-3 });
    for (const [name, scale] of [
      ["task_specific/answer/qa_hidden/kernel", 1],
      ["electra/encoder/layer_0/attention/self/key/kernel", 0.5],
      ["electra/embeddings/word_embeddings", 0],
    ] as const) {
      const start = before.get(name)!;
      const [scaled, full] = await Promise.all([own, plain].map((each) => each.readParameter(name)));
      for (let i = 0; i < start.length; i += 7)
        expect(scaled![i]! - start[i]!).toBeCloseTo(scale * (full![i]! - start[i]!), 6);
    }
    await Promise.all([own.dispose(), plain.dispose()]);
  });

  it("refuses rates that cannot be", async () => {
    await expect(
      FinetuningEngine.create({ model, learningRateScale: () => Number.NaN }),
    ).rejects.toMatchObject({
      code: "ERR_ELECTRA_ARGUMENT",
      message: expect.stringContaining("word_embeddings"),
    });
    await expect(
      FinetuningEngine.create({ model, learningRateScale: (name) => (name.includes("/key/") ? 0.5 : 1) }),
    ).rejects.toMatchObject({
      code: "ERR_ELECTRA_ARGUMENT",
      message: expect.stringMatching(/query\/kernel is 1 and that of .*key\/kernel 0.5/),
    });
  });

  it("predicts with zeros for other tasks, and nothing where a beam runs out of tokens", async () => {
    const batch = mixedBatch();
    batch.lengths[4] = 3;
    const { loss, outputs } = await engine.predict(
      { ...batch, targets: {} },
      {
        outputs: [
          "loss",
          "topic/logits",
          "marks/logits",
          "score/predictions",
          "tags/logits",
          "tags/predictions",
          "answer/start_logits",
          "answer/answerable_logit",
          "answer/start_top_index",
          "answer/start_top_log_probs",
          "answer/end_top_index",
          "answer/end_top_log_probs",
          "hidden/electra/sequence_output",
        ],
      },
    );
    expect(loss).toBe(0);
    const shapes = Object.fromEntries(Object.entries(outputs).map(([name, { shape }]) => [name, shape]));
    expect(shapes).toEqual({
      loss: [7],
      "topic/logits": [7, 3],
      "marks/logits": [7, 2],
      "score/predictions": [7],
      "tags/logits": [3, 4],
      "tags/predictions": [3],
      "answer/start_logits": [7, length],
      "answer/answerable_logit": [7],
      "answer/start_top_index": [7, 4],
      "answer/start_top_log_probs": [7, 4],
      "answer/end_top_index": [7, 4, 4],
      "answer/end_top_log_probs": [7, 4, 4],
      "hidden/electra/sequence_output": [7, length, 32],
    });
    const logits = outputs["topic/logits"]!.data;
    expect([...logits.subarray(3, 18)]).toEqual(Array(15).fill(0));
    expect(logits[0]).not.toBe(0);
    const starts = [...outputs["answer/start_top_index"]!.data.subarray(16, 20)];
    expect(starts[3]).toBe(-1);
    expect(starts.slice(0, 3).sort()).toEqual([0, 1, 2]);
    expect(outputs["answer/start_top_log_probs"]!.data[19]).toBe(-Infinity);
    expect([...outputs["answer/end_top_index"]!.data.subarray(76, 80)]).toEqual([-1, -1, -1, -1]);
  });

  it("gives a row without tokens neither loss nor results", async () => {
    const batch = mixedBatch();
    batch.lengths[0] = 0;
    batch.lengths[4] = 0;
    const { outputs } = await engine.forwardBackward(batch, { outputs: ["loss", "topic/logits"] });
    expect([outputs["loss"]!.data[0], outputs["loss"]!.data[4]]).toEqual([0, 0]);
    expect([...outputs["topic/logits"]!.data.subarray(0, 3)]).toEqual([0, 0, 0]);
  });

  it.each<[string, () => FinetuningBatch, RegExp, string?]>([
    [
      "an unknown task",
      () => ({ ...mixedBatch(), taskIds: Int32Array.of(0, 0, 0, 0, 0, 0, 9) }),
      /taskIds\[6\] is 9.*5 tasks/,
    ],
    [
      "a class that is none",
      () => withTargets({ classes: new Int32Array(7).fill(3) }),
      /classes\[0\] is 3.*topic/,
    ],
    [
      "a value that is no number",
      () => withTargets({ values: new Float32Array(7).fill(Number.NaN) }),
      /row 2.*nan/i,
    ],
    ["missing targets", () => withTargets({ starts: undefined }), /row 4 belongs to the task answer.*starts/],
    [
      "a start behind the row",
      () => withTargets({ starts: new Int32Array(7).fill(14) }),
      /starts\[4\] is 14.*14 tokens/,
    ],
    [
      "an answer that is neither",
      () => withTargets({ impossible: new Int32Array(7).fill(2) }),
      /impossible\[4\] is 2/,
    ],
    [
      "a tag that is none",
      () => withTargets({ wordClasses: Int32Array.of(0, -1, 0) }),
      /wordClasses\[1\] is -1/,
    ],
    [
      "no words",
      () => {
        const { words: _, ...batch } = mixedBatch();
        return { ...batch, targets: { ...batch.targets, wordClasses: new Int32Array(0) } };
      },
      /row 3 belongs to the task tags.*no words/,
    ],
    [
      "a word behind the row",
      () => ({
        ...mixedBatch(),
        words: { offsets: mixedBatch().words!.offsets, positions: Int32Array.of(1, 7, 2) },
      }),
      /positions\[1\] is 7, and row 3 has 7 tokens/,
    ],
    [
      "words of a row without tags",
      () => ({
        ...mixedBatch(),
        words: { offsets: Int32Array.of(0, 1, 1, 1, 3, 3, 3, 3), positions: Int32Array.of(1, 2, 5) },
      }),
      /row 0 has 1 words/,
    ],
    [
      "falling offsets",
      () => ({
        ...mixedBatch(),
        words: { offsets: Int32Array.of(0, 0, 0, 0, 4, 3, 3, 3), positions: Int32Array.of(1, 2, 5) },
      }),
      /4 for row 4 and 3 after it/,
    ],
    [
      "labels of another width",
      () => withTargets({ labels: new Float32Array(7) }),
      /7 elements in targets.labels.*14/,
    ],
    [
      "classes of another type",
      () => withTargets({ classes: new Float32Array(7) }),
      /no Int32Array as targets.classes/,
    ],
  ])("refuses %s, saying where", async (_what, batch, message) => {
    const error = await engine.forwardBackward(batch()).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "ERR_ELECTRA_BATCH", message: expect.stringMatching(message) });
  });

  it("says what to do about a target that does not fit", async () => {
    const error = await engine
      .forwardBackward(withTargets({ classes: new Int32Array(7).fill(3) }))
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ hint: expect.stringContaining("list of labels") });
  });

  it("refuses outputs that it has not, before anything is computed", async () => {
    await expect(engine.predict(mixedBatch(), { outputs: ["topic/answers"] })).rejects.toMatchObject({
      code: "ERR_ELECTRA_ARGUMENT",
      message: expect.stringContaining("topic/answers"),
    });
    const { targets: _, ...bare } = mixedBatch();
    await expect(engine.predict(bare, { outputs: ["answer/end_logits"] })).rejects.toMatchObject({
      code: "ERR_ELECTRA_BATCH",
      hint: expect.stringContaining("end_top_index"),
    });
  });

  it.each<[string, Partial<FinetuningModelConfig>, RegExp]>([
    ["no task", { tasks: [] }, /at least one task/],
    ["two tasks of one name", { tasks: [model.tasks[0]!, model.tasks[0]!] }, /two tasks are called topic/],
    ["a slash in a name", { tasks: [{ name: "a/b", head: { kind: "regression" } }] }, /a\/b/],
    ["rows too long for the encoder", { max_seq_length: 17 }, /max_seq_length 17/],
    ["no class", { tasks: [{ name: "t", head: { kind: "classification", classes: 0 } }] }, /0 classes/],
    ["a beam wider than rows", { tasks: [{ name: "t", head: { ...span, beamSize: 17 } }] }, /beam_size 17/],
  ])("refuses a model with %s", async (_what, changes, message) => {
    await expect(FinetuningEngine.create({ model: { ...model, ...changes } })).rejects.toMatchObject({
      code: "ERR_ELECTRA_CONFIG",
      message: expect.stringMatching(message),
    });
  });

  it("leaves weights alone after an abort, and rejects everything after dispose", async () => {
    const own = await FinetuningEngine.create({ model, threads: 2, seed: 3 });
    const name = "task_specific/topic/dense/kernel";
    const before = await own.readParameter(name);
    const reason = new Error("enough");
    await expect(
      own.trainStep(mixedBatch(), { step: 0, learningRate: 1, signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
    expect(await own.readParameter(name)).toEqual(before);
    expect(own.disposed).toBe(false);
    await own.dispose();
    expect(own.disposed).toBe(true);
    await expect(own.predict(mixedBatch(), { outputs: [] })).rejects.toMatchObject({
      code: "ERR_ELECTRA_DISPOSED",
    });
  });

  it("tells of gradients that are no numbers, and changes nothing", async () => {
    const own = await FinetuningEngine.create({ model, threads: 2, seed: 3 });
    const name = "task_specific/score/dense/bias";
    await own.writeParameter(name, Float32Array.of(Number.POSITIVE_INFINITY));
    const kernel = await own.readParameter("task_specific/score/dense/kernel");
    await expect(own.trainStep(mixedBatch(), { step: 8, learningRate: 1 })).rejects.toMatchObject({
      code: "ERR_ELECTRA_NOT_FINITE",
      message: expect.stringContaining("Step 8"),
    });
    expect(await own.readParameter("task_specific/score/dense/kernel")).toEqual(kernel);
    await own.dispose();
  });

  it("computes padding where it is asked to, to the same end", async () => {
    const dry = {
      ...model,
      encoder: tinyModel({ length, dropout: 0 }).discriminator,
      head_dropout_prob: 0,
    };
    const losses = await Promise.all(
      [false, true].map(async (keep) => {
        const own = await FinetuningEngine.create({
          model: { ...dry, keep_padding: keep },
          threads: 1,
          seed: 3,
        });
        const { loss } = await own.forwardBackward(mixedBatch());
        await own.dispose();
        return loss;
      }),
    );
    expect(losses[1]! / losses[0]!).toBeCloseTo(1, 5);
  });
});
