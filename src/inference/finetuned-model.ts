import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { engineParameterStore, type ParameterEngine } from "../checkpoint/engine-parameter-store.js";
import type { HfConfig } from "../checkpoint/hf-config.js";
import { loadWeights } from "../checkpoint/load-checkpoint.js";
import { FINETUNING_FILE, readModelConfig } from "../checkpoint/model-folder.js";
import { SafetensorsReader } from "../checkpoint/safetensors.js";
import { FinetuningEngine } from "../engine/finetuning-engine.js";
import type {
  FinetuningBatch,
  FinetuningEngineCreateOptions,
  FinetuningModelConfig,
  PredictOptions,
  PredictResult,
} from "../engine/finetuning-types.js";
import type { EngineInfo } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { type FinetunedFile, type FinetunedTask, parseFinetunedFile } from "../finetuning/finetuned-file.js";
import { engineHead } from "../finetuning/heads/engine-head.js";
import type { FullHeadOutput } from "../finetuning/heads/head-outputs.js";
import { headPredictions } from "../finetuning/heads/head-predictions.js";
import type { TaskFeatures, TaskHead } from "../finetuning/task.js";
import type { FinetuningHparams } from "../hparams/finetuning-hparams.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";
import { findFinetunedModel } from "./finetuned-folder.js";
import { readModelTokenizer } from "./model-tokenizer.js";
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

  private constructor(
    parts: Pick<
      FinetunedModel,
      "engine" | "tokenizer" | "config" | "tasks" | "hparams" | "results" | "folder" | "step"
    >,
  ) {
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
    const { createEngine = (wanted) => FinetuningEngine.create(wanted), vocabFile, ...machine } = options;
    const { folder, step } = await findFinetunedModel(path);
    const config = await readModelConfig(folder);
    const file = await readFinetunedFile(folder);
    const { tasks, hparams, results } = file;
    const tokenizer = await readModelTokenizer(folder, config.vocab_size, vocabFile);
    tokenizer.vocabulary.require(["[CLS]", "[SEP]"]);
    checkSettings(config, file, tokenizer, folder);
    await checkLabels(tasks, folder);
    const engine = await createEngine({ ...machine, model: modelConfig(config, tasks, hparams) });
    try {
      await loadWeights({ folders: { finetuned: folder }, parameters: engineParameterStore(engine) });
    } catch (error) {
      await engine.dispose();
      throw error;
    }
    return new FinetunedModel({ engine, tokenizer, config, tasks, hparams, results, folder, step });
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

async function readFinetunedFile(folder: string): Promise<FinetunedFile> {
  const path = join(folder, FINETUNING_FILE);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new ElectraError("ERR_ELECTRA_FINETUNED_FILE", `${path} cannot be read`, {
      hint: "It says what the model's heads mean and is written with the weights: copy the whole folder.",
      cause: error,
      exitCode: 2,
    });
  });
  return parseFinetunedFile(text, path);
}

/** Whatever would silently give other numbers than the training saw is refused. */
function checkSettings(
  config: HfConfig,
  { hparams }: FinetunedFile,
  { basic }: Tokenizer,
  folder: string,
): void {
  const refuse = (message: string, hint: string): never => {
    throw new ElectraError("ERR_ELECTRA_CHECKPOINT_MISMATCH", `${folder}: ${message}`, { hint, exitCode: 2 });
  };
  if (config.layer_norm_eps !== 1e-12) {
    refuse(
      `layer_norm_eps is ${config.layer_norm_eps}, the engine computes with 1e-12`,
      "ELECTRA models have 1e-12.",
    );
  }
  const restore = "A file was exchanged after the training: restore it, or fine-tune again.";
  if (hparams.max_seq_length > config.max_position_embeddings) {
    refuse(
      `it was fine-tuned with ${hparams.max_seq_length} tokens (${FINETUNING_FILE}), but has ${config.max_position_embeddings} positions (config.json)`,
      restore,
    );
  }
  if (hparams.do_lower_case !== basic.lowerCase) {
    const words = (lowerCase: boolean) => (lowerCase ? "lower-cased" : "cased");
    refuse(
      `it was fine-tuned on ${words(hparams.do_lower_case)} text (${FINETUNING_FILE}), but its tokenizer is ${words(basic.lowerCase)} (tokenizer_config.json)`,
      restore,
    );
  }
}

/** Labels are names for the columns of a head: as many of the one as of the other. */
async function checkLabels(tasks: readonly FinetunedTask[], folder: string): Promise<void> {
  const reader = await SafetensorsReader.open(join(folder, "model.safetensors"));
  try {
    for (const { name, head } of tasks) {
      if (!("labels" in head)) continue;
      const classes = reader.tensors.get(`task_specific.${name}.dense.bias`)?.shape[0];
      if (classes === undefined || classes === head.labels.length) continue;
      throw new ElectraError(
        "ERR_ELECTRA_CHECKPOINT_MISMATCH",
        `${folder}: the task ${name} has ${head.labels.length} labels (${FINETUNING_FILE}), but its head tells ${classes} classes apart (model.safetensors)`,
        { hint: "A file was exchanged after the training: restore it, or fine-tune again.", exitCode: 2 },
      );
    }
  } finally {
    await reader.close();
  }
}

function modelConfig(
  config: HfConfig,
  tasks: readonly FinetunedTask[],
  hparams: FinetuningHparams,
): FinetuningModelConfig {
  const { model_type, architectures, layer_norm_eps, pad_token_id, ...encoder } = config;
  return {
    encoder,
    tasks: tasks.map(({ name, head }) => ({ name, head: engineHead(head) })),
    max_seq_length: hparams.max_seq_length,
  };
}
