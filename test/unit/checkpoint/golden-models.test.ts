import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { hfLayout } from "../../../src/checkpoint/hf-layout.js";
import { loadCheckpoint, loadWeights } from "../../../src/checkpoint/load-checkpoint.js";
import { readModelConfig, resolveModelFolder } from "../../../src/checkpoint/model-folder.js";
import type { ParameterInfo } from "../../../src/checkpoint/parameter-store.js";
import { SafetensorsReader } from "../../../src/checkpoint/safetensors.js";
import { pretrainingVariables } from "../../../src/hparams/pretraining-variables.js";
import type { TransformerConfig } from "../../../src/hparams/transformer-config.js";
import { MemoryStore, toyHparams, toySave } from "./toy-model.js";

const golden = process.env["ELECTRA_GOLDEN_DIR"] ?? "test/fixtures/golden";
const pretrain = join(golden, "pretrain");
const hf = join(golden, "hf");

let runDir: string;
beforeAll(async () => {
  runDir = await mkdtemp(join(tmpdir(), "golden-"));
});
afterAll(() => rm(runDir, { recursive: true, force: true }));

interface Variant {
  readonly variables?: readonly ParameterInfo[];
  readonly bert_config: Omit<TransformerConfig, "embedding_size">;
  readonly generator_config: Omit<TransformerConfig, "embedding_size">;
}

const variants = existsSync(pretrain)
  ? readdirSync(pretrain)
      .filter(
        (file) => existsSync(join(pretrain, file.replace(/json$/, "safetensors"))) && file.endsWith(".json"),
      )
      .map(
        (file) =>
          [
            file.replace(/\.json$/, ""),
            JSON.parse(readFileSync(join(pretrain, file), "utf8")) as Variant,
          ] as const,
      )
      .filter(([, { variables }]) => variables !== undefined)
  : [];

describe("the reference's own models", () => {
  it("are there", () => {
    expect(variants.length).toBeGreaterThan(5);
  });

  it.each(variants)("of the fixture %s are saved and come back bit for bit", async (name, variant) => {
    const variables = variant.variables!.map(({ name: variable, shape }) => ({ name: variable, shape }));
    const parameters = new MemoryStore(variables);
    const source = await SafetensorsReader.open(join(pretrain, `${name}.safetensors`));
    for (const variable of variables) {
      await parameters.write("value", variable.name, await source.readFloat32(`init/${variable.name}`));
    }
    await source.close();

    const widthOf = (scope: string): number | undefined =>
      variables.find((variable) => variable.name === `${scope}/embeddings/word_embeddings`)?.shape[1];
    const shared = widthOf("electra")!;
    const own = variables.some((variable) => /^generator(_ltr)?\/encoder/.test(variable.name));
    const configs = {
      discriminator: { ...variant.bert_config, embedding_size: shared },
      generator: {
        ...(own ? variant.generator_config : variant.bert_config),
        embedding_size: widthOf("generator") ?? widthOf("generator_ltr") ?? shared,
      },
    };
    const save = { ...toySave(join(runDir, name), 1), parameters, configs };
    const { path } = await saveCheckpoint(save);
    const restored = new MemoryStore(variables, undefined);
    await loadCheckpoint({ path, parameters: restored, configs });
    for (const [key, values] of parameters.tensors) {
      expect(Buffer.from(restored.tensors.get(key)!.buffer).equals(Buffer.from(values.buffer))).toBe(true);
    }
  });
});

describe.skipIf(!existsSync(hf))(
  "a folder that Hugging Face wrote (skipped where the fixtures lack hf/)",
  () => {
    it.each([
      ["pretraining", "discriminator", { uniform_generator: true }],
      ["masked_lm", "generator", { electra_objective: false }],
    ] as const)("%s is found to be a %s and loads completely", async (folder, half, objective) => {
      const path = join(hf, folder);
      const model = await resolveModelFolder(path);
      expect([model.kind, model.halves]).toEqual(["hf", { [half]: path }]);
      const config = await readModelConfig(path);
      const { vocab_size, embedding_size, hidden_size, num_hidden_layers, num_attention_heads } = config;
      const { intermediate_size, max_position_embeddings } = config;
      const variables = pretrainingVariables({
        ...toyHparams,
        ...objective,
        vocab_size,
        embedding_size,
        model_hparam_overrides: {
          hidden_size,
          num_hidden_layers,
          num_attention_heads,
          intermediate_size,
          max_position_embeddings,
        },
      });
      const parameters = new MemoryStore(variables, undefined);
      await loadWeights({ folders: model.halves, parameters, configs: { [half]: config } });

      const reader = await SafetensorsReader.open(join(path, "model.safetensors"));
      for (const { hfName, variable, shape, transposed } of hfLayout(variables)[half]!.entries) {
        const theirs = await reader.readFloat32(hfName);
        const ours = await parameters.read("value", variable);
        const [rows = 0, columns = 0] = shape;
        const expected = transposed
          ? Float32Array.from(theirs, (_, i) => theirs[(i % rows) * columns + Math.floor(i / rows)]!)
          : theirs;
        expect(Buffer.from(ours.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
      }
      await reader.close();
    });
  },
);
