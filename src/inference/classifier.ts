import { pairInput } from "../finetuning/features/pair-input.js";
import type { FinetunedTask } from "../finetuning/finetuned-file.js";
import type { FullHeadOutput } from "../finetuning/heads/head-outputs.js";
import type { TaskFeatures, TaskHead } from "../finetuning/task.js";
import { FinetunedModel, type OpenFinetunedOptions, type PredictRowsOptions } from "./finetuned-model.js";
import { mapInBlocks, type Source } from "./map-in-blocks.js";
import { largestAt, sigmoid, softmax } from "./probabilities.js";

/** A text, or two that belong together as the task says: premise and hypothesis, two sentences to compare, … */
export type ClassifierInput = string | { readonly text: string; readonly textPair?: string | undefined };

interface CommonClassification {
  /** Tokens at the end of the text that the model did not see, because it reads `max_seq_length` of them; mostly 0. */
  readonly cutTokens: number;
}

/** One class for the text. */
export interface ClassClassification extends CommonClassification {
  readonly kind: "classification";
  /** The likeliest. */
  readonly label: string;
  readonly probability: number;
  /** Of all labels; they add up to 1. */
  readonly probabilities: Readonly<Record<string, number>>;
  readonly labels?: undefined;
  readonly value?: undefined;
}

/** Any number of labels for the text. */
export interface MultiLabelClassification extends CommonClassification {
  readonly kind: "multi-label";
  /** Those above the threshold. */
  readonly labels: readonly string[];
  /** Of all labels, each by itself. */
  readonly probabilities: Readonly<Record<string, number>>;
  readonly label?: undefined;
  readonly probability?: undefined;
  readonly value?: undefined;
}

/** A number for the text. */
export interface ValueClassification extends CommonClassification {
  readonly kind: "regression";
  /** On the scale of the training data. Nothing holds it inside the range. */
  readonly value: number;
  readonly label?: undefined;
  readonly labels?: undefined;
  readonly probability?: undefined;
  readonly probabilities?: undefined;
}

export type Classification = ClassClassification | MultiLabelClassification | ValueClassification;

export interface ClassifyOptions extends PredictRowsOptions {
  /** What the probability of a label must exceed (multi-label). Default 0.5. */
  readonly threshold?: number;
}

/** How a fine-tuned model is opened for one of its tasks. */
export interface OpenTaskOptions extends OpenFinetunedOptions {
  /** Needed where the model knows several tasks of the kind. */
  readonly task?: string;
}

/** Texts of a block: enough that sorting them by length pays. */
const BLOCK = 1024;
const KINDS = ["classification", "multi-label", "regression"] as const;

/**
 * Says what class a text is of, which labels it has, or what value, as the fine-tuned model's task is. Texts are prepared
 * as in the training; what is longer than the model reads is cut at its end, of two texts the longer one first.
 *
 * @example
 * await using classifier = await Classifier.open("data/models/electra_small/finetuning_models/sst_model_1");
 * const [review] = await classifier.classify(["A great film."]);
 * console.log(review.label, review.probability);
 */
export class Classifier {
  readonly model: FinetunedModel;
  readonly task: FinetunedTask & { readonly head: Extract<TaskHead, { kind: (typeof KINDS)[number] }> };

  /** @throws ElectraError `ERR_ELECTRA_TASK` if the model has no such task, or several and none is named */
  constructor(model: FinetunedModel, task?: string) {
    this.model = model;
    this.task = model.task(KINDS, task);
  }

  /** @param path folder of a fine-tuned model, see {@link FinetunedModel.open} */
  static async open(path: string, { task, ...options }: OpenTaskOptions = {}): Promise<Classifier> {
    const model = await FinetunedModel.open(path, options);
    try {
      return new Classifier(model, task);
    } catch (error) {
      await model.dispose();
      throw error;
    }
  }

  /** A result for each text, in their order. */
  async classify(
    inputs: readonly ClassifierInput[],
    options: ClassifyOptions = {},
  ): Promise<Classification[]> {
    const texts = inputs.map((input) => (typeof input === "string" ? { text: input } : input));
    const rows = texts.map(({ text, textPair }) => this.featurize(text, textPair));
    const outputs = await this.model.predict(this.task, rows, options);
    return outputs.map((output, i) => {
      const { text, textPair } = texts[i]!;
      return this.#result(output, this.#cutTokens(rows[i]!, text, textPair), options);
    });
  }

  /** The same for texts without end, with bounded memory: results come while texts are still being read. */
  classifyStream(
    inputs: Source<ClassifierInput>,
    options: ClassifyOptions = {},
  ): AsyncGenerator<Classification, void, undefined> {
    const { signal } = options;
    return mapInBlocks(inputs, (block) => this.classify(block, options), {
      size: BLOCK,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** The row that the model sees of a text. */
  featurize(text: string, textPair?: string): TaskFeatures {
    const { tokenizer, hparams } = this.model;
    return {
      eid: 0,
      ...pairInput(tokenizer, hparams.max_seq_length, text, textPair),
      target: { kind: "classification", label: 0 },
    };
  }

  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #cutTokens({ inputIds }: TaskFeatures, text: string, textPair = ""): number {
    const { tokenizer, hparams } = this.model;
    // Only a full row can have lost something, and few are full: counting again is cheap.
    if (inputIds.length < hparams.max_seq_length) return 0;
    const second = tokenizer.encode(textPair).length;
    const special = second > 0 ? 3 : 2;
    return tokenizer.encode(text).length + second + special - inputIds.length;
  }

  #result(
    { logits = [], prediction = Number.NaN }: FullHeadOutput,
    cutTokens: number,
    { threshold = 0.5 }: ClassifyOptions,
  ): Classification {
    const { head } = this.task;
    if (head.kind === "regression") {
      return { kind: head.kind, value: prediction * head.maximum + head.minimum, cutTokens };
    }
    const { labels } = head;
    const chances = head.kind === "classification" ? softmax(logits) : Array.from(logits, sigmoid);
    const probabilities = Object.fromEntries(labels.map((label, i) => [label, chances[i]!]));
    if (head.kind === "multi-label") {
      const above = labels.filter((_, i) => chances[i]! > threshold);
      return { kind: head.kind, labels: above, probabilities, cutTokens };
    }
    const best = largestAt(chances);
    return { kind: head.kind, label: labels[best]!, probability: chances[best]!, probabilities, cutTokens };
  }
}
