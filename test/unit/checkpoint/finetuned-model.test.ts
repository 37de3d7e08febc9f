import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type SaveCheckpointOptions, saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { loadCheckpoint, loadWeights } from "../../../src/checkpoint/load-checkpoint.js";
import { resolveModelFolder } from "../../../src/checkpoint/model-folder.js";
import {
  type FinetunedFile,
  formatFinetunedFile,
  parseFinetunedFile,
} from "../../../src/finetuning/finetuned-file.js";
import { resolveFinetuningHparams } from "../../../src/hparams/finetuning-hparams.js";
import { pretrainingVariables } from "../../../src/hparams/pretraining-variables.js";
import { PretrainedModel } from "../../../src/inference/pretrained-model.js";
import { MemoryStore, toyHparams, toySave } from "./toy-model.js";

let runDir: string;
beforeEach(async () => {
  runDir = await mkdtemp(join(tmpdir(), "finetuned-"));
});
afterEach(() => rm(runDir, { recursive: true, force: true }));

const variables = [
  ...pretrainingVariables(toyHparams).filter(({ name }) => name.startsWith("electra/")),
  { name: "task_specific/mrpc/dense/kernel", shape: [16, 2] },
  { name: "task_specific/mrpc/dense/bias", shape: [2] },
];

const file: Omit<FinetunedFile, "format"> = {
  tasks: [{ name: "mrpc", head: { kind: "classification", labels: ["0", "1"] } }],
  hparams: resolveFinetuningHparams({ dataDir: "data", modelName: "m" }).hparams,
  trial: 2,
  results: { mrpc: { accuracy: 81.25, loss: null } },
};

function toyFinetuned(step: number): SaveCheckpointOptions & { parameters: MemoryStore } {
  const save = toySave(runDir, step);
  return {
    ...save,
    parameters: new MemoryStore(variables),
    configs: { finetuned: save.configs.discriminator! },
    partFiles: { finetuned: { "finetuning.json": formatFinetunedFile(file) } },
  };
}

const zeroStore = () => new MemoryStore(variables, undefined);

describe("a fine-tuned model's checkpoint", () => {
  it("gives back weights, moments and what its heads mean", async () => {
    const save = toyFinetuned(3);
    const { path } = await saveCheckpoint(save);
    const restored = zeroStore();
    await loadCheckpoint({ path, parameters: restored, configs: save.configs });
    expect(restored.tensors).toEqual(save.parameters.tensors);
    const text = await readFile(join(path, "finetuned/finetuning.json"), "utf8");
    expect(parseFinetunedFile(text, "finetuning.json")).toEqual({ format: 1, ...file });
    const config = JSON.parse(await readFile(join(path, "finetuned/config.json"), "utf8"));
    expect(config).toMatchObject({ architectures: ["ElectraModel"], model_type: "electra", hidden_size: 16 });
  });

  it("without moments is a model to use, not one to continue", async () => {
    const save = { ...toyFinetuned(3), moments: false };
    const { path } = await saveCheckpoint(save);
    expect(await readdir(path)).toEqual(["finetuned", "training.json"]);
    await expect(loadCheckpoint({ path, parameters: zeroStore() })).rejects.toThrow(
      /cannot be continued|finished model/,
    );
    const restored = zeroStore();
    await loadWeights({ folders: { finetuned: join(path, "finetuned") }, parameters: restored });
    expect(restored.tensors.get("value:task_specific/mrpc/dense/kernel")).toEqual(
      save.parameters.tensors.get("value:task_specific/mrpc/dense/kernel"),
    );
  });

  it("is found by its run, by itself, and by its part", async () => {
    const { path } = await saveCheckpoint(toyFinetuned(3));
    const part = join(path, "finetuned");
    expect((await resolveModelFolder(runDir)).halves).toEqual({ finetuned: part });
    expect((await resolveModelFolder(path)).halves).toEqual({ finetuned: part });
    expect(await resolveModelFolder(part)).toMatchObject({ kind: "hf", halves: { finetuned: part } });
    await expect(PretrainedModel.open(runDir, "discriminator")).rejects.toThrow(/is a fine-tuned model/);
  });

  it("of another task is refused with the tensors that differ", async () => {
    const { path } = await saveCheckpoint(toyFinetuned(3));
    const other = variables.map(({ name, shape }) => ({ name: name.replace("mrpc", "rte"), shape }));
    await expect(
      loadWeights({ folders: { finetuned: join(path, "finetuned") }, parameters: new MemoryStore(other) }),
    ).rejects.toThrow(/task_specific\.rte\.dense\.weight .*missing/);
  });
});

describe("finetuning.json", () => {
  const good = JSON.parse(formatFinetunedFile(file)) as Record<string, unknown>;
  it.each([
    ["{", /no valid JSON/],
    ["[]", /format undefined/],
    [JSON.stringify({ ...good, format: 2 }), /format 2, this version reads 1/],
    [JSON.stringify({ ...good, tasks: [] }), /names no tasks/],
    [
      JSON.stringify({ ...good, tasks: [{ name: "a", head: { kind: "poetry" } }] }),
      /a task that is none.*poetry/,
    ],
    [
      JSON.stringify({ ...good, tasks: [{ name: "a", head: { kind: "tagging" } }] }),
      /a task that is none \(head\.labels: .*tagging/,
    ],
    [
      JSON.stringify({
        ...good,
        tasks: [{ name: "a", head: { kind: "classification", labels: ["x", "x"] } }],
      }),
      /a label is there twice/,
    ],
    [
      JSON.stringify({ ...good, tasks: [{ name: "a", head: { kind: "regression", minimum: "0" } }] }),
      /head\.minimum/,
    ],
    [
      JSON.stringify({ ...good, tasks: [{ name: "a", head: { kind: "span", jointPrediction: true } }] }),
      /head\.answerableClassifier/,
    ],
    [JSON.stringify({ ...good, tasks: [...file.tasks, ...file.tasks] }), /has the task mrpc twice/],
    [JSON.stringify({ ...good, hparams: { ...file.hparams, doc_stride: 0 } }), /the hparam doc_stride as 0/],
    [
      JSON.stringify({ ...good, hparams: { ...file.hparams, max_seq_length: undefined } }),
      /the hparam max_seq_length as undefined/,
    ],
    [JSON.stringify({ ...good, hparams: null }), /no hparams/],
    [JSON.stringify({ ...good, trial: "x" }), /the trial "x"/],
  ])("that is %.40s is refused", (text, message) => {
    expect(() => parseFinetunedFile(text, "finetuning.json")).toThrow(message);
  });
});
