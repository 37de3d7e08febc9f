import { describe, expect, it } from "vitest";
import { checkConfig, hfConfigJson, parseHfConfig } from "../../../src/checkpoint/hf-config.js";
import { hfLayout, type ModelLayout, sharedVariables } from "../../../src/checkpoint/hf-layout.js";
import { tokenizerConfigJson } from "../../../src/checkpoint/hf-tokenizer.js";
import { pretrainingVariables, type VariableHparams } from "../../../src/hparams/pretraining-variables.js";
import { discriminatorConfig, generatorConfig } from "../../../src/hparams/transformer-config.js";
import { toyHparams } from "./toy-model.js";

const layoutOf = (overrides: Partial<VariableHparams> = {}): ModelLayout =>
  hfLayout(pretrainingVariables({ ...toyHparams, ...overrides }));

const find = (layout: ModelLayout, half: "generator" | "discriminator", variable: string) => {
  const entry = layout[half]?.entries.find((candidate) => candidate.variable === variable);
  return entry && [entry.hfName, entry.shape, entry.transposed];
};

describe("the Hugging Face names", () => {
  const electra = layoutOf();

  it.each([
    ["electra/embeddings/word_embeddings", "electra.embeddings.word_embeddings.weight", [39, 8]],
    ["electra/embeddings/position_embeddings", "electra.embeddings.position_embeddings.weight", [16, 8]],
    ["electra/embeddings/token_type_embeddings", "electra.embeddings.token_type_embeddings.weight", [2, 8]],
    ["electra/embeddings/LayerNorm/gamma", "electra.embeddings.LayerNorm.weight", [8]],
    ["electra/embeddings/LayerNorm/beta", "electra.embeddings.LayerNorm.bias", [8]],
    ["electra/embeddings_project/kernel", "electra.embeddings_project.weight", [16, 8]],
    ["electra/embeddings_project/bias", "electra.embeddings_project.bias", [16]],
    [
      "electra/encoder/layer_1/attention/self/query/kernel",
      "electra.encoder.layer.1.attention.self.query.weight",
      [16, 16],
    ],
    [
      "electra/encoder/layer_0/attention/self/key/bias",
      "electra.encoder.layer.0.attention.self.key.bias",
      [16],
    ],
    [
      "electra/encoder/layer_0/attention/output/LayerNorm/gamma",
      "electra.encoder.layer.0.attention.output.LayerNorm.weight",
      [16],
    ],
    [
      "electra/encoder/layer_0/intermediate/dense/kernel",
      "electra.encoder.layer.0.intermediate.dense.weight",
      [32, 16],
    ],
    ["electra/encoder/layer_0/output/dense/kernel", "electra.encoder.layer.0.output.dense.weight", [16, 32]],
    ["discriminator_predictions/dense/kernel", "discriminator_predictions.dense.weight", [16, 16]],
    [
      "discriminator_predictions/dense_1/kernel",
      "discriminator_predictions.dense_prediction.weight",
      [1, 16],
    ],
    ["discriminator_predictions/dense_1/bias", "discriminator_predictions.dense_prediction.bias", [1]],
  ] as const)("of the discriminator: %s is %s", (variable, name, shape) => {
    expect(find(electra, "discriminator", variable)).toEqual([name, shape, variable.endsWith("/kernel")]);
  });

  it.each([
    ["electra/embeddings/word_embeddings", "electra.embeddings.word_embeddings.weight", [39, 8]],
    ["generator/embeddings_project/kernel", "electra.embeddings_project.weight", [12, 8]],
    [
      "generator/encoder/layer_1/output/LayerNorm/beta",
      "electra.encoder.layer.1.output.LayerNorm.bias",
      [12],
    ],
    ["generator_predictions/dense/kernel", "generator_predictions.dense.weight", [8, 12]],
    ["generator_predictions/LayerNorm/gamma", "generator_predictions.LayerNorm.weight", [8]],
    ["generator_predictions/output_bias", "generator_lm_head.bias", [39]],
  ] as const)("of the generator: %s is %s", (variable, name, shape) => {
    expect(find(electra, "generator", variable)).toEqual([name, shape, variable.endsWith("/kernel")]);
  });

  it.each([
    ["electra", {}, "ElectraForMaskedLM", "ElectraForPreTraining", 5],
    ["BERT objective", { electra_objective: false }, "ElectraForMaskedLM", undefined, 0],
    ["tied encoder", { untied_generator: false }, "ElectraForMaskedLM", "ElectraForPreTraining", 39],
    [
      "untied embeddings",
      { untied_generator_embeddings: true },
      "ElectraForMaskedLM",
      "ElectraForPreTraining",
      0,
    ],
    ["uniform generator", { uniform_generator: true }, undefined, "ElectraForPreTraining", 0],
    ["two towers", { two_tower_generator: true }, "two-tower", "ElectraForPreTraining", 5],
    [
      "two towers with embeddings of their own",
      { two_tower_generator: true, untied_generator_embeddings: true },
      "two-tower",
      "ElectraForPreTraining",
      0,
    ],
  ] as const)(
    "of the variant %s place every variable once in a half",
    (_name, overrides, generator, discriminator, shared) => {
      const layout = layoutOf(overrides);
      expect(layout.generator?.architecture).toBe(generator);
      expect(layout.discriminator?.architecture).toBe(discriminator);
      expect(sharedVariables(layout).size).toBe(shared);
      for (const half of Object.values(layout)) {
        const names = half.entries.map(({ hfName }) => hfName);
        expect(new Set(names).size).toBe(names.length);
      }
      const placed = new Set(
        Object.values(layout).flatMap((half) => half.entries.map(({ variable }) => variable)),
      );
      expect(placed.size).toBe(pretrainingVariables({ ...toyHparams, ...overrides }).length);
    },
  );

  it("of two towers are their own", () => {
    const layout = layoutOf({ two_tower_generator: true });
    expect(find(layout, "generator", "generator_rtl/encoder/layer_0/output/dense/kernel")).toEqual([
      "generator_rtl.encoder.layer.0.output.dense.weight",
      [12, 48],
      true,
    ]);
    expect(find(layout, "generator", "cloze_predictions/output_bias")).toEqual([
      "cloze_predictions.output_bias",
      [39],
      false,
    ]);
  });

  it("are refused for a variable that belongs nowhere", () => {
    expect(() => hfLayout([{ name: "pooler/dense/kernel", shape: [4, 3] }])).toThrow(
      /no place .* "pooler\/dense\/kernel"/,
    );
  });

  it("of a fine-tuned model are the encoder's and the heads' own, whatever a task is called", () => {
    const layout = hfLayout([
      ...pretrainingVariables(toyHparams).filter(({ name }) => name.startsWith("electra/")),
      { name: "task_specific/mnli/dense/kernel", shape: [16, 3] },
      { name: "task_specific/mnli/dense/bias", shape: [3] },
      { name: "task_specific/layer_1/dense_1/kernel", shape: [512, 1] },
      { name: "task_specific/my_embeddings/qa_hidden/kernel", shape: [32, 512] },
    ]);
    expect(Object.keys(layout)).toEqual(["finetuned"]);
    expect(layout.finetuned!.architecture).toBe("ElectraModel");
    const names = layout.finetuned!.entries.map(({ hfName, shape }) => [hfName, shape]);
    expect(names).toContainEqual(["electra.encoder.layer.1.output.dense.weight", [16, 32]]);
    expect(names.slice(-4)).toEqual([
      ["task_specific.mnli.dense.weight", [3, 16]],
      ["task_specific.mnli.dense.bias", [3]],
      ["task_specific.layer_1.dense_1.weight", [1, 512]],
      ["task_specific.my_embeddings.qa_hidden.weight", [512, 32]],
    ]);
  });
});

describe("config.json", () => {
  const discriminator = discriminatorConfig(toyHparams);

  it("has every field that Hugging Face's ElectraConfig needs, and reads back", () => {
    const layout = layoutOf();
    const text = hfConfigJson(discriminator, layout.discriminator!);
    expect(JSON.parse(text)).toMatchObject({
      architectures: ["ElectraForPreTraining"],
      model_type: "electra",
      vocab_size: 39,
      embedding_size: 8,
      hidden_size: 16,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      intermediate_size: 32,
      hidden_act: "gelu",
      hidden_dropout_prob: 0.1,
      attention_probs_dropout_prob: 0.1,
      max_position_embeddings: 16,
      type_vocab_size: 2,
      initializer_range: 0.02,
      layer_norm_eps: 1e-12,
      pad_token_id: 0,
    });
    expect(parseHfConfig(text, "config.json")).toMatchObject(discriminator);
  });

  it("of two towers names no class, so that no Hugging Face loader takes it for something else", () => {
    const layout = layoutOf({ two_tower_generator: true });
    const fields = JSON.parse(hfConfigJson(generatorConfig(toyHparams), layout.generator!));
    expect(fields).not.toHaveProperty("architectures");
    expect(fields.model_type).toBe("electra-native-two-tower");
  });

  it.each([
    ["{", /not valid JSON/],
    ['{"model_type":"bert"}', /model_type is "bert", expected "electra"/],
    ['{"model_type":"electra"}', /vocab_size is undefined/],
    [JSON.stringify({ ...discriminator, model_type: "electra", hidden_size: -1 }), /hidden_size is -1/],
    [
      JSON.stringify({ ...discriminator, model_type: "electra", hidden_dropout_prob: 1 }),
      /hidden_dropout_prob is 1/,
    ],
  ])("that says %s is refused with the field's name", (text, message) => {
    expect(() => parseHfConfig(text, "config.json")).toThrow(message);
  });

  it.each([
    ["vocab_size", 40],
    ["embedding_size", 9],
    ["hidden_size", 18],
    ["intermediate_size", 33],
    ["num_hidden_layers", 3],
    ["max_position_embeddings", 17],
    ["type_vocab_size", 3],
    ["num_attention_heads", 3],
  ] as const)("is not written with a %s that the variables contradict", (field, value) => {
    expect(() => checkConfig({ ...discriminator, [field]: value }, layoutOf().discriminator!)).toThrow(
      new RegExp(`${field}`),
    );
    expect(() => checkConfig(discriminator, layoutOf().discriminator!)).not.toThrow();
  });
});

describe("tokenizer_config.json", () => {
  it.each([
    [true, true, true],
    [true, false, false],
    [false, true, false],
  ])(
    "with lower-casing %s and accent stripping %s strips accents: %s",
    (doLowerCase, stripAccents, strips) => {
      const fields = JSON.parse(tokenizerConfigJson({ vocabText: "", doLowerCase, stripAccents }, 128));
      expect(fields).toMatchObject({
        do_lower_case: doLowerCase,
        strip_accents: strips,
        tokenizer_class: "ElectraTokenizer",
        model_max_length: 128,
      });
    },
  );
});
