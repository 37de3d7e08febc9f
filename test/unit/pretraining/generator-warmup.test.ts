import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readModelWeights } from "../../../src/checkpoint/model-weights.js";
import { resolvePretrainingHparams } from "../../../src/hparams/pretraining-hparams.js";
import { exportModel } from "../../../src/interop/export-model.js";
import { generatorWarmupEnd } from "../../../src/pretraining/generator-warmup.js";
import { type PretrainStart, pretrain } from "../../../src/pretraining/pretrain.js";
import type { StepEvent } from "../../../src/telemetry/run-event.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";
import { makeHuntingData } from "./hunting-data.js";

const END = 4;
const TOTAL = 7;

describeWithAddon("a new generator beside a trained discriminator", () => {
  let folder: string;
  let dataDir: string;
  let source: string;
  const machine = { device: "cpu", threads: 2 } as const;
  const settings = {
    max_seq_length: 16,
    train_batch_size: 8,
    num_warmup_steps: 0,
    save_checkpoints_steps: 100,
    keep_checkpoint_max: 0,
    learning_rate: 1e-2,
    // Where it is large, what it would change is large.
    weight_decay_rate: 0.5,
    generator_hidden_size: 0.5,
    num_train_steps: TOTAL,
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "electra-generator-warmup-"));
    dataDir = await makeHuntingData(folder, 200);
    const shape = {
      hidden_size: 64,
      num_hidden_layers: 2,
      intermediate_size: 96,
      max_position_embeddings: 32,
    };
    await pretrain({
      dataDir,
      modelName: "original",
      ...machine,
      hparams: { ...settings, num_train_steps: 3, model_hparam_overrides: shape },
    });
    source = join(folder, "discriminator");
    await exportModel({
      model: join(dataDir, "models/original"),
      format: "hf",
      outputDir: source,
      part: "discriminator",
    });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  interface Told {
    readonly start: PretrainStart;
    readonly steps: readonly StepEvent[];
    readonly checkpoint: string;
    readonly at: (step: number) => string;
  }

  /** @param until stop at the first checkpoint from this step on */
  async function run(modelName: string, hparams: object, until = Number.POSITIVE_INFINITY): Promise<Told> {
    let start: PretrainStart | undefined;
    const steps: StepEvent[] = [];
    const controller = new AbortController();
    const result = await pretrain({
      dataDir,
      modelName,
      initFrom: source,
      allowCreated: ["generator", "generator_predictions"],
      ...machine,
      hparams: { ...settings, ...hparams },
      signal: controller.signal,
      onStart: (given) => {
        start = given;
      },
      sinks: [
        {
          emit: (event) => {
            if (event.type === "step") steps.push(event);
            if (event.type === "checkpoint" && event.step >= until) controller.abort();
          },
          close: async () => {},
        },
      ],
    });
    const at = (step: number): string => join(result.modelDir, `checkpoint-${step}`);
    return { start: start!, steps, checkpoint: result.checkpoint!, at };
  }

  /** Names of variables that differ between a checkpoint and the model that the run began with, of those in both. */
  async function changed(checkpoint: string): Promise<string[]> {
    const [before, after] = [await readModelWeights(source), await readModelWeights(checkpoint)];
    const names: string[] = [];
    for (const name of before.tensors.keys()) {
      const [old, now] = [await before.readFloat32(name), await after.readFloat32(name)];
      if (Buffer.compare(Buffer.from(old.buffer), Buffer.from(now.buffer)) !== 0) names.push(name);
    }
    await before.close();
    await after.close();
    return names;
  }

  it("learns alone at first: not a bit of the discriminator or of the shared embeddings changes", async () => {
    const { start, steps, at } = await run("alone", {
      generator_warmup_steps: END,
      save_checkpoints_steps: 1,
    });
    expect(start.generatorWarmupEnd).toBe(END);
    for (const step of [1, END]) expect(await changed(at(step))).toEqual([]);
    const after = await changed(at(END + 1));
    expect(after).toContain("electra/embeddings/word_embeddings");
    expect(after).toContain("electra/encoder/layer_0/output/dense/kernel");

    const [first, last] = [await readModelWeights(at(1)), await readModelWeights(at(END))];
    for (const name of last.tensors.keys()) {
      const moments = await last.moments!.readFloat32(`${name}/adam_v`);
      const own = /^generator(_predictions)?\//.test(name);
      expect([name, moments.some((value) => value !== 0)]).toEqual([name, own]);
      if (own) expect(await last.readFloat32(name)).not.toEqual(await first.readFloat32(name));
    }
    await first.close();
    await last.close();
    for (const { step, loss, metrics } of steps) {
      const both = metrics["masked_lm_loss"]! + 50 * metrics["disc_loss"]!;
      expect(metrics["disc_loss"]).toBeGreaterThan(0.01);
      expect(loss).toBeCloseTo(step <= END ? metrics["masked_lm_loss"]! : both, 3);
    }
    expect(steps[END - 1]!.loss).toBeLessThan(steps[0]!.loss);
  });

  it("has the gradient of a run whose discriminator weighs nothing", async () => {
    const warm = await run("warm", { generator_warmup_steps: 1, num_train_steps: 1 });
    const weightless = await run("weightless", {
      generator_warmup_steps: 0,
      num_train_steps: 1,
      disc_weight: 0,
    });
    expect(weightless.start.generatorWarmupEnd).toBeUndefined();
    expect(warm.steps[0]!.metrics["grad_norm"]).toBe(weightless.steps[0]!.metrics["grad_norm"]);
    // There the optimizer shrinks the discriminator's kernels all the same.
    expect(await changed(weightless.checkpoint)).toContain("electra/encoder/layer_0/output/dense/kernel");
    expect(await changed(warm.checkpoint)).toEqual([]);
  });

  it.each([1, END, END + 1])("goes on from step %i to the same bits", async (stop) => {
    const whole = await run(`whole ${stop}`, { generator_warmup_steps: END });
    const name = `stopped ${stop}`;
    const hparams = { generator_warmup_steps: END, save_checkpoints_steps: stop };
    await run(name, hparams, stop);
    const rest = await run(name, hparams);
    expect(rest.start.resumedFrom).toBeDefined();
    expect(rest.start.step).toBeLessThan(TOTAL);
    expect(rest.start.generatorWarmupEnd).toBe(rest.start.step < END ? END : undefined);
    for (const file of [
      "discriminator/model.safetensors",
      "generator/model.safetensors",
      "training.safetensors",
    ]) {
      expect(
        readFileSync(join(rest.checkpoint, file)).equals(readFileSync(join(whole.checkpoint, file))),
      ).toBe(true);
    }
  });

  it("ends when the hparam becomes 0", async () => {
    const hparams = { generator_warmup_steps: 6, save_checkpoints_steps: 1 };
    const begun = await run("ended", hparams, 1);
    expect(begun.start.generatorWarmupEnd).toBe(6);
    const { start } = await run("ended", { ...hparams, generator_warmup_steps: 0 });
    expect(start.resumedFrom).toBeDefined();
    expect(start.generatorWarmupEnd).toBeUndefined();
  });
});

describe("the length of a generator's warm-up", () => {
  const encoder = { name: "electra/encoder/layer_0/output/dense/kernel", shape: [1], note: "" };
  const generator = { ...encoder, name: "generator/encoder/layer_0/output/dense/kernel" };
  const head = { ...encoder, name: "generator_predictions/dense/kernel" };
  const [loaded, created] = [{ origin: "loaded" }, { origin: "created" }] as const;

  it.each([
    { what: "a tenth of the steps", steps: 1000, expected: 100 },
    { what: "2000 at most", steps: 1_000_000, expected: 2000 },
    { what: "of the steps that remain", steps: 1000, first: 900, expected: 910 },
    { what: "as given", steps: 1000, given: 7, expected: 7 },
    { what: "no more than there are", steps: 10, given: 50, expected: 10 },
    { what: "none when given as 0", steps: 1000, given: 0, expected: undefined },
    { what: "none in a handful of steps", steps: 9, expected: undefined },
    { what: "none where the generator is there", steps: 1000, generatorIs: loaded, expected: undefined },
    { what: "none where the discriminator is new too", steps: 1000, encoderIs: created, expected: undefined },
  ])("is $what", ({ steps, first = 0, given, generatorIs = created, encoderIs = loaded, expected }) => {
    const { hparams } = resolvePretrainingHparams({
      dataDir: "data",
      modelName: "m",
      hparams: { num_train_steps: steps, ...(given === undefined ? {} : { generator_warmup_steps: given }) },
    });
    const origins = [
      { ...encoder, ...encoderIs },
      { ...generator, ...generatorIs },
      { ...head, ...created },
    ];
    expect(generatorWarmupEnd(hparams, { step: first, origins })).toBe(expected);
  });
});
