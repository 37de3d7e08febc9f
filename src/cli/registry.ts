import type { CommandModule } from "./command-module.js";

/** A command as the top-level help shows it. Its file is loaded when it is named. */
export interface RegisteredCommand {
  readonly name: string;
  readonly summary: string;
  readonly group: "Data:" | "Training:" | "Using a model:" | "This machine:";
  readonly load: () => Promise<CommandModule>;
}

/** All commands in the order of the help. A new one needs a file under `commands/` and an entry here. */
export const registeredCommands: readonly RegisteredCommand[] = [
  {
    name: "build-vocab",
    summary: "train a WordPiece vocabulary from text",
    group: "Data:",
    load: () => import("./commands/build-vocab.js"),
  },
  {
    name: "build-dataset",
    summary: "turn text into pre-training records",
    group: "Data:",
    load: () => import("./commands/build-dataset.js"),
  },
  {
    name: "build-openwebtext",
    summary: "turn OpenWebText's archives into pre-training records",
    group: "Data:",
    load: () => import("./commands/build-openwebtext.js"),
  },
  {
    name: "pretrain",
    summary: "pre-train a model, continue one, or evaluate it",
    group: "Training:",
    load: () => import("./commands/pretrain.js"),
  },
  {
    name: "finetune",
    summary: "fine-tune a model on tasks, and evaluate it",
    group: "Training:",
    load: () => import("./commands/finetune.js"),
  },
  {
    name: "predict",
    summary: "classify, tag or answer with a fine-tuned model",
    group: "Using a model:",
    load: () => import("./commands/predict.js"),
  },
  {
    name: "detect",
    summary: "say which words of a text were replaced",
    group: "Using a model:",
    load: () => import("./commands/detect.js"),
  },
  {
    name: "fill-mask",
    summary: "propose words for [MASK]",
    group: "Using a model:",
    load: () => import("./commands/fill-mask.js"),
  },
  {
    name: "score",
    summary: "say how likely texts are, with Electric or a masked language model",
    group: "Using a model:",
    load: () => import("./commands/score.js"),
  },
  {
    name: "rerank",
    summary: "re-rank n-best lists by how likely their texts are",
    group: "Using a model:",
    load: () => import("./commands/rerank.js"),
  },
  {
    name: "export",
    summary: "write a model for Hugging Face, TensorFlow or ONNX, and compare",
    group: "Using a model:",
    load: () => import("./commands/export.js"),
  },
  {
    name: "inspect",
    summary: "say what a model, checkpoint, dataset or tensor file holds",
    group: "Using a model:",
    load: () => import("./commands/inspect.js"),
  },
  {
    name: "bench",
    summary: "time training steps and predictions on this machine",
    group: "This machine:",
    load: () => import("./commands/bench.js"),
  },
  {
    name: "build",
    summary: "compile what the package needs, again if need be",
    group: "This machine:",
    load: () => import("./commands/build.js"),
  },
  {
    name: "doctor",
    summary: "check this machine by trying everything once",
    group: "This machine:",
    load: () => import("./commands/doctor.js"),
  },
];
