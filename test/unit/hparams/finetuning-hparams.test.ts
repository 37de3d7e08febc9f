import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  finetuningSteps,
  paddedExampleCount,
  resolveFinetuningHparams,
} from "../../../src/hparams/finetuning-hparams.js";
import { finetuningJsonSchema } from "../../../src/hparams/finetuning-json-schema.js";
import { fillPlace } from "../../../src/hparams/finetuning-places.js";
import type { FinetuningPreset } from "../../../src/hparams/finetuning-presets.js";
import { finetuningHparamNames } from "../../../src/hparams/finetuning-schema.js";

const resolve = (hparams: Readonly<Record<string, unknown>>, preset: FinetuningPreset = "google") =>
  resolveFinetuningHparams({ dataDir: "data", modelName: "m", hparams, preset });

describe("resolving hparams of fine-tuning", () => {
  it("applies task, size and debug over what was given, then what was given once more", () => {
    const { hparams, sources } = resolve({
      task_names: ["squad"],
      model_size: "large",
      num_train_epochs: 7,
      write_test_outputs: true,
      debug: true,
    });
    expect(hparams).toMatchObject({
      max_seq_length: 512,
      num_train_epochs: 7,
      write_test_outputs: true,
      learning_rate: 5e-5,
      layerwise_lr_decay: 0.9,
      log_examples: true,
      embedding_size: null,
    });
    expect(sources).toMatchObject({
      max_seq_length: "task",
      num_train_epochs: "hparams",
      learning_rate: "size",
      log_examples: "debug",
      beam_size: "default",
      model_dir: "derived",
    });
  });

  it("gives several tasks no defaults of any one of them", () => {
    expect(resolve({ task_names: ["rte", "squad"] }).hparams).toMatchObject({
      max_seq_length: 128,
      num_train_epochs: 3,
    });
  });

  it("turns every quirk off under the preset fixed, unless it is asked for", () => {
    const fixed = resolve({ task_names: ["naturalqs"] }, "fixed").hparams;
    expect(fixed).toMatchObject({
      max_seq_length: 512,
      num_train_epochs: 2,
      learning_rate: 3e-4,
      weight_decay_rate: 0,
    });
    const kept = resolve({ task_names: ["naturalqs"], naturalqs_as_qa: false }, "fixed").hparams;
    expect(kept).toMatchObject({ max_seq_length: 128, num_train_epochs: 3, glue_f1: true });
    expect(resolve({ task_names: ["naturalqs"], naturalqs_as_qa: true }).hparams.max_seq_length).toBe(512);
  });

  it("puts everything where the reference does", () => {
    const { hparams } = resolve({ task_names: ["mnli", "sts"] });
    expect(hparams.init_checkpoint).toBe(join("data", "models", "m"));
    expect(hparams.results_txt).toBe(join("data", "models", "m", "results", "mnli,sts_results.txt"));
    expect(fillPlace(hparams.test_predictions, { task: "mnli", split: "test_matched", trial: 2 })).toBe(
      join("data", "models", "m", "test_predictions", "mnli_test_matched_2_predictions.json"),
    );
    expect(resolve({ init_checkpoint: null }).hparams.init_checkpoint).toBeNull();
  });

  it("explains what cannot be", () => {
    const failures: readonly [Readonly<Record<string, unknown>>, object][] = [
      [
        { layerwise_learning_rate_decay: 0.9 },
        { code: "ERR_ELECTRA_UNKNOWN_HPARAM", hint: expect.stringContaining("finetune --help") },
      ],
      [
        { learning_rat: 1 },
        { code: "ERR_ELECTRA_UNKNOWN_HPARAM", hint: expect.stringContaining("learning_rate") },
      ],
      [{ task_names: "mrpc" }, { code: "ERR_ELECTRA_BAD_HPARAM" }],
      [{ task_names: ["a/b"] }, { code: "ERR_ELECTRA_BAD_HPARAM" }],
      [{ task_names: ["rte", "rte"] }, { code: "ERR_ELECTRA_HPARAM_CONFLICT" }],
    ];
    for (const [hparams, error] of failures) {
      expect(() => resolve(hparams)).toThrowError(expect.objectContaining({ exitCode: 2, ...error }));
    }
  });

  it("counts the steps of the padded training set", () => {
    expect(paddedExampleCount(2490, 32)).toBe(2496);
    expect(finetuningSteps(2490, { train_batch_size: 32, num_train_epochs: 10 })).toBe(780);
    expect(finetuningSteps(0, { train_batch_size: 32, num_train_epochs: 10 })).toBe(0);
  });

  it("has a JSON Schema with every name and the defaults", () => {
    const { properties } = finetuningJsonSchema() as {
      properties: Record<string, { default?: unknown; description?: string }>;
    };
    expect(Object.keys(properties)).toEqual(["$schema", ...finetuningHparamNames()]);
    expect(properties["joint_prediction"]?.default).toBe(true);
    for (const name of finetuningHparamNames()) expect(properties[name]?.description).toMatch(/\S/);
  });
});
