import { describe, expect, it } from "vitest";
import { resolvePretrainingHparams } from "../../../src/hparams/pretraining-hparams.js";
import { discriminatorConfig, generatorConfig } from "../../../src/hparams/transformer-config.js";

const resolve = (hparams: Record<string, unknown>) =>
  resolvePretrainingHparams({ dataDir: "d", modelName: "m", hparams }).hparams;

const shape = (config: ReturnType<typeof discriminatorConfig>) => [
  config.hidden_size,
  config.num_hidden_layers,
  config.num_attention_heads,
  config.intermediate_size,
  config.embedding_size,
];

describe("discriminatorConfig", () => {
  it.each([
    ["small", [256, 12, 4, 1024, 128]],
    ["base", [768, 12, 12, 3072, 768]],
    ["large", [1024, 24, 16, 4096, 1024]],
  ])("has the reference's shape for %s", (model_size, expected) => {
    expect(shape(discriminatorConfig(resolve({ model_size })))).toEqual(expected);
  });

  it("has the reference's common settings", () => {
    expect(discriminatorConfig(resolve({}))).toMatchObject({
      vocab_size: 30_522,
      hidden_act: "gelu",
      hidden_dropout_prob: 0.1,
      attention_probs_dropout_prob: 0.1,
      max_position_embeddings: 512,
      type_vocab_size: 2,
      initializer_range: 0.02,
    });
  });

  it("applies overrides twice: derived sizes follow the width unless they are given", () => {
    const narrow = { hidden_size: 128 };
    expect(shape(discriminatorConfig(resolve({ model_hparam_overrides: narrow })))).toEqual([
      128, 12, 2, 512, 128,
    ]);
    const explicit = { hidden_size: 128, num_attention_heads: 8, intermediate_size: 100 };
    expect(shape(discriminatorConfig(resolve({ model_hparam_overrides: explicit })))).toEqual([
      128, 12, 8, 100, 128,
    ]);
  });

  it("ignores overrides of its size in debug, and only those", () => {
    const overrides = { hidden_size: 64, num_hidden_layers: 9, vocab_size: 99 };
    const config = discriminatorConfig(resolve({ debug: true, model_hparam_overrides: overrides }));
    expect(shape(config)).toEqual([144, 3, 4, 576, 128]);
    expect(config.vocab_size).toBe(99);
  });

  it("keeps small's embedding size whatever the width, and takes null as the width", () => {
    const overrides = { model_hparam_overrides: { hidden_size: 320 } };
    expect(discriminatorConfig(resolve(overrides)).embedding_size).toBe(128);
    expect(discriminatorConfig(resolve({ ...overrides, embedding_size: null })).embedding_size).toBe(320);
  });
});

describe("generatorConfig", () => {
  it.each([
    [{ model_size: "small" }, [64, 12, 1, 256]],
    [{ model_size: "small", generator_hidden_size: 1 }, [256, 12, 4, 1024]],
    [{ model_size: "base" }, [192, 12, 3, 768]],
    [{ model_size: "base", generator_hidden_size: 0.33333 }, [256, 12, 4, 1024]],
    [{ model_size: "large" }, [256, 24, 4, 1024]],
    [{ model_size: "small", generator_hidden_size: 0.3, generator_layers: 0.5 }, [77, 6, 1, 308]],
    [{ debug: true }, [36, 3, 1, 144]],
    // 12 · 0.375 = 4.5 and 10 · 0.25 = 2.5 round to the even neighbour.
    [{ generator_layers: 0.375 }, [64, 4, 1, 256]],
    [{ model_hparam_overrides: { hidden_size: 10, num_attention_heads: 1 } }, [2, 12, 1, 8]],
  ])("of %j is %j", (hparams, expected) => {
    expect(shape(generatorConfig(resolve(hparams))).slice(0, 4)).toEqual(expected);
  });

  it("does not inherit the width of the feed-forward layer, but the rest", () => {
    const overrides = { intermediate_size: 99, hidden_dropout_prob: 0, vocab_size: 500 };
    const config = generatorConfig(resolve({ model_hparam_overrides: overrides }));
    expect(config).toMatchObject({ intermediate_size: 256, hidden_dropout_prob: 0, vocab_size: 500 });
  });

  it("shares the discriminator's embeddings unless they are untied", () => {
    expect(generatorConfig(resolve({})).embedding_size).toBe(128);
    expect(generatorConfig(resolve({ untied_generator_embeddings: true })).embedding_size).toBe(64);
  });
});
