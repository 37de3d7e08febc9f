import { describe, expect, it } from "vitest";
import { ElectraError } from "../../../src/errors.js";
import { layerwiseMultiplier } from "../../../src/hparams/layerwise-learning-rate.js";

const base = { decay: 0.8, numHiddenLayers: 12 };

describe("layerwiseMultiplier", () => {
  it.each([
    ["task_specific/mnli/dense/kernel", 1],
    ["electra/encoder/layer_11/output/dense/kernel", 0.64],
    ["electra/encoder/layer_10/output/LayerNorm/beta", 0.512],
    ["electra/encoder/layer_1/output/dense/bias", 0.8 ** 12],
    ["electra/encoder/layer_0/attention/self/query/kernel", 0.054976],
    ["electra/embeddings/word_embeddings", 0.04398],
    ["electra/embeddings_project/bias", 0.04398],
    ["task_specific/embeddings/dense/kernel", 1],
  ])("gives %s the reference's factor", (name, expected) => {
    expect(layerwiseMultiplier(name, base)).toBeCloseTo(expected, 5);
  });

  it("gives the top layer the first power when the gap is closed", () => {
    const options = { ...base, closeGap: true };
    expect(layerwiseMultiplier("electra/encoder/layer_11/output/dense/kernel", options)).toBeCloseTo(0.8);
    expect(layerwiseMultiplier("electra/embeddings/word_embeddings", options)).toBeCloseTo(0.8 ** 13);
    expect(layerwiseMultiplier("task_specific/mnli/dense/kernel", options)).toBe(1);
  });

  it("gives all variables one rate when switched off", () => {
    expect(layerwiseMultiplier("anything", { decay: 0, numHiddenLayers: 12 })).toBe(1);
  });

  it.each(["pooler/dense/kernel", "electra/encoder/layer_12/output/dense/kernel"])(
    "refuses %s, which belongs to no level",
    (name) => {
      expect(() => layerwiseMultiplier(name, base)).toThrow(ElectraError);
      expect(() => layerwiseMultiplier(name, base)).toThrow(name);
    },
  );
});
