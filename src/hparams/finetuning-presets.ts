import type { z } from "zod";
import type { FinetuningSchema } from "./finetuning-schema.js";

/** `google`: the reference as it is. `fixed`: without its quirks, each of which is a switch of its own. */
export type FinetuningPreset = "google" | "fixed";

type Values = Partial<z.output<FinetuningSchema>>;

/** Defaults that a preset changes; everything that a person gives still wins. */
export function finetuningPresetValues(preset: FinetuningPreset): Values {
  if (preset === "google") return {};
  return {
    naturalqs_as_qa: true,
    paper_learning_rate: true,
    close_layerwise_gap: true,
    reshuffle_each_epoch: true,
    tagging_follows_case: true,
    tagging_cuts_by_pieces: true,
    tagging_keeps_last_sentence: true,
    tagging_loss_once: true,
    mnli_mismatched: true,
    glue_f1: true,
    answers_apply_threshold: true,
  };
}

/** What the reference changes where exactly one task is trained. */
export function singleTaskValues(task: string, naturalqsAsQa: boolean): Values {
  if (task === "rte" || task === "sts") return { num_train_epochs: 10 };
  if (task.includes("squad") || task.includes("qa") || (naturalqsAsQa && task === "naturalqs")) {
    return { max_seq_length: 512, num_train_epochs: 2, write_test_outputs: false };
  }
  return task === "chunk" ? { max_seq_length: 256 } : {};
}

/** What the reference changes for a size of model. */
export function modelSizeValues(size: "small" | "base" | "large", paperLearningRate: boolean): Values {
  const paper = paperLearningRate
    ? { weight_decay_rate: 0, ...(size === "small" ? { learning_rate: 3e-4 } : {}) }
    : {};
  if (size === "large") return { ...paper, learning_rate: 5e-5, layerwise_lr_decay: 0.9 };
  return size === "small" ? { ...paper, embedding_size: 128 } : paper;
}

/** What the reference changes while trying things out. */
export const finetuningDebugValues = {
  save_checkpoints_steps: 1_000_000,
  use_tfrecords_if_existing: false,
  num_trials: 1,
  iterations_per_loop: 1,
  train_batch_size: 32,
  num_train_epochs: 3,
  log_examples: true,
} as const satisfies Values;
