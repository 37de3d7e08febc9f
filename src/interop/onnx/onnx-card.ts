import { architectureOf, type ExportHead } from "../export-head.js";
import type { ExportSource } from "../export-source.js";
import { MADE_BY } from "../model-card.js";
import type { OnnxGraph } from "./onnx-types.js";

/** Pipelines of transformers.js that take a class; the others are loaded with `AutoModel`. */
const pipelines: Readonly<Record<string, string>> = {
  ElectraModel: "feature-extraction",
  ElectraForMaskedLM: "fill-mask",
  ElectraForSequenceClassification: "text-classification",
  ElectraForTokenClassification: "token-classification",
  ElectraForQuestionAnswering: "question-answering",
};

/** `README.md` of an ONNX export: what it is, its inputs and outputs, and how transformers.js loads it. */
export function onnxCard(
  { head, config, step, maxLength }: Pick<ExportSource, "head" | "config" | "step" | "maxLength">,
  { inputs, outputs }: Pick<OnnxGraph, "inputs" | "outputs">,
): string {
  const architecture = architectureOf(head);
  // A softmax of one number says nothing.
  const pipeline =
    head.kind === "task" && head.head.kind === "regression" ? undefined : pipelines[architecture];
  const row = ({ name, shape }: OnnxGraph["inputs"][number]): string =>
    `- \`${name}\` [${shape.map(String).join(", ")}]`;
  return `${[
    "---",
    "library_name: transformers.js",
    "tags:",
    "- electra",
    "- onnx",
    ...(pipeline === undefined ? [] : [`pipeline_tag: ${pipeline}`]),
    "---",
    "",
    `${whatItIs(head)} ONNX, float32.`,
    "",
    `- ${config.num_hidden_layers} layers of width ${config.hidden_size}, ${config.num_attention_heads} attention head(s), ` +
      `embeddings of width ${config.embedding_size} for ${config.vocab_size} tokens`,
    `- texts of up to ${maxLength} tokens`,
    ...(step === undefined ? [] : [`- ${step} training steps`]),
    ...labelsOf(head),
    "",
    "Inputs:",
    "",
    ...inputs.map(row),
    "",
    "Outputs:",
    "",
    ...outputs.map(row),
    "",
    "```js",
    ...(pipeline === undefined
      ? [
          'import { AutoModel, AutoTokenizer } from "@huggingface/transformers";',
          "",
          'const tokenizer = await AutoTokenizer.from_pretrained("<this folder>");',
          'const model = await AutoModel.from_pretrained("<this folder>");',
          'const outputs = await model(tokenizer("A text."));',
        ]
      : [
          'import { pipeline } from "@huggingface/transformers";',
          "",
          `const run = await pipeline("${pipeline}", "<this folder>");`,
        ]),
    "```",
    "",
    MADE_BY,
  ].join("\n")}\n`;
}

function whatItIs(head: ExportHead): string {
  switch (head.kind) {
    case "encoder":
      return "The encoder of an ELECTRA model.";
    case "replaced-tokens":
      return "An ELECTRA discriminator: a logit for each token, positive where it was replaced.";
    case "masked-lm":
      return "An ELECTRA generator: a masked language model.";
    case "task":
      return `An ELECTRA model, fine-tuned for the task ${head.task}.`;
    default:
      return "A fine-tuned ELECTRA model.";
  }
}

function labelsOf(head: ExportHead): string[] {
  const labels =
    head.kind === "task"
      ? "labels" in head.head
        ? head.head.labels
        : []
      : "labels" in head
        ? head.labels
        : [];
  return labels.length === 0 ? [] : [`- labels: ${labels.join(", ")}`];
}
