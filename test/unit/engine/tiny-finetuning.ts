import type {
  EngineTaskHead,
  FinetuningBatch,
  FinetuningModelConfig,
} from "../../../src/engine/finetuning-types.js";
import { tinyModel } from "./tiny-model.js";

/** L of the model and of the batch. */
export const length = 16;
export const span: Extract<EngineTaskHead, { kind: "span" }> = {
  kind: "span",
  jointPrediction: true,
  answerableClassifier: true,
  answerableUsesStartLogits: true,
  answerableWeight: 0.5,
  beamSize: 4,
};
/** A task for every head. */
export const model: FinetuningModelConfig = {
  encoder: tinyModel({ length }).discriminator,
  max_seq_length: length,
  tasks: [
    { name: "topic", head: { kind: "classification", classes: 3 } },
    { name: "marks", head: { kind: "multi-label", classes: 2 } },
    { name: "score", head: { kind: "regression" } },
    { name: "tags", head: { kind: "tagging", classes: 4 } },
    { name: "answer", head: span },
  ],
};
const padding = model.tasks.length;

/** A row for each task, one of padding, and one more of the first. */
export function mixedBatch(): FinetuningBatch {
  const lengths = Int32Array.of(12, 9, 16, 7, 14, 3, 5);
  const rows = lengths.length;
  return {
    rows,
    length,
    lengths,
    inputIds: Int32Array.from({ length: rows * length }, (_, i) => 5 + ((i * 7) % 50)),
    segmentIds: Int32Array.from({ length: rows * length }, (_, i) => (i % length > 4 ? 1 : 0)),
    taskIds: Int32Array.of(0, 1, 2, 3, 4, padding, 0),
    words: { offsets: Int32Array.of(0, 0, 0, 0, 3, 3, 3, 3), positions: Int32Array.of(1, 2, 5) },
    targets: {
      classes: Int32Array.of(2, 0, 0, 0, 0, 0, 1),
      labels: Float32Array.of(0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
      values: Float32Array.of(0, 0, 0.8, 0, 0, 0, 0),
      wordClasses: Int32Array.of(3, 0, 1),
      starts: Int32Array.of(0, 0, 0, 0, 6, 0, 0),
      ends: Int32Array.of(0, 0, 0, 0, 9, 0, 0),
      impossible: Int32Array.of(0, 0, 0, 0, 1, 0, 0),
    },
  };
}
