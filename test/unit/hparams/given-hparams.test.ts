import { describe, expect, it } from "vitest";
import type { ElectraError } from "../../../src/errors.js";
import { parseGivenHparams } from "../../../src/hparams/parse-given-hparams.js";
import { pretrainingHparamTable } from "../../../src/hparams/pretraining-hparam-table.js";
import { pretrainingJsonSchema } from "../../../src/hparams/pretraining-json-schema.js";

function errorOf(hparams: Record<string, unknown>): ElectraError {
  try {
    parseGivenHparams(hparams, "my.json");
  } catch (error) {
    return error as ElectraError;
  }
  throw new Error(`accepted: ${JSON.stringify(hparams)}`);
}

describe("parseGivenHparams", () => {
  it.each([
    ["learnin_rate", 'Did you mean "learning_rate"?'],
    ["numTrainSteps", 'Did you mean "num_train_steps"?'],
    ["mask-prob", 'Did you mean "mask_prob"?'],
    ["batch_size", '"train_batch_size" or "eval_batch_size"'],
    ["hidden_size", '{"model_hparam_overrides": {"hidden_size": …}}'],
    ["hidden_act", '{"model_hparam_overrides": {"hidden_act": …}}'],
    ["model_name", "--model-name"],
    ["data_dir", "--data-dir"],
    ["preset", "--preset"],
    ["max_predictions_per_seq", "mask_prob + 0.005"],
    ["zzzzzz", "pretrain --help"],
    ["constructor", "pretrain --help"],
  ])("refuses the unknown name %s and suggests what was meant", (name, hint) => {
    const error = errorOf({ [name]: 1 });
    expect(error.code).toBe("ERR_ELECTRA_UNKNOWN_HPARAM");
    expect(error.exitCode).toBe(2);
    expect(error.message).toBe(`Unknown hparam "${name}" in my.json.`);
    expect(error.hint).toContain(hint);
  });

  it.each([
    ["hiden_size", 'Did you mean "hidden_size"?'],
    ["embedding_size", "beside model_hparam_overrides"],
  ])("refuses the unknown override %s", (name, hint) => {
    const error = errorOf({ model_hparam_overrides: { [name]: 64 } });
    expect(error.message).toBe(`Unknown hparam "${name}" in model_hparam_overrides of my.json.`);
    expect(error.hint).toContain(hint);
  });

  it.each<[string, unknown, string]>([
    ["num_train_steps", "1000", 'an integer of at least 1, not "1000"'],
    ["num_train_steps", 10.5, "an integer of at least 1, not 10.5"],
    ["num_train_steps", 0, "an integer of at least 1, not 0"],
    ["learning_rate", -1, "a number of at least 0, not -1"],
    ["learning_rate", null, "a number of at least 0, not null"],
    ["mask_prob", 1, "a number between 0 and 1 (both excluded), not 1"],
    ["temperature", 0, "a number greater than 0, not 0"],
    ["debug", "yes", 'true or false (or 1, 0), not "yes"'],
    ["debug", 2, "true or false (or 1, 0), not 2"],
    ["model_size", "medium", 'one of "small", "base", "large", not "medium"'],
    ["row_mode", "pack", 'one of "auto", "drop", "keep", not "pack"'],
    ["embedding_size", "128", 'an integer of at least 1, or null, not "128"'],
    ["vocab_file", "", 'a path (non-empty text), not ""'],
    ["model_hparam_overrides", [], 'an object such as {"num_hidden_layers": 6}, not []'],
    ["heldout_tfrecords", 3, "a text or null, not 3"],
  ])("refuses %s of %j with what it must be", (name, value, expected) => {
    const error = errorOf({ [name]: value });
    expect(error.code).toBe("ERR_ELECTRA_BAD_HPARAM");
    expect(error.message).toBe(`In my.json: "${name}" must be ${expected}.`);
  });

  it("names a wrong override with its path", () => {
    expect(errorOf({ model_hparam_overrides: { hidden_act: "swish" } }).message).toContain(
      '"model_hparam_overrides.hidden_act" must be one of "gelu", "gelu_new", "relu", "tanh", "linear", not "swish"',
    );
  });

  it("lists all wrong values at once", () => {
    expect(errorOf({ num_train_steps: "1", debug: "no" }).message.split("\n")).toHaveLength(3);
  });

  it.each([
    [true, true],
    [false, false],
    [1, true],
    [0, false],
    ["true", true],
    ["false", false],
    ["True", true],
    ["False", false],
    ["1", true],
    ["0", false],
  ])("reads the boolean %j as %s", (written, value) => {
    expect(parseGivenHparams({ do_eval: written }, "x")).toEqual({ do_eval: value });
  });

  it("returns what was given and no defaults", () => {
    expect(parseGivenHparams({ num_train_steps: 1e6, embedding_size: null }, "x")).toEqual({
      num_train_steps: 1_000_000,
      embedding_size: null,
    });
  });
});

describe("the descriptions of the hparams", () => {
  it("has a type, a group and a help text for each", () => {
    const incomplete = pretrainingHparamTable().filter((row) => !row.group || !row.expects || !row.help);
    expect(incomplete).toEqual([]);
  });

  it("has the reference's defaults", () => {
    const defaults = Object.fromEntries(pretrainingHparamTable().map((row) => [row.name, row.default]));
    expect(defaults).toMatchObject({
      do_train: true,
      do_eval: false,
      electra_objective: true,
      gen_weight: 1,
      disc_weight: 50,
      mask_prob: 0.15,
      learning_rate: 5e-4,
      weight_decay_rate: 0.01,
      num_warmup_steps: 10_000,
      num_train_steps: 1_000_000,
      save_checkpoints_steps: 1000,
      num_eval_steps: 100,
      keep_checkpoint_max: 5,
      model_size: "small",
      embedding_size: null,
      vocab_size: 30_522,
      untied_generator: true,
      generator_layers: 1,
      generator_hidden_size: 0.25,
      temperature: 1,
      max_seq_length: 128,
      train_batch_size: 128,
      eval_batch_size: 128,
      iterations_per_loop: 200,
    });
  });

  it("exports a JSON Schema with types, defaults and help that refuses other names", () => {
    const schema = pretrainingJsonSchema() as {
      additionalProperties: boolean;
      properties: Record<string, Record<string, unknown>>;
    };
    expect(schema.additionalProperties).toBe(false);
    expect(schema.properties["num_train_steps"]).toMatchObject({
      type: "integer",
      minimum: 1,
      default: 1_000_000,
    });
    expect(schema.properties["debug"]).toMatchObject({ default: false, description: expect.any(String) });
    expect(schema.properties["model_size"]).toMatchObject({ enum: ["small", "base", "large"] });
    expect(JSON.stringify(schema)).not.toContain("expects");
  });
});
