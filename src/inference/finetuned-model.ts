import type { ParameterEngine } from "../checkpoint/engine-parameter-store.js";
import type { HfConfig } from "../checkpoint/hf-config.js";
import type {
  FinetuningBatch,
  FinetuningEngineCreateOptions,
  PredictOptions,
  PredictResult,
} from "../engine/finetuning-types.js";
import type { EngineInfo } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import type { FinetunedFile, FinetunedTask } from "../finetuning/finetuned-file.js";
import { engineHead } from "../finetuning/heads/engine-head.js";
import type { FullHeadOutput } from "../finetuning/heads/head-outputs.js";
import { headPredictions } from "../finetuning/heads/head-predictions.js";
import type { TaskFeatures, TaskHead } from "../finetuning/task.js";
import type { FinetuningHparams } from "../hparams/finetuning-hparams.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";
import type { OpenModelOptions } from "./pretrained-model.js";

/** The part of a fine-tuning engine that using a model needs. */
export interface PredictionEngine extends ParameterEngine {
  readonly info: EngineInfo;
  predict(batch: FinetuningBatch, options: PredictOptions): Promise<PredictResult>;
  dispose(): Promise<void>;
}

export interface OpenFinetunedOptions extends OpenModelOptions {
  /** What computes. Default: the native engine. */
  readonly createEngine?: (options: FinetuningEngineCreateOptions) => Promise<PredictionEngine>;
}

export interface PredictRowsOptions {
  /** Rows that are computed together at most. Default 32. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** What a {@link FinetunedModel} is made of. */
export type FinetunedParts = Pick<
  FinetunedModel,
  "engine" | "tokenizer" | "config" | "tasks" | "hparams" | "results" | "folder" | "step"
>;

/**
 * A fine-tuned model in an engine: an encoder with the heads of the tasks that it was trained for, and the tokenizer that
 * belongs to it. {@link Classifier}, {@link QuestionAnswerer} and {@link Tagger} make its numbers into answers. Dispose it
 * when done.
 */
export class FinetunedModel {
  readonly engine: PredictionEngine;
  readonly tokenizer: Tokenizer;
  readonly config: HfConfig;
  /** What it can do, in the order of the training. */
  readonly tasks: readonly FinetunedTask[];
  /** Settings of the fine-tuning, those that texts are prepared with among them. */
  readonly hparams: FinetuningHparams;
  /** Results of its evaluation by task and metric; null if it was not evaluated. */
  readonly results: FinetunedFile["results"];
  /** Folder that the weights come from. */
  readonly folder: string;
  /** Step of the checkpoint, if it lies in one. */
  readonly step: number | undefined;

  private constructor(parts: FinetunedParts) {
    this.engine = parts.engine;
    this.tokenizer = parts.tokenizer;
    this.config = parts.config;
    this.tasks = parts.tasks;
    this.hparams = parts.hparams;
    this.results = parts.results;
    this.folder = parts.folder;
    this.step = parts.step;
  }

  /**
   * Opens the folder of a trial (`…_model_1`, its newest complete checkpoint), a checkpoint, its `finetuned` folder, or a
   * pre-trained run in which exactly one fine-tuned model lies.
   *
   * @throws ElectraError `ERR_ELECTRA_NO_MODEL`, `ERR_ELECTRA_FINETUNED_FILE`, `ERR_ELECTRA_MODEL_FORMAT`,
   *   `ERR_ELECTRA_CHECKPOINT_MISMATCH` where labels, tokenizer, settings and weights do not belong together
   */
  static async open(path: string, options: OpenFinetunedOptions = {}): Promise<FinetunedModel> {
    // Reading files takes much more code than using the model: it is loaded with the first one.
    const { openFinetuned } = await import("./open-finetuned-model.js");
    return new FinetunedModel(await openFinetuned(path, options));
  }

  /**
   * The task of a name, or the only one, whose head is of one of these kinds.
   *
   * @throws ElectraError `ERR_ELECTRA_TASK` with the tasks that there are
   */
  task<Kind extends TaskHead["kind"]>(
    kinds: readonly Kind[],
    name?: string,
  ): FinetunedTask & { readonly head: Extract<TaskHead, { kind: Kind }> } {
    const fits = ({ head }: FinetunedTask) => (kinds as readonly string[]).includes(head.kind);
    const named =
      name === undefined ? this.tasks.filter(fits) : this.tasks.filter((task) => task.name === name);
    const [task] = named;
    if (named.length === 1 && fits(task!)) {
      return task as FinetunedTask & { readonly head: Extract<TaskHead, { kind: Kind }> };
    }
    const known = this.tasks.map(({ name: other, head }) => `${other} (${head.kind})`).join(", ");
    const message =
      named.length > 1
        ? `${this.folder} knows several such tasks`
        : task === undefined
          ? `${this.folder} knows no ${name === undefined ? `task of the kind ${kinds.join(" or ")}` : `task "${name}"`}`
          : `the task ${task.name} of ${this.folder} is of the kind ${task.head.kind}, not ${kinds.join(" or ")}`;
    throw new ElectraError("ERR_ELECTRA_TASK", message, {
      hint: `Name a task that fits; it knows ${known}.`,
      exitCode: 2,
    });
  }

  /**
   * What a task's head says about rows, in their order. Rows of like lengths are computed together.
   *
   * @throws the signal's reason after an abort
   */
  async predict(
    { name, head }: FinetunedTask,
    rows: readonly TaskFeatures[],
    { batchSize = 32, signal }: PredictRowsOptions = {},
  ): Promise<FullHeadOutput[]> {
    const taskId = this.tasks.findIndex((task) => task.name === name);
    return await headPredictions(
      rows.map((features) => ({ taskId, features })),
      {
        engine: this.engine,
        task: name,
        head,
        heads: this.tasks.map((task) => engineHead(task.head)),
        maxRows: batchSize,
        maxTokens: batchSize * this.hparams.max_seq_length,
        signal,
      },
    );
  }

  async dispose(): Promise<void> {
    await this.engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
