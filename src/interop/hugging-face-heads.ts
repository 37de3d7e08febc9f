import { transpose } from "../checkpoint/transpose.js";
import { ElectraError } from "../errors.js";
import type { ExportHead } from "./export-head.js";
import type { ExportWeights } from "./export-weights.js";

/** A small tensor of a Hugging Face file. */
export interface HeadTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** The head of a task as one of Hugging Face's classes has it. */
export interface HuggingFaceHead {
  readonly tensors: readonly HeadTensor[];
  /** Variables that the class has no place for. */
  readonly leftOut: readonly string[];
}

type TaskExport = Extract<ExportHead, { kind: "task" }>;

/**
 * Rewrites the head of a task for the class that does the same in Hugging Face's transformers.
 *
 * - Tagging: the same single layer.
 * - Classification, multi-label, regression: the reference has one dense layer on `[CLS]`, `ElectraForSequenceClassification`
 *   two with a GELU between them. As gelu(u) − gelu(−u) = u, the first makes each logit and its negative, and the second
 *   their difference: the same numbers up to rounding. That takes twice as many columns as labels. A regression's second layer
 *   also brings the value to the task's own scale.
 * - Spans with independent ends: start and end become the two rows of one layer. Logits are not lowered where no answer may be,
 *   and the answerable classifier has no place.
 * - Spans with joint prediction have no class.
 *
 * @param hiddenSize width of the encoder
 * @throws ElectraError `ERR_ELECTRA_EXPORT_HEAD` when no class can do the same
 */
export async function huggingFaceHead(
  { task, head }: TaskExport,
  hiddenSize: number,
  weights: ExportWeights,
): Promise<HuggingFaceHead> {
  const scope = `task_specific/${task}`;
  const kernel = (layer: string) => weights.read(`${scope}/${layer}/kernel`);
  const bias = (layer: string) => weights.read(`${scope}/${layer}/bias`);
  switch (head.kind) {
    case "tagging": {
      const count = head.labels.length;
      return {
        tensors: [
          {
            name: "classifier.weight",
            shape: [count, hiddenSize],
            values: transpose(await kernel("dense"), hiddenSize, count),
          },
          { name: "classifier.bias", shape: [count], values: await bias("dense") },
        ],
        leftOut: [],
      };
    }
    case "classification":
    case "multi-label":
      return twoLayers(hiddenSize, head.labels.length, await kernel("dense"), await bias("dense"), task);
    case "regression": {
      const { minimum, maximum } = head;
      return twoLayers(hiddenSize, 1, await kernel("dense"), await bias("dense"), task, maximum, minimum);
    }
    case "span": {
      if (head.jointPrediction) {
        throw noClass(
          `the head of ${task} chooses an end for a given start (joint_prediction), which no class of Hugging Face does`,
          "Export it with --to onnx, or fine-tune with joint_prediction false.",
        );
      }
      const rows = [...(await kernel("dense")), ...(await kernel("dense_1"))];
      const biases = [...(await bias("dense")), ...(await bias("dense_1"))];
      const layers = head.answerableUsesStartLogits ? ["dense_2", "dense_3"] : ["dense_2"];
      return {
        tensors: [
          { name: "qa_outputs.weight", shape: [2, hiddenSize], values: Float32Array.from(rows) },
          { name: "qa_outputs.bias", shape: [2], values: Float32Array.from(biases) },
        ],
        leftOut: head.answerableClassifier
          ? layers.flatMap((layer) => [`${scope}/${layer}/kernel`, `${scope}/${layer}/bias`])
          : [],
      };
    }
  }
}

/**
 * A variable of the encoder as the export has it. Tagging models were trained with all tokens in segment 1, and programs that
 * use them say 0: both segments become the one that was trained.
 */
export async function encoderForHuggingFace(
  variable: string,
  weights: ExportWeights,
  head: ExportHead,
): Promise<Float32Array> {
  const values = await weights.read(variable);
  if (variable !== "electra/embeddings/token_type_embeddings") return values;
  if (head.kind !== "task" || head.head.kind !== "tagging") return values;
  const width = weights.shapeOf(variable)![1]!;
  const same = values.slice();
  same.copyWithin(0, width, 2 * width);
  return same;
}

/** See {@link huggingFaceHead}: scale · (gelu(u) − gelu(−u)) + shift with u = x·K + b. */
function twoLayers(
  size: number,
  count: number,
  kernel: Float32Array,
  bias: Float32Array,
  task: string,
  scale = 1,
  shift = 0,
): HuggingFaceHead {
  if (2 * count > size) {
    throw noClass(
      `the ${count} labels of ${task} need ${2 * count} columns in the inner layer of ElectraForSequenceClassification, which has ${size}`,
      "Export it with --to onnx.",
    );
  }
  const inner = new Float32Array(size * size);
  const innerBias = new Float32Array(size);
  const outer = new Float32Array(count * size);
  for (let label = 0; label < count; label++) {
    for (let i = 0; i < size; i++) {
      inner[label * size + i] = kernel[i * count + label]!;
      inner[(count + label) * size + i] = -kernel[i * count + label]!;
    }
    innerBias[label] = bias[label]!;
    innerBias[count + label] = -bias[label]!;
    outer[label * size + label] = scale;
    outer[label * size + count + label] = -scale;
  }
  return {
    tensors: [
      { name: "classifier.dense.weight", shape: [size, size], values: inner },
      { name: "classifier.dense.bias", shape: [size], values: innerBias },
      { name: "classifier.out_proj.weight", shape: [count, size], values: outer },
      { name: "classifier.out_proj.bias", shape: [count], values: new Float32Array(count).fill(shift) },
    ],
    leftOut: [],
  };
}

function noClass(message: string, hint: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_EXPORT_HEAD", message, { hint, exitCode: 2 });
}
