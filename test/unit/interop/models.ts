import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { DurableFiles } from "../../../src/checkpoint/durable-files.js";
import type { ParameterInfo } from "../../../src/checkpoint/parameter-store.js";
import { writeSafetensors } from "../../../src/checkpoint/safetensors.js";
import { type FinetunedTask, formatFinetunedFile } from "../../../src/finetuning/finetuned-file.js";
import type { TaskHead } from "../../../src/finetuning/task.js";
import { resolveFinetuningHparams } from "../../../src/hparams/finetuning-hparams.js";
import { pretrainingVariables } from "../../../src/hparams/pretraining-variables.js";
import type { TransformerConfig } from "../../../src/hparams/transformer-config.js";
import { MemoryStore, toyHparams, toySave } from "../checkpoint/toy-model.js";

/** Folder that onnxruntime-node and @huggingface/transformers are installed in, below `node_modules`. */
export const runtimeFolder = process.env["ELECTRA_ORT_DIR"];
export const withoutRuntime =
  runtimeFolder === undefined
    ? " (skipped: ELECTRA_ORT_DIR names no folder with onnxruntime-node; run npm run test:onnx)"
    : "";

export const spanHead: Extract<TaskHead, { kind: "span" }> = {
  kind: "span",
  jointPrediction: true,
  answerableClassifier: true,
  answerableUsesStartLogits: true,
  answerableWeight: 0.5,
  beamSize: 4,
};

/** One task of each kind, and the kinds of span heads. */
export const allTasks: readonly FinetunedTask[] = [
  { name: "mrpc", head: { kind: "classification", labels: ["different", "same"] } },
  { name: "topics", head: { kind: "multi-label", labels: ["sports", "politics", "science"] } },
  { name: "sts", head: { kind: "regression", minimum: 1, maximum: 5 } },
  { name: "ner", head: { kind: "tagging", labels: ["B-PER", "I-PER", "O"] } },
  { name: "squad", head: spanHead },
  { name: "plainspan", head: { ...spanHead, jointPrediction: false, answerableClassifier: false } },
  { name: "simplespan", head: { ...spanHead, jointPrediction: false, answerableUsesStartLogits: false } },
];

/** The variables of a head, by the reference's names. */
export function headVariables({ name, head }: FinetunedTask, size: number): ParameterInfo[] {
  const layer = (part: string, inner: number, out: number): ParameterInfo[] => [
    { name: `task_specific/${name}/${part}/kernel`, shape: [inner, out] },
    { name: `task_specific/${name}/${part}/bias`, shape: [out] },
  ];
  if (head.kind === "regression") return layer("dense", size, 1);
  if (head.kind !== "span") return layer("dense", size, head.labels.length);
  const ends = head.jointPrediction
    ? [...layer("qa_hidden", 2 * size, 512), ...layer("dense_1", 512, 1)]
    : layer("dense_1", size, 1);
  const answerable = !head.answerableClassifier
    ? []
    : head.answerableUsesStartLogits
      ? [...layer("dense_2", 2 * size, 512), ...layer("dense_3", 512, 1)]
      : layer("dense_2", size, 1);
  return [...layer("dense", size, 1), ...ends, ...answerable];
}

/** A fine-tuned toy model that knows these tasks, in a run's folder. */
export async function saveFinetuned(
  runDir: string,
  tasks: readonly FinetunedTask[],
  hparams: Readonly<Record<string, unknown>> = { max_seq_length: 12 },
): Promise<void> {
  const save = toySave(runDir, 3);
  const variables = [
    ...pretrainingVariables(toyHparams).filter(({ name }) => name.startsWith("electra/")),
    ...tasks.flatMap((task) => headVariables(task, 16)),
  ];
  await saveCheckpoint({
    ...save,
    parameters: new MemoryStore(variables),
    configs: { finetuned: save.configs.discriminator! },
    moments: false,
    partFiles: { finetuned: { "finetuning.json": finetunedText(tasks, hparams) } },
  });
}

export function finetunedText(
  tasks: readonly FinetunedTask[],
  hparams: Readonly<Record<string, unknown>>,
): string {
  const resolved = resolveFinetuningHparams({ dataDir: "data", modelName: "m", hparams });
  return formatFinetunedFile({ tasks, hparams: resolved.hparams, trial: 1, results: null });
}

/** A Hugging Face folder of tensors with random values. */
export async function saveHfFolder(
  folder: string,
  shapes: Readonly<Record<string, readonly number[]>>,
  config: TransformerConfig & Readonly<Record<string, unknown>>,
  vocabText: string,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const variables = Object.entries(shapes).map(([name, shape]) => ({ name, shape }));
  const store = new MemoryStore(variables);
  const tensors = variables.map(({ name, shape }) => ({
    name,
    shape,
    dtype: "F32" as const,
    data: () => [new Uint8Array(store.tensors.get(`value:${name}`)!.buffer)],
  }));
  await writeSafetensors(join(folder, "model.safetensors"), tensors, new DurableFiles());
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "electra", ...config }));
  writeFileSync(join(folder, "vocab.txt"), vocabText);
}
