import { describe, expect, it } from "vitest";
import type { ElectraError } from "../../../src/errors.js";
import {
  type ResolvedPretraining,
  type ResolvePretrainingOptions,
  resolvePretrainingHparams,
} from "../../../src/hparams/pretraining-hparams.js";
import { withVocabularySize } from "../../../src/hparams/vocabulary-size.js";

function resolve(
  hparams: Record<string, unknown> = {},
  preset: NonNullable<ResolvePretrainingOptions["preset"]> = "google",
): ResolvedPretraining {
  return resolvePretrainingHparams({ dataDir: "data", modelName: "m", hparams, preset });
}

function errorOf(hparams: Record<string, unknown>): ElectraError {
  try {
    resolve(hparams);
  } catch (error) {
    return error as ElectraError;
  }
  throw new Error(`accepted: ${JSON.stringify(hparams)}`);
}

const codes = (resolved: ResolvedPretraining) => resolved.warnings.map(({ code }) => code);

describe("the order of resolution", () => {
  it("derives small's embedding size after the user's values, unless the user gave one", () => {
    expect(resolve().hparams.embedding_size).toBe(128);
    expect(resolve().sources.embedding_size).toBe("derived");
    expect(resolve({ embedding_size: 64 }).hparams.embedding_size).toBe(64);
    expect(resolve({ embedding_size: null }).hparams.embedding_size).toBeNull();
    expect(resolve({ model_size: "base" }).hparams.embedding_size).toBeNull();
  });

  it("turns on the towers for Electric", () => {
    const { hparams, sources } = resolve({ electric_objective: true });
    expect(hparams.two_tower_generator).toBe(true);
    expect(sources.two_tower_generator).toBe("derived");
  });

  it("applies the user's values again after those of debug", () => {
    const { hparams, sources } = resolve({ debug: true, num_train_steps: 7 });
    expect(hparams).toMatchObject({
      train_batch_size: 8,
      num_train_steps: 7,
      eval_batch_size: 4,
      iterations_per_loop: 1,
      num_eval_steps: 2,
      num_warmup_steps: 10_000,
    });
    expect(sources).toMatchObject({
      num_train_steps: "hparams",
      train_batch_size: "debug",
      mask_prob: "default",
    });
  });

  it("computes the slots from the user's mask_prob and length", () => {
    expect(resolve().hparams.max_predictions_per_seq).toBe(19);
    expect(resolve({ mask_prob: 0.25, max_seq_length: 512 }).hparams.max_predictions_per_seq).toBe(130);
  });

  it("places files under data folder and model name, and results under the model folder", () => {
    expect(resolve().hparams).toMatchObject({
      data_dir: "data",
      model_name: "m",
      pretrain_tfrecords: "data/pretrain_tfrecords/pretrain_data.tfrecord*",
      vocab_file: "data/vocab.txt",
      model_dir: "data/models/m",
      results_txt: "data/models/m/results/unsup_results.txt",
      results_json: "data/models/m/results/unsup_results.json",
    });
    expect(resolve({ model_dir: "elsewhere" }).hparams.results_txt).toBe(
      "elsewhere/results/unsup_results.txt",
    );
  });

  it("returns frozen plain data", () => {
    const { hparams } = resolve({ model_hparam_overrides: { hidden_size: 128 } });
    expect(Object.isFrozen(hparams) && Object.isFrozen(hparams.model_hparam_overrides)).toBe(true);
    expect(JSON.parse(JSON.stringify(hparams))).toEqual(hparams);
  });
});

describe("the presets", () => {
  it("leaves the reference's values alone under google", () => {
    const { hparams, sources } = resolve({ model_size: "base" });
    expect(hparams).toMatchObject({
      mask_without_replacement: false,
      max_seq_length: 128,
      learning_rate: 5e-4,
    });
    expect(Object.values(sources)).not.toContain("preset");
  });

  it("gives base and large the paper's values under fixed", () => {
    expect(resolve({ model_size: "base" }, "fixed").hparams).toMatchObject({
      mask_without_replacement: true,
      max_seq_length: 512,
      learning_rate: 2e-4,
      generator_hidden_size: 1 / 3,
      train_batch_size: 256,
      mask_prob: 0.15,
      max_predictions_per_seq: 79,
    });
    expect(resolve({ model_size: "large" }, "fixed").hparams).toMatchObject({
      max_seq_length: 512,
      learning_rate: 2e-4,
      generator_hidden_size: 0.25,
      mask_prob: 0.25,
      train_batch_size: 2048,
      max_predictions_per_seq: 130,
    });
  });

  it("changes only the masks of small, and yields to the user", () => {
    expect(resolve({}, "fixed").hparams).toMatchObject({
      mask_without_replacement: true,
      learning_rate: 5e-4,
    });
    const own = resolve(
      { model_size: "base", learning_rate: 1e-3, mask_without_replacement: false },
      "fixed",
    );
    expect(own.hparams).toMatchObject({ learning_rate: 1e-3, mask_without_replacement: false });
  });

  it.each([
    ["google", { electric_objective: true }, "keep"],
    ["google", { two_tower_generator: true }, "keep"],
    ["google", {}, "drop"],
    ["fixed", { electric_objective: true }, "drop"],
    ["fixed", { row_mode: "keep" }, "keep"],
    ["google", { electric_objective: true, row_mode: "drop" }, "drop"],
  ] as const)("under %s with %j treats padding as %s", (preset, hparams, mode) => {
    expect(resolve(hparams, preset).hparams.row_mode).toBe(mode);
  });
});

describe("combinations that cannot run", () => {
  it.each([
    [{ do_eval: true }, "Exactly one of `do_train` or `do_eval` must be True", '"do_train": false'],
    [{ do_train: false }, "both are false", "Set one"],
    [{ electric_objective: true, two_tower_generator: false }, "electric_objective needs two_tower", "Leave"],
    [
      { electric_objective: true, uniform_generator: true },
      "electric_objective cannot be combined",
      "uniform",
    ],
    [{ two_tower_generator: true, uniform_generator: true }, "two_tower_generator cannot be", "uniform"],
    [
      { two_tower_generator: true, untied_generator: false },
      "untied_generator false",
      "untied_generator to true",
    ],
    [
      { electric_objective: true, untied_generator: false },
      "untied_generator false",
      "untied_generator to true",
    ],
    [
      { two_tower_generator: true, electra_objective: false },
      "BERT's objective",
      "two_tower_generator to false",
    ],
    [{ uniform_generator: true, electra_objective: false }, "nothing to train", "uniform_generator to false"],
    [{ heldout_tfrecords: "h*", heldout_fraction: 0.1 }, "both say what to evaluate on", "one of the two"],
    [{ mask_prob: 0.01, max_seq_length: 32 }, "leaves no token to predict", "at least 0.032"],
  ])("refuses %j", (hparams, message, hint) => {
    const error = errorOf(hparams);
    expect(error.code).toBe("ERR_ELECTRA_HPARAM_CONFLICT");
    expect(error.exitCode).toBe(2);
    expect(error.message).toContain(message);
    expect(error.hint).toContain(hint);
  });

  it("suggests a share of masks that is then accepted", () => {
    const { hint } = errorOf({ mask_prob: 0.01, max_seq_length: 32 });
    const suggested = Number(/[\d.]+\d/.exec(hint ?? "")?.[0]);
    expect(resolve({ mask_prob: suggested, max_seq_length: 32 }).hparams.max_predictions_per_seq).toBe(1);
  });

  it.each([
    [
      { model_hparam_overrides: { hidden_size: 100, num_attention_heads: 3 } },
      "discriminator's width 100 is not divisible by its 3",
    ],
    [
      { model_size: "large", generator_hidden_size: 0.33333 },
      "generator's width 341 is not divisible by its 5",
    ],
    [{ generator_layers: 0.01 }, "generator would have 0 layers of width 64"],
    [{ generator_hidden_size: 0.001 }, "generator would have 12 layers of width 0"],
    [{ max_seq_length: 1024 }, "max_seq_length 1024 exceeds the 512 rows"],
  ])("refuses the shape of %j", (hparams, message) => {
    const error = errorOf(hparams);
    expect(error.code).toBe("ERR_ELECTRA_MODEL_SHAPE");
    expect(error.message).toContain(message);
    expect(error.hint).toBeTruthy();
  });

  it("does not mind the shape of a generator that is not built", () => {
    expect(() => resolve({ electra_objective: false, generator_layers: 0.01 })).not.toThrow();
  });
});

describe("the warnings", () => {
  it.each([
    [{ num_train_steps: 100 }, ["warmup_longer_than_training"]],
    [{ num_train_steps: 10_000 }, ["warmup_longer_than_training"]],
    [{ num_train_steps: 10_001 }, []],
    [{ num_train_steps: 100, num_warmup_steps: 10 }, []],
    [{ num_train_steps: 100, do_train: false, do_eval: true }, []],
    [{ use_tpu: true, tpu_name: "t", num_tpu_cores: 8 }, ["setting_without_effect"]],
    [{ do_lower_case: false }, ["setting_without_effect"]],
    [{ eval_steps: 100 }, ["nothing_held_out"]],
    [{ eval_steps: 100, heldout_fraction: 0.01 }, []],
    [{ eval_steps: 100, heldout_tfrecords: "h*" }, []],
    [{ uniform_generator: true, generator_layers: 0.5 }, ["setting_without_effect"]],
    [{ model_size: "base" }, ["settings_of_small"]],
    [{ model_size: "base", max_seq_length: 512, learning_rate: 2e-4, generator_hidden_size: 0.33333 }, []],
    [{ model_size: "large", max_seq_length: 512, learning_rate: 2e-4 }, []],
  ])("for %j are %j", (hparams, expected) => {
    expect(codes(resolve(hparams))).toEqual(expected);
  });

  it("are silent under the preset fixed", () => {
    for (const model_size of ["small", "base", "large"])
      expect(resolve({ model_size }, "fixed").warnings).toEqual([]);
  });

  it("say what small's settings would be replaced with", () => {
    const [warning] = resolve({ model_size: "base", learning_rate: 2e-4 }).warnings;
    expect(warning?.message).toBe(
      'model_size "base" runs with small\'s "max_seq_length": 128, "generator_hidden_size": 0.25.',
    );
    expect(warning?.hint).toContain('"max_seq_length": 512, "generator_hidden_size": 0.33333');
  });

  it("name the overrides that debug ignores", () => {
    const { warnings } = resolve({
      debug: true,
      model_hparam_overrides: { hidden_size: 64, vocab_size: 99 },
    });
    expect(warnings.map(({ message }) => message)).toContainEqual(
      "model_hparam_overrides of hidden_size have no effect: debug fixes the model's size.",
    );
  });
});

describe("withVocabularySize", () => {
  it("takes the size of the file when none was given", () => {
    const sized = withVocabularySize(resolve(), 8000);
    expect(sized.hparams.vocab_size).toBe(8000);
    expect(sized.sources.vocab_size).toBe("derived");
  });

  it.each([{ vocab_size: 100 }, { model_hparam_overrides: { vocab_size: 100 } }])(
    "refuses %j, smaller than the file",
    (hparams) => {
      expect(() => withVocabularySize(resolve(hparams), 8000)).toThrow(
        "vocab_size 100 is smaller than the vocabulary: data/vocab.txt has 8000 tokens",
      );
    },
  );

  it("warns of rows without a token", () => {
    const sized = withVocabularySize(resolve({ vocab_size: 9000 }), 8000);
    expect(sized.hparams.vocab_size).toBe(9000);
    expect(codes(sized)).toEqual(["vocabulary_smaller_than_model"]);
    expect(codes(withVocabularySize(resolve({ vocab_size: 8000 }), 8000))).toEqual([]);
  });
});
