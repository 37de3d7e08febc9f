import type { TaskHead } from "../finetuning/task.js";

/** What an exported model says about text. */
export type ExportHead =
  /** The states of the last layer. */
  | { readonly kind: "encoder" }
  /** The discriminator: a logit for each token, positive where it was replaced. */
  | { readonly kind: "replaced-tokens" }
  /** The generator: logits over the vocabulary at each position. */
  | { readonly kind: "masked-lm" }
  /** The head of a task that a model was fine-tuned for. */
  | { readonly kind: "task"; readonly task: string; readonly head: TaskHead }
  /** Heads of Hugging Face's own classes, which differ from the reference's: dense, GELU, dense on `[CLS]`. */
  | {
      readonly kind: "hf-sequence";
      readonly labels: readonly string[];
      readonly problemType: string | undefined;
    }
  /** One dense layer on each token. */
  | { readonly kind: "hf-token"; readonly labels: readonly string[] }
  /** One dense layer for start and end. */
  | { readonly kind: "hf-span" };

/** Hugging Face's class for a head, under which transformers.js finds it. The encoder's class serves where there is none. */
export function architectureOf(head: ExportHead): string {
  switch (head.kind) {
    case "encoder":
      return "ElectraModel";
    case "replaced-tokens":
      return "ElectraForPreTraining";
    case "masked-lm":
      return "ElectraForMaskedLM";
    case "hf-sequence":
      return "ElectraForSequenceClassification";
    case "hf-token":
      return "ElectraForTokenClassification";
    case "hf-span":
      return "ElectraForQuestionAnswering";
    case "task":
      if (head.head.kind === "tagging") return "ElectraForTokenClassification";
      if (head.head.kind === "span") return "ElectraForQuestionAnswering";
      return "ElectraForSequenceClassification";
  }
}

/** What the outputs of a classifier mean, as `config.json` says it. Empty for heads without labels. */
export function labelConfig(head: ExportHead): Readonly<Record<string, unknown>> {
  const named = (labels: readonly string[]): Record<string, unknown> => ({
    id2label: Object.fromEntries(labels.map((label, id) => [String(id), label])),
    label2id: Object.fromEntries(labels.map((label, id) => [label, id])),
  });
  if (head.kind === "hf-sequence") {
    const { problemType } = head;
    return { ...named(head.labels), ...(problemType === undefined ? {} : { problem_type: problemType }) };
  }
  if (head.kind === "hf-token") return named(head.labels);
  if (head.kind !== "task") return {};
  const task = { finetuning_task: head.task };
  switch (head.head.kind) {
    case "classification":
      return { ...task, ...named(head.head.labels), problem_type: "single_label_classification" };
    case "multi-label":
      return { ...task, ...named(head.head.labels), problem_type: "multi_label_classification" };
    case "regression":
      return { ...task, ...named([head.task]), problem_type: "regression" };
    case "tagging":
      return { ...task, ...named(head.head.labels) };
    case "span":
      return task;
  }
}
