import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DurableFiles } from "../../../src/checkpoint/durable-files.js";
import { readModelWeights } from "../../../src/checkpoint/model-weights.js";
import { TensorBundleReader } from "../../../src/checkpoint/tensorflow/tensor-bundle.js";
import { writeTensorBundle } from "../../../src/checkpoint/tensorflow/write-tensor-bundle.js";
import { exportModel } from "../../../src/interop/export-model.js";
import { evaluatePretraining } from "../../../src/pretraining/evaluate.js";
import { type PretrainOptions, type PretrainStart, pretrain } from "../../../src/pretraining/pretrain.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";
import { makeHuntingData } from "./hunting-data.js";

/** What the released small model is: a generator as wide as the discriminator, no moments, four million steps. */
const RELEASED_STEP = 4_000_000;

describeWithAddon("a run that begins with a model made elsewhere", () => {
  let folder: string;
  let dataDir: string;
  const shape = { hidden_size: 64, num_hidden_layers: 2, intermediate_size: 96, max_position_embeddings: 32 };
  const machine = { device: "cpu", threads: 2 } as const;
  const settings = {
    max_seq_length: 16,
    train_batch_size: 8,
    num_warmup_steps: 2,
    save_checkpoints_steps: 100,
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "electra-initial-"));
    dataDir = await makeHuntingData(folder, 300);
    await pretrain({
      dataDir,
      modelName: "original",
      ...machine,
      hparams: {
        ...settings,
        num_train_steps: 30,
        learning_rate: 2e-3,
        generator_hidden_size: 1,
        model_hparam_overrides: shape,
      },
    });
    await exportModel({
      model: join(dataDir, "models/original"),
      format: "tf",
      outputDir: join(folder, "exported"),
      moments: false,
    });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const original = (): string => join(dataDir, "models/original");

  /** A TensorFlow folder of the weights, at the step of the released models. */
  async function released(place: string): Promise<void> {
    mkdirSync(place, { recursive: true });
    const bundle = await TensorBundleReader.open(join(folder, "exported/model.ckpt-30"));
    const step = new Uint8Array(BigInt64Array.of(BigInt(RELEASED_STEP)).buffer);
    const tensors = [...bundle.tensors].map(([name, { dtype, shape: sizes }]) => ({
      name,
      dtype: dtype as "F32" | "I64",
      shape: sizes,
      data: name === "global_step" ? () => [step] : () => bundle.chunks(name),
    }));
    await writeTensorBundle(join(place, "electra_small"), tensors, new DurableFiles());
    await bundle.close();
    copyFileSync(join(dataDir, "vocab.txt"), join(place, "vocab.txt"));
  }

  interface Told {
    readonly start: PretrainStart;
    readonly steps: readonly {
      readonly step: number;
      readonly learningRate: number;
      readonly loss: number;
    }[];
    readonly warnings: readonly string[];
    readonly checkpoint: string;
  }

  async function run(options: Omit<PretrainOptions, "dataDir">): Promise<Told> {
    let start: PretrainStart | undefined;
    const steps: Told["steps"][number][] = [];
    const warnings: string[] = [];
    const result = await pretrain({
      dataDir,
      ...machine,
      ...options,
      hparams: { ...settings, ...options.hparams },
      onStart: (given) => {
        start = given;
      },
      sinks: [
        {
          emit: (event) => {
            if (event.type === "warning") warnings.push(event.code);
            if (event.type === "step") {
              steps.push({
                step: event.step,
                learningRate: event.learning_rate,
                loss: event.loss,
              });
            }
          },
          close: async () => {},
        },
      ],
    });
    return { start: start!, steps, warnings, checkpoint: result.checkpoint! };
  }

  it("goes on from a TensorFlow folder in its place as the reference's README says, and resumes bit for bit", async () => {
    const total = RELEASED_STEP + 10;
    // "To start with a learning rate of 2e-4 set it to 2e-4 * (4e6 + 10000) / 10000": the schedule ends at 0.
    const hparams = { num_train_steps: total, learning_rate: (2e-4 * total) / 10, generator_hidden_size: 1 };
    for (const name of ["released", "stopped"]) await released(join(dataDir, "models", name));
    const whole = await run({ modelName: "released", hparams });
    expect(whole.start.step).toBe(RELEASED_STEP);
    expect(whole.start.initialized).toMatchObject({ moments: false });
    expect(
      whole.start.initialized!.origins.filter(({ origin }) => origin !== "loaded").map(({ name }) => name),
    ).toEqual(["global_step"]);
    expect(whole.start.setup.hparams.model_hparam_overrides).toMatchObject({
      ...shape,
      num_hidden_layers: 2,
    });
    expect(whole.steps.map(({ step }) => step)).toEqual(
      Array.from({ length: 10 }, (_, i) => RELEASED_STEP + i + 1),
    );
    // The reference computes 1 - step / steps in float32, which has 1e-3 of precision left so close to the end.
    expect(whole.steps[0]!.learningRate).toBeCloseTo(2e-4, 6);
    expect(whole.steps.at(-1)!.loss).toBeLessThan(1.01 * whole.steps[0]!.loss);

    const half = { ...hparams, save_checkpoints_steps: 5 };
    const controller = new AbortController();
    await pretrain({
      dataDir,
      modelName: "stopped",
      ...machine,
      hparams: { ...settings, ...half },
      signal: controller.signal,
      sinks: [
        {
          emit: (event) => {
            if (event.type === "checkpoint") controller.abort();
          },
          close: async () => {},
        },
      ],
    });
    const rest = await run({ modelName: "stopped", hparams: half });
    expect(rest.start.initialized).toBeUndefined();
    expect(rest.start.step).toBeGreaterThan(RELEASED_STEP);
    expect(rest.start.step).toBeLessThan(total);
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

  it("evaluates a TensorFlow folder in its place before there is a run", async () => {
    const outputDir = join(dataDir, "models/to-evaluate");
    await exportModel({ model: original(), format: "tf", outputDir });
    const evaluated = async (modelName: string, hparams: object = {}) =>
      await evaluatePretraining({
        dataDir,
        modelName,
        ...machine,
        hparams: { ...settings, num_eval_steps: 3, ...hparams },
      });
    // Both have seen 30 steps, so that the same tokens are masked.
    const own = await evaluated("original", { generator_hidden_size: 1, model_hparam_overrides: shape });
    const { checkpoint, metrics } = await evaluated("to-evaluate");
    expect(checkpoint).toBe(join(outputDir, "model.ckpt-30"));
    expect(metrics).toEqual(own.metrics);
    await expect(evaluated("nowhere")).rejects.toMatchObject({ code: "ERR_ELECTRA_NO_CHECKPOINT" });
  });

  it("takes over Google's moments where they are there", async () => {
    const outputDir = join(dataDir, "models/with-moments");
    await exportModel({ model: original(), format: "tf", outputDir });
    const { start } = await run({ modelName: "with-moments", hparams: { num_train_steps: 31 } });
    expect(start.initialized).toMatchObject({ moments: true, step: 30 });
  });

  it.each(["a run", "a Hugging Face folder", "a TensorFlow folder"])(
    "begins a new schedule with %s",
    async (kind) => {
      const name = `from ${kind}`;
      const hf = join(folder, "hf");
      if (kind === "a Hugging Face folder")
        await exportModel({ model: original(), format: "hf", outputDir: hf });
      const initFrom = {
        "a run": original(),
        "a Hugging Face folder": hf,
        "a TensorFlow folder": join(folder, "exported"),
      }[kind]!;
      const { start, checkpoint } = await run({ modelName: name, initFrom, hparams: { num_train_steps: 1 } });
      expect(start).toMatchObject({ step: 0, initialized: { step: 0, moments: false } });
      expect(start.setup.hparams).toMatchObject({ generator_hidden_size: 1, learning_rate: 1e-4 });
      // The rate of the first step is 0: the weights are still those it began with.
      const [before, after] = [await readModelWeights(original()), await readModelWeights(checkpoint)];
      expect([...after.tensors.keys()].sort()).toEqual([...before.tensors.keys()].sort());
      for (const variable of before.tensors.keys()) {
        expect(await after.readFloat32(variable)).toEqual(await before.readFloat32(variable));
      }
      await before.close();
      await after.close();

      const again = await run({ modelName: name, initFrom, hparams: { num_train_steps: 2 } });
      expect(again.start).toMatchObject({ step: 1, initialized: undefined });
      expect(again.warnings).toContain("init_from_unused");
    },
  );

  it("creates a network that is missing only where that is allowed", async () => {
    const hf = join(folder, "discriminator-alone");
    await exportModel({ model: original(), format: "hf", outputDir: hf, part: "discriminator" });
    const options = {
      modelName: "no-generator",
      initFrom: hf,
      hparams: { num_train_steps: 1, generator_hidden_size: 0.5 },
    };
    await expect(run(options)).rejects.toMatchObject({
      code: "ERR_ELECTRA_CHECKPOINT_MISMATCH",
      hint: expect.stringContaining("--allow-created generator,generator_predictions") as string,
    });
    const { start } = await run({ ...options, allowCreated: ["generator", "generator_predictions"] });
    const created = start
      .initialized!.origins.filter(({ origin }) => origin === "created")
      .map(({ name }) => name);
    expect(created.length).toBeGreaterThan(30);
    expect(created.every((name) => /^generator(_predictions)?\//.test(name))).toBe(true);
  });

  it("refuses shapes that contradict the weights, and tells of another vocabulary", async () => {
    await expect(
      run({
        modelName: "narrow",
        initFrom: original(),
        hparams: { num_train_steps: 1, generator_hidden_size: 0.25 },
      }),
    ).rejects.toThrow(/generator\/embeddings_project\/kernel/);
    const tf = join(folder, "other-words");
    await released(tf);
    const text = readFileSync(join(tf, "vocab.txt"), "utf8");
    writeFileSync(join(tf, "vocab.txt"), `${text.trimEnd().slice(0, -1)}~\n`);
    const { warnings } = await run({
      modelName: "other-words",
      initFrom: tf,
      hparams: { num_train_steps: 1 },
    });
    expect(warnings).toContain("other_vocabulary");
  });

  describe("with more words", () => {
    const added = ["houndhare", "##zzz", "[NEW]"];
    const begin = { num_train_steps: 1 };

    /** A model's folder and a vocabulary file with words more. */
    async function longer(name: string): Promise<{ initFrom: string; vocabFile: string; tokens: string[] }> {
      const initFrom = join(folder, name);
      await exportModel({ model: original(), format: "hf", outputDir: initFrom });
      const tokens = readFileSync(join(dataDir, "vocab.txt"), "utf8").trimEnd().split("\n");
      const vocabFile = join(folder, `${name}.txt`);
      writeFileSync(vocabFile, `${[...tokens, ...added].join("\n")}\n`);
      return { initFrom, vocabFile, tokens };
    }

    it("keeps the rows of known tokens and begins new ones with their pieces", async () => {
      const { initFrom, vocabFile, tokens } = await longer("longer");
      const hparams = { ...begin, vocab_file: vocabFile };
      const { start, checkpoint, warnings } = await run({ modelName: "longer", initFrom, hparams });
      expect(warnings).toContain("other_vocabulary");
      expect(start.initialized!.vocabulary).toMatchObject({ kept: tokens.length, dropped: 0, byId: false });
      expect(start.setup.hparams.vocab_size).toBe(tokens.length + added.length);
      const [before, after] = [await readModelWeights(original()), await readModelWeights(checkpoint)];
      const pieces = [...new Tokenizer({ vocabulary: Vocabulary.fromTokens(tokens) }).encode("houndhare")];
      expect(pieces.length).toBeGreaterThan(1);
      for (const name of ["electra/embeddings/word_embeddings", "generator_predictions/output_bias"]) {
        const [old, now] = [await before.readFloat32(name), await after.readFloat32(name)];
        const width = old.length / tokens.length;
        expect(now.length).toBe(width * (tokens.length + added.length));
        expect(now.subarray(0, old.length)).toEqual(old);
        const mean = Array.from(
          { length: width },
          (_, column) => pieces.reduce((sum, id) => sum + old[id * width + column]!, 0) / pieces.length,
        );
        const made = now.subarray(old.length, old.length + width);
        for (const [column, value] of mean.entries()) expect(made[column]).toBeCloseTo(value, 6);
        // A special token has no pieces: weights begin at random, a bias at zero.
        const special = now.subarray(now.length - width);
        expect(special.some((value) => value !== 0)).toBe(name.endsWith("word_embeddings"));
        const { note } = start.initialized!.origins.find((origin) => origin.name === name)!;
        expect(note).toContain(`${tokens.length} tokens kept`);
      }
      await before.close();
      await after.close();
      const again = await run({ modelName: "longer", initFrom, hparams: { ...hparams, num_train_steps: 2 } });
      expect(again.start).toMatchObject({ step: 1, initialized: undefined });
    });

    it("counts rows where the model has no vocabulary, and then refuses fewer", async () => {
      const { initFrom, vocabFile, tokens } = await longer("wordless");
      for (const part of ["discriminator", "generator"]) rmSync(join(initFrom, part, "vocab.txt"));
      const told = await run({
        modelName: "wordless",
        initFrom,
        hparams: { ...begin, vocab_file: vocabFile },
      });
      expect(told.warnings).toContain("vocabulary_by_id");
      expect(told.start.initialized!.vocabulary).toMatchObject({ kept: tokens.length, byId: true });
      const wide = join(folder, "wordless-wide");
      await exportModel({ model: told.checkpoint, format: "hf", outputDir: wide });
      for (const part of ["discriminator", "generator"]) rmSync(join(wide, part, "vocab.txt"));
      await expect(run({ modelName: "fewer", initFrom: wide, hparams: begin })).rejects.toMatchObject({
        code: "ERR_ELECTRA_CHECKPOINT_MISMATCH",
      });
    });
  });
});
