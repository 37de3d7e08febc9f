import { describe, expect, it } from "vitest";
import { generatorKind, pretrainingObjective } from "../../../src/hparams/generator-kind.js";
import { resolvePretrainingHparams } from "../../../src/hparams/pretraining-hparams.js";
import { countParameters, pretrainingVariables } from "../../../src/hparams/pretraining-variables.js";

const resolve = (hparams: Record<string, unknown>) =>
  resolvePretrainingHparams({ dataDir: "d", modelName: "m", hparams }).hparams;
const variables = (hparams: Record<string, unknown>) => pretrainingVariables(resolve(hparams));
/** First name component of every run of variables. */
const scopes = (hparams: Record<string, unknown>) => {
  const all = variables(hparams).map(({ name }) =>
    name
      .split("/")
      .slice(0, 2)
      .join("/")
      .replace(/\/(dense|Layer|output).*/, ""),
  );
  return all.filter((scope, i) => scope !== all[i - 1]);
};

describe("pretrainingVariables", () => {
  it.each([
    [{ generator_hidden_size: 0.25 }, 14_196_219, 402],
    [{ generator_hidden_size: 1 }, 23_122_875, 402],
    [{ model_size: "base", generator_hidden_size: 1 / 3 }, 119_386_427, 400],
    [{ model_size: "base" }, 115_149_307, 400],
    [{ model_size: "large" }, 354_655_291, 784],
    [{ electric_objective: true }, 14_812_475, 596],
    [{ debug: true }, 4_852_795, 114],
  ])("of %j are as many as the reference's", (hparams, parameters, count) => {
    const list = variables(hparams);
    expect(countParameters(list)).toBe(parameters);
    expect(list).toHaveLength(count);
  });

  it.each([
    [
      {},
      [
        "electra/embeddings",
        "generator/embeddings_project",
        "generator/encoder",
        "generator_predictions",
        "electra/embeddings_project",
        "electra/encoder",
        "discriminator_predictions",
      ],
    ],
    [
      { electra_objective: false },
      ["electra/embeddings", "electra/embeddings_project", "electra/encoder", "generator_predictions"],
    ],
    [
      { untied_generator: false },
      [
        "electra/embeddings",
        "electra/embeddings_project",
        "electra/encoder",
        "generator_predictions",
        "discriminator_predictions",
      ],
    ],
    [
      { uniform_generator: true },
      ["electra/embeddings", "electra/embeddings_project", "electra/encoder", "discriminator_predictions"],
    ],
    [
      { untied_generator_embeddings: true, two_tower_generator: true },
      [
        "generator_ltr/embeddings",
        "generator_ltr/encoder",
        "generator_rtl/embeddings",
        "generator_rtl/encoder",
        "cloze_predictions",
        "electra/embeddings",
        "electra/embeddings_project",
        "electra/encoder",
        "discriminator_predictions",
      ],
    ],
  ])("of %j come in the reference's order", (hparams, expected) => {
    expect(scopes(hparams)).toEqual(expected);
  });

  it("has each name once", () => {
    const names = variables({ electric_objective: true }).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it.each([
    ["electra/embeddings/word_embeddings", true, "truncated_normal"],
    ["generator_predictions/output_bias", false, "zeros"],
    ["electra/embeddings/LayerNorm/gamma", false, "ones"],
    ["electra/embeddings_project/kernel", true, "glorot_uniform"],
    ["discriminator_predictions/dense_1/kernel", true, "glorot_uniform"],
    ["discriminator_predictions/dense/kernel", true, "truncated_normal"],
  ])("decays and initialises %s as the reference", (name, weightDecay, kind) => {
    expect(variables({}).find((variable) => variable.name === name)).toMatchObject({
      weightDecay,
      initializer: { kind },
    });
  });

  it("reads both towers in the cloze head", () => {
    const head = variables({ electric_objective: true }).find(
      ({ name }) => name === "cloze_predictions/dense/kernel",
    );
    expect(head?.shape).toEqual([128, 128]);
  });
});

describe("the generator that is built", () => {
  it.each([
    [{}, "electra", "masked"],
    [{ uniform_generator: true }, "electra", "uniform"],
    [{ two_tower_generator: true }, "electra", "two_towers"],
    [{ electric_objective: true }, "electric", "two_towers"],
    [{ electric_objective: true, electra_objective: false }, "electric", "two_towers"],
    [{ untied_generator: false }, "electra", "shared"],
    [{ electra_objective: false }, "mlm", "shared"],
  ])("for %j serves %s and is %s", (hparams, objective, kind) => {
    expect(pretrainingObjective(resolve(hparams))).toBe(objective);
    expect(generatorKind(resolve(hparams))).toBe(kind);
  });
});
