import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { readModelWeights } from "../../../src/checkpoint/model-weights.js";
import type { ParameterKind } from "../../../src/checkpoint/parameter-store.js";
import { TensorBundleReader } from "../../../src/checkpoint/tensorflow/tensor-bundle.js";
import type { VariableHparams } from "../../../src/hparams/pretraining-variables.js";
import { exportModel } from "../../../src/interop/export-model.js";
import { toyHparams, toySave } from "../checkpoint/toy-model.js";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "export-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

let counter = 0;
const fresh = (): string => join(root, String(counter++));

async function savedRun(overrides: Partial<VariableHparams> = {}) {
  const runDir = fresh();
  const save = toySave(runDir, 20, overrides);
  await saveCheckpoint({ ...save, hparams: { ...toyHparams, ...overrides } as never });
  return { runDir, parameters: save.parameters };
}

const variants: readonly (readonly [string, Partial<VariableHparams>])[] = [
  ["ELECTRA", {}],
  ["a tied encoder", { untied_generator: false }],
  ["untied embeddings", { untied_generator_embeddings: true }],
  ["a uniform generator", { uniform_generator: true }],
  ["Electric's two towers", { electric_objective: true, two_tower_generator: true }],
];

describe("a model of our own", () => {
  it.each([...variants, ["the masked-LM objective", { electra_objective: false }] as const])(
    "of %s becomes a TensorFlow checkpoint with every bit of weights, moments and step",
    async (_, overrides) => {
      const { runDir, parameters } = await savedRun(overrides);
      const outputDir = fresh();
      const result = await exportModel({ model: runDir, format: "tf", outputDir });
      expect(result).toMatchObject({
        largestDifference: 0,
        moments: true,
        tensors: 3 * parameters.names().length,
      });
      const bundle = await TensorBundleReader.open(join(outputDir, "model.ckpt-20"));
      for (const { name, shape } of parameters.names()) {
        for (const kind of ["value", "adam_m", "adam_v"] satisfies ParameterKind[]) {
          const stored = kind === "value" ? name : `${name}/${kind}`;
          expect(bundle.tensors.get(stored)!.shape).toEqual(shape);
          expect(await bundle.readFloat32(stored)).toEqual(await parameters.read(kind, name));
        }
      }
      expect(await bundle.readIntegers("global_step")).toEqual([20]);
      expect(bundle.tensors.size).toBe(3 * parameters.names().length + 1);
      await bundle.close();
    },
  );

  it("leaves the moments out if they are not wanted", async () => {
    const { runDir, parameters } = await savedRun();
    const result = await exportModel({ model: runDir, format: "tf", outputDir: fresh(), moments: false });
    expect(result).toMatchObject({ moments: false, tensors: parameters.names().length });
  });

  it.each(variants)("of %s survives TensorFlow, Hugging Face and back, bit for bit", async (_, overrides) => {
    const { runDir } = await savedRun(overrides);
    const [tf, own, hf, again] = [fresh(), fresh(), fresh(), fresh()];
    await exportModel({ model: runDir, format: "tf", outputDir: tf, moments: false });
    await exportModel({ model: tf, format: "hf", outputDir: own });
    await exportModel({ model: own, format: "hf", outputDir: hf });
    await exportModel({ model: hf, format: "tf", outputDir: again });
    const data = (folder: string, step: number) =>
      readFile(join(folder, `model.ckpt-${step}.data-00000-of-00001`));
    // The step is not in Hugging Face's files: eight bytes that lie among the tensors.
    const [first, last] = [
      await TensorBundleReader.open(join(tf, "model.ckpt-20")),
      await TensorBundleReader.open(join(again, "model.ckpt-0")),
    ];
    const without = (entries: typeof first.tensors) =>
      [...entries]
        .filter(([name]) => name !== "global_step")
        .map(([name, { dtype, shape, size, crc }]) => [name, { dtype, shape, size, crc }]);
    expect(without(last.tensors)).toEqual(without(first.tensors));
    expect((await data(again, 0)).length).toBe((await data(tf, 20)).length);
    await first.close();
    await last.close();
    // The number of heads, which shapes do not tell, came through too.
    const [before, after] = [await readModelWeights(runDir), await readModelWeights(again)];
    for (const [part, config] of Object.entries(before.configs)) {
      const { num_attention_heads, hidden_act } = after.configs[part as keyof typeof after.configs]!;
      expect({ num_attention_heads, hidden_act }).toEqual({
        num_attention_heads: config.num_attention_heads,
        hidden_act: config.hidden_act,
      });
    }
    await before.close();
    await after.close();
  });

  it("goes straight into the folder, one part of it, with a card", async () => {
    const { runDir } = await savedRun();
    const outputDir = fresh();
    const result = await exportModel({ model: runDir, format: "hf", outputDir, part: "generator" });
    expect((await readdir(outputDir)).sort()).toEqual(
      [
        "README.md",
        "config.json",
        "export.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
      ].sort(),
    );
    expect(await readFile(join(outputDir, "README.md"), "utf8")).toMatch(
      /^---\n[\s\S]*ElectraForMaskedLM[\s\S]*20 training steps|20 training steps[\s\S]*ElectraForMaskedLM/,
    );
    expect(result.leftOut.every(({ reason }) => reason === "of another part")).toBe(true);
    const weights = await readModelWeights(outputDir);
    expect(weights.model.halves).toEqual({ generator: outputDir });
    await weights.close();
  });

  it("is not written over anything, and leaves nothing behind when it cannot be written", async () => {
    const { runDir } = await savedRun();
    const taken = fresh();
    await exportModel({ model: runDir, format: "hf", outputDir: taken });
    await expect(exportModel({ model: runDir, format: "tf", outputDir: taken })).rejects.toMatchObject({
      code: "ERR_ELECTRA_OUTPUT_FOLDER",
    });
    await exportModel({ model: runDir, format: "tf", outputDir: taken, overwrite: true });
    expect((await readModelWeights(taken)).model.kind).toBe("tf");
    const missing = join(fresh(), "x");
    await expect(
      exportModel({ model: runDir, format: "hf", outputDir: missing, part: "finetuned" }),
    ).rejects.toMatchObject({
      code: "ERR_ELECTRA_MODEL_HALF",
    });
    expect(await readdir(join(missing, ".."))).toEqual([]);
    const vocabFile = join(root, "other.txt");
    await writeFile(vocabFile, `${Array.from({ length: 50 }, (_, index) => `w${index}`).join("\n")}\n`);
    await expect(exportModel({ model: runDir, format: "tf", outputDir: missing, vocabFile })).rejects.toThrow(
      /50 tokens/,
    );
  });
});
