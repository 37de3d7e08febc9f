import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { engineParameterStore } from "../../../src/checkpoint/engine-parameter-store.js";
import { type FinetunedTask, formatFinetunedFile } from "../../../src/finetuning/finetuned-file.js";
import { engineHead } from "../../../src/finetuning/heads/engine-head.js";
import type { TaskHead } from "../../../src/finetuning/task.js";
import { resolveFinetuningHparams } from "../../../src/hparams/finetuning-hparams.js";
import type { OpenFinetunedOptions } from "../../../src/inference/finetuned-model.js";
import { NaiveEngine } from "./naive-engine.js";
import { tinyTokens } from "./tiny-model.js";

export const spanHead: Extract<TaskHead, { kind: "span" }> = {
  kind: "span",
  jointPrediction: true,
  answerableClassifier: true,
  answerableUsesStartLogits: true,
  answerableWeight: 0.5,
  beamSize: 4,
};

/** A task of each kind. */
export const tinyTasks = {
  mood: { name: "mood", head: { kind: "classification", labels: ["bad", "good", "odd"] } },
  topics: { name: "topics", head: { kind: "multi-label", labels: ["sea", "art", "sport", "tax"] } },
  likeness: { name: "likeness", head: { kind: "regression", minimum: 1, maximum: 5 } },
  names: { name: "names", head: { kind: "tagging", labels: ["B-PER", "E-PER", "I-PER", "O", "S-PER"] } },
  questions: { name: "questions", head: spanHead },
} as const satisfies Readonly<Record<string, FinetunedTask>>;

export const encoder = {
  vocab_size: tinyTokens.length,
  embedding_size: 8,
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 32,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  max_position_embeddings: 48,
  type_vocab_size: 2,
  initializer_range: 0.02,
};

export interface TinyFinetuned {
  /** `…_model_1` */
  readonly trial: string;
  /** Its only checkpoint's part. */
  readonly folder: string;
  readonly naive: NaiveEngine;
  /** Opens the model with a naive engine instead of the native one. */
  readonly naively: OpenFinetunedOptions;
}

export interface SaveTinyOptions {
  readonly tasks: readonly FinetunedTask[];
  readonly hparams?: Readonly<Record<string, unknown>>;
  /** Where to: default a folder of its own that is removed after the test. */
  readonly trial?: string;
  readonly seed?: number;
}

/** A fine-tuned model with random weights, saved, and the engine that they came from. */
export async function saveTinyFinetuned({
  tasks,
  hparams = {},
  trial: given,
  seed = 5,
}: SaveTinyOptions): Promise<TinyFinetuned> {
  const trial = given ?? join(await temporaryFolder(), "tiny_model_1");
  const resolved = resolveFinetuningHparams({
    dataDir: "data",
    modelName: "tiny",
    hparams: {
      task_names: tasks.map(({ name }) => name),
      max_seq_length: 24,
      max_query_length: 8,
      doc_stride: 6,
      ...hparams,
    },
  }).hparams;
  const naive = new NaiveEngine(
    {
      encoder,
      tasks: tasks.map(({ name, head }) => ({ name, head: engineHead(head) })),
      max_seq_length: resolved.max_seq_length,
    },
    seed,
  );
  const { path } = await saveCheckpoint({
    runDir: trial,
    step: 9,
    seed,
    cursor: 0,
    hparams: {},
    versions: {},
    fingerprints: {
      data: null,
      package: null,
      isa: null,
      gemm: null,
      precision: null,
      device: null,
      threads: null,
    },
    parameters: engineParameterStore(naive),
    configs: { finetuned: encoder },
    tokenizer: { vocabText: `${tinyTokens.join("\n")}\n`, doLowerCase: true, stripAccents: true },
    partFiles: {
      finetuned: {
        "finetuning.json": formatFinetunedFile({ tasks, hparams: resolved, trial: 1, results: null }),
      },
    },
    moments: false,
  });
  return {
    trial,
    folder: join(path, "finetuned"),
    naive,
    naively: { createEngine: async ({ model }) => new NaiveEngine(model, 0) },
  };
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "electra-finetuned-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
