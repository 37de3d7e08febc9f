import { describe, expect, it } from "vitest";
import { encoderFlop, pretrainingStepFlop } from "../../../src/bench/model-flop.js";
import { Engine } from "../../../src/engine/engine.js";
import { FinetuningEngine } from "../../../src/engine/finetuning-engine.js";
import type { PretrainingModelConfig, TransformerShape } from "../../../src/engine/types.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";

const shape: TransformerShape = {
  vocab_size: 40,
  embedding_size: 8,
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 32,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  max_position_embeddings: 12,
  type_vocab_size: 2,
  initializer_range: 0.02,
};

describe("multiplications and additions of a model", () => {
  it("counts an encoder as its layers say", () => {
    // One token: the projection 8 x 16; a layer's query, key, value 16 x 48, output 16 x 16, feed-forward 2 x 16 x 32; scores and
    // context 2 x 16 for itself.
    const layer = 16 * 48 + 16 * 16 + 2 * 16 * 32;
    expect(encoderFlop(shape, [1]).forward).toBe(2 * (8 * 16 + 2 * (layer + 2 * 16)));
    // Three tokens attend nine times.
    expect(encoderFlop(shape, [3]).forward).toBe(2 * (3 * (8 * 16 + 2 * layer) + 2 * 9 * 2 * 16));
    expect(encoderFlop(shape, [3, 1]).forward).toBe(
      encoderFlop(shape, [3]).forward + encoderFlop(shape, [1]).forward,
    );
  });
});

const model: PretrainingModelConfig = {
  objective: "electra",
  generator_kind: "masked",
  discriminator: shape,
  generator: { ...shape, hidden_size: 12, intermediate_size: 20 },
  mask_prob: 0.25,
  max_seq_length: 12,
  max_predictions_per_seq: 3,
  cls_id: 1,
  sep_id: 2,
  mask_id: 3,
};
const batch = {
  rows: 3,
  length: 12,
  inputIds: Int32Array.from({ length: 36 }, (_, i) => 5 + (i % 30)),
  lengths: Int32Array.of(12, 7, 10),
};

describeWithAddon("a step, operator by operator", () => {
  it.each<[string, Partial<PretrainingModelConfig>]>([
    ["ELECTRA", {}],
    ["a generator with tables of its own", { untied_generator_embeddings: true }],
    ["one encoder for both", { generator_kind: "shared" }],
    ["a uniform generator", { generator_kind: "uniform" }],
    ["Electric's two towers", { objective: "electric", generator_kind: "two_towers" }],
    ["a masked language model", { objective: "mlm", generator_kind: "shared" }],
  ])("%s: the operators do as many as the model says", async (_, changes) => {
    const config = { ...model, ...changes };
    await using engine = await Engine.create({ model: config, device: "cpu", threads: 1, profile: true });
    await engine.trainStep(batch, { step: 0, learningRate: 1e-3 });
    await engine.profile();
    const { seconds, slots } = await engine.trainStep(batch, { step: 1, learningRate: 1e-3 });
    const operators = await engine.profile();

    const flop = operators.reduce((sum, each) => sum + each.flop, 0);
    expect(flop).toBe(pretrainingStepFlop(config, batch.lengths, slots));
    // All of the step's operators, once: they fit into its time, slowest first.
    const times = operators.map((each) => each.seconds);
    expect(times).toEqual([...times].sort((a, b) => b - a));
    expect(times.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(seconds);
    expect(operators.find(({ operator }) => operator === "adam")?.calls).toBe(1);
    // What was told is forgotten.
    expect(await engine.profile()).toEqual([]);
  });

  it("predictions of a classifier do an encoder's and a head's", async () => {
    const tasks = [{ name: "pairs", head: { kind: "classification", classes: 2 } }] as const;
    await using engine = await FinetuningEngine.create({
      model: { encoder: shape, tasks, max_seq_length: 12 },
      device: "cpu",
      threads: 1,
      profile: true,
    });
    await engine.predict(batch, { outputs: ["pairs/logits"] });
    const operators = await engine.profile();
    const encoder = operators.filter(
      ({ operator, shape: at }) => operator === "attention" || !at.startsWith("16 to 2"),
    );
    const flop = encoder.reduce((sum, each) => sum + each.flop, 0);
    expect(flop).toBe(encoderFlop(shape, batch.lengths).forward);
  });

  it("is told by an engine that was asked to look, on the CPU", async () => {
    await using engine = await Engine.create({ model, device: "cpu", threads: 1 });
    await expect(engine.profile()).rejects.toMatchObject({ code: "ERR_ELECTRA_ARGUMENT" });
  });
});
