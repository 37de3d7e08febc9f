import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { DurableFiles } from "../../../src/checkpoint/durable-files.js";
import { FolderTensors, parseWeightsIndex } from "../../../src/checkpoint/folder-tensors.js";
import { loadVariables } from "../../../src/checkpoint/load-variables.js";
import { type ModelWeights, readModelWeights } from "../../../src/checkpoint/model-weights.js";
import type { ParameterInfo } from "../../../src/checkpoint/parameter-store.js";
import { SafetensorsReader, writeSafetensors } from "../../../src/checkpoint/safetensors.js";
import { writeTensorBundle } from "../../../src/checkpoint/tensorflow/write-tensor-bundle.js";
import { pretrainingVariables, type VariableHparams } from "../../../src/hparams/pretraining-variables.js";
import { MemoryStore, toyHparams, toySave } from "./toy-model.js";

const hf = join(process.env["ELECTRA_GOLDEN_DIR"] ?? "test/fixtures/golden", "hf");

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "weights-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

let counter = 0;
async function freshFolder(): Promise<string> {
  const folder = join(root, String(counter++));
  await mkdir(folder);
  return folder;
}

async function values(weights: ModelWeights): Promise<Record<string, number[]>> {
  const result: Record<string, number[]> = {};
  for (const name of weights.tensors.keys()) result[name] = [...(await weights.readFloat32(name))];
  await weights.close();
  return result;
}

/** A safetensors file's tensors, to write them again elsewhere or otherwise. */
async function sourcesOf(path: string, rename = (name: string) => name) {
  const reader = await SafetensorsReader.open(path);
  const sources = [];
  for (const [name, { dtype, shape }] of reader.tensors) {
    const bytes = await reader.readBytes(name);
    sources.push({ name: rename(name), dtype, shape, data: () => [bytes] });
  }
  await reader.close();
  return sources;
}

describe("the weights of a run", () => {
  const variants: readonly (readonly [string, Partial<VariableHparams>])[] = [
    ["ELECTRA", {}],
    ["a tied encoder", { untied_generator: false }],
    ["untied embeddings", { untied_generator_embeddings: true }],
    ["untied embeddings of equal width", { untied_generator_embeddings: true, generator_hidden_size: 0.5 }],
    ["the masked-LM objective", { electra_objective: false }],
    ["a uniform generator", { uniform_generator: true }],
    ["two towers", { electric_objective: true, two_tower_generator: true }],
  ];
  it.each(variants)("of %s have the reference's names and every bit", async (_, overrides) => {
    const runDir = await freshFolder();
    const save = toySave(runDir, 3, overrides);
    await saveCheckpoint({ ...save, hparams: { ...save.hparams, ...toyHparams, ...overrides } as never });
    const weights = await readModelWeights(runDir);
    expect([...weights.tensors.keys()].sort()).toEqual(
      save.parameters
        .names()
        .map(({ name }) => name)
        .sort(),
    );
    expect(weights.step).toBe(3);
    for (const { name, shape } of save.parameters.names()) {
      expect(weights.tensors.get(name)!.shape).toEqual(shape);
      expect(await weights.readFloat32(name)).toEqual(await save.parameters.read("value", name));
    }
    await weights.close();
  });

  it("are refused where the halves' shared embeddings differ", async () => {
    const runDir = await freshFolder();
    const { path } = await saveCheckpoint(toySave(runDir, 1));
    const file = join(path, "generator", "model.safetensors");
    const sources = await sourcesOf(file);
    await rm(file);
    // Position embeddings of another model; the word table, which tells shared from own embeddings, is the same.
    const changed = sources.map((source) =>
      source.name.endsWith("position_embeddings.weight")
        ? { ...source, data: () => [new Uint8Array(source.data()[0]!.length)] }
        : source,
    );
    await writeSafetensors(file, changed, new DurableFiles());
    await expect(readModelWeights(path)).rejects.toMatchObject({ code: "ERR_ELECTRA_SHARED_TENSOR" });
  });
});

describe("the weights of a TensorFlow checkpoint", () => {
  async function bundle(variables: readonly ParameterInfo[], more: readonly string[] = []): Promise<string> {
    const folder = await freshFolder();
    const store = new MemoryStore(variables);
    const tensors = await Promise.all(
      variables.map(async ({ name, shape }) => {
        const data = new Uint8Array((await store.read("value", name)).buffer);
        return { name, shape, dtype: "F32" as const, data: () => [data] };
      }),
    );
    const extra = more.map((name) => ({
      name,
      shape: [],
      dtype: "F32" as const,
      data: () => [new Uint8Array(4)],
    }));
    await writeTensorBundle(join(folder, "model.ckpt"), [...tensors, ...extra], new DurableFiles());
    return folder;
  }
  const wide = {
    ...toyHparams,
    model_hparam_overrides: { ...toyHparams.model_hparam_overrides, hidden_size: 128 },
  };

  it("tell both networks' sizes by their shapes, and what they are not", async () => {
    const folder = await bundle(pretrainingVariables(wide), [
      "generator_predictions/temperature",
      "beta1_power",
      "electra/embeddings/word_embeddings/adam_m",
    ]);
    const weights = await readModelWeights(folder);
    expect(weights.model.kind).toBe("tf");
    expect(weights.configs.discriminator).toMatchObject({
      hidden_size: 128,
      num_attention_heads: 2,
      embedding_size: 8,
    });
    expect(weights.configs.generator).toMatchObject({
      hidden_size: 96,
      num_attention_heads: 1,
      num_hidden_layers: 2,
    });
    expect(weights.ignored.map(({ stored, reason }) => [stored, reason])).toEqual([
      ["beta1_power", "no weight of an ELECTRA model"],
      ["electra/embeddings/word_embeddings/adam_m", "a moment of the optimizer"],
      ["generator_predictions/temperature", "no weight of an ELECTRA model"],
    ]);
    await weights.close();
  });

  it("take the number of heads from a config.json beside them", async () => {
    const odd = { ...toyHparams.model_hparam_overrides, hidden_size: 144, num_attention_heads: 4 };
    const folder = await bundle(pretrainingVariables({ ...toyHparams, model_hparam_overrides: odd }));
    const fields = { discriminator: { num_attention_heads: 4 }, hidden_act: "gelu_new" };
    await writeFile(join(folder, "config.json"), JSON.stringify(fields));
    const weights = await readModelWeights(folder);
    expect(weights.configs.discriminator).toMatchObject({ num_attention_heads: 4, hidden_act: "gelu_new" });
    expect(weights.configs.generator).toMatchObject({ num_attention_heads: 1, hidden_act: "gelu_new" });
    await weights.close();
    await writeFile(join(folder, "config.json"), JSON.stringify({ num_attention_heads: 5 }));
    await expect(readModelWeights(folder)).rejects.toThrow(/144 wide, which 5 attention heads do not divide/);
  });

  it("are refused when a data file is cut, before anything is loaded", async () => {
    const folder = await bundle(pretrainingVariables(toyHparams));
    const data = join(folder, "model.ckpt.data-00000-of-00001");
    await writeFile(data, (await readFile(data)).subarray(0, -4));
    await expect(readModelWeights(folder)).rejects.toMatchObject({ code: "ERR_ELECTRA_TF_CHECKPOINT" });
  });
});

describe("loading into an engine", () => {
  it("renames a generator's encoder for an engine with one part, and says what became of everything", async () => {
    const runDir = await freshFolder();
    const save = toySave(runDir, 1);
    await saveCheckpoint(save);
    const weights = await readModelWeights(runDir);
    const alone = pretrainingVariables({
      ...toyHparams,
      electra_objective: false,
      model_hparam_overrides: {
        ...toyHparams.model_hparam_overrides,
        hidden_size: 12,
        num_attention_heads: 1,
        intermediate_size: 48,
      },
    });
    const target = new MemoryStore(alone, undefined);
    const origins = await loadVariables({ weights, parameters: target, part: "generator" });
    for (const { name } of alone) {
      const source = name.replace(/^electra\/(encoder|embeddings_project)/, "generator/$1");
      expect(await target.read("value", name)).toEqual(await save.parameters.read("value", source));
    }
    expect(origins.filter(({ origin }) => origin === "loaded").map(({ name }) => name)).toEqual(
      alone.map(({ name }) => name),
    );
    const rest = origins.filter(({ origin }) => origin === "ignored").map(({ name }) => name);
    expect(rest).toContain("discriminator_predictions/dense/kernel");
    expect(rest).toContain("electra/encoder/layer_0/output/dense/kernel");
    await weights.close();
  });

  it("creates nothing that it was not allowed to, and writes nothing before everything fits", async () => {
    const weights = await readModelWeights(join(hf, "question_answering"));
    const {
      hidden_size,
      num_attention_heads,
      intermediate_size,
      max_position_embeddings,
      vocab_size,
      embedding_size,
    } = weights.configs.discriminator!;
    const hparams: VariableHparams = {
      ...toyHparams,
      uniform_generator: true,
      vocab_size,
      embedding_size,
      model_hparam_overrides: {
        num_hidden_layers: 2,
        hidden_size,
        num_attention_heads,
        intermediate_size,
        max_position_embeddings,
      },
    };
    const target = new MemoryStore(pretrainingVariables(hparams));
    const before = structuredClone(target.tensors);
    await expect(loadVariables({ weights, parameters: target })).rejects.toThrow(
      /4 tensor\(s\) differ\n[\s\S]*discriminator_predictions\/dense\/kernel +missing +\[32, 32\]/,
    );
    expect(target.tensors).toEqual(before);
    const origins = await loadVariables({
      weights,
      parameters: target,
      mayCreate: (name) => name.startsWith("discriminator_predictions/"),
    });
    const named = (origin: string) =>
      origins.filter((each) => each.origin === origin).map(({ name }) => name);
    expect(named("created")).toHaveLength(4);
    expect(named("ignored").sort()).toEqual(["qa_outputs/bias", "qa_outputs/kernel"]);
    const other = new MemoryStore(pretrainingVariables({ ...hparams, vocab_size: 131 }), undefined);
    await expect(loadVariables({ weights, parameters: other, mayCreate: () => true })).rejects.toThrow(
      /word_embeddings +\[130, 16\] +\[131, 16\]/,
    );
    await weights.close();
  });
});

describe("a Hugging Face folder", () => {
  it("is read from the file of 2020 as from today's: old names, a buffer, a tied weight, a pickle", async () => {
    const folder = await freshFolder();
    await copyFile(join(hf, "masked_lm", "config.json"), join(folder, "config.json"));
    await copyFile("test/fixtures/pytorch/old_masked_lm.bin", join(folder, "pytorch_model.bin"));
    const [old, today] = [await readModelWeights(folder), await readModelWeights(join(hf, "masked_lm"))];
    expect(old.ignored.map(({ stored }) => stored)).toEqual([
      "electra.embeddings.position_ids",
      "generator_lm_head.weight",
    ]);
    // The file was made of the fixtures in this repository; another draw has other values, but the same names.
    const [a, b] = [await values(old), await values(today)];
    expect(Object.keys(a).sort()).toEqual(Object.keys(b).sort());
    if (process.env["ELECTRA_GOLDEN_DIR"] === undefined) expect(a).toEqual(b);
  });

  it("is read from several parts, and a bare encoder gets its prefix", async () => {
    const folder = await freshFolder();
    const original = join(hf, "pretraining");
    await copyFile(join(original, "config.json"), join(folder, "config.json"));
    const sources = await sourcesOf(join(original, "model.safetensors"), (name) =>
      name.replace(/^electra\./, ""),
    );
    const parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    const partOf = (index: number): string => parts[index % 2]!;
    for (const part of parts) {
      const tensors = sources.filter((_, index) => partOf(index) === part);
      await writeSafetensors(join(folder, part), tensors, new DurableFiles());
    }
    const map = Object.fromEntries(sources.map(({ name }, index) => [name, partOf(index)]));
    const index = join(folder, "model.safetensors.index.json");
    await writeFile(index, JSON.stringify({ metadata: { total_size: 1 }, weight_map: map }));
    expect(await values(await readModelWeights(folder))).toEqual(
      await values(await readModelWeights(original)),
    );

    const [first, second] = sources.map(({ name }) => name);
    await writeFile(index, JSON.stringify({ weight_map: { ...map, [first!]: parts[1] } }));
    await expect(FolderTensors.open(folder)).rejects.toThrow(
      /lies in model-00002-of-00002.safetensors, which has no such/,
    );
    const { [second!]: _, ...without } = map;
    await writeFile(index, JSON.stringify({ weight_map: without }));
    await expect(FolderTensors.open(folder)).rejects.toThrow(/does not mention/);
  });

  it.each([
    ["{", /not valid JSON/],
    ["[]", /no weight_map/],
    ['{"weight_map": {}}', /empty/],
    ['{"weight_map": {"x": "../model.safetensors"}}', /no file's name/],
    ['{"weight_map": {"x": ".."}}', /no file's name/],
    ['{"weight_map": {"x": 1}}', /no file's name/],
  ])("refuses the index %s", (text, message) => {
    expect(() => parseWeightsIndex(text, "index.json")).toThrow(message);
  });

  it("says what is there when the weights are another framework's", async () => {
    const folder = await freshFolder();
    await writeFile(join(folder, "tf_model.h5"), "");
    await expect(FolderTensors.open(folder)).rejects.toMatchObject({
      code: "ERR_ELECTRA_FILE_NOT_FOUND",
      hint: expect.stringContaining("tf_model.h5 is another framework's") as string,
    });
  });
});
