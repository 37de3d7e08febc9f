import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { findLatestCheckpoint } from "../../checkpoint/checkpoint-folders.js";
import type { FinetuningModelConfig } from "../../engine/finetuning-types.js";
import { ElectraError } from "../../errors.js";
import {
  type FinetuningHparams,
  type ResolvedFinetuning,
  type ResolveFinetuningOptions,
  resolveFinetuningHparams,
} from "../../hparams/finetuning-hparams.js";
import { finetuningHparamNames } from "../../hparams/finetuning-schema.js";
import {
  checkTransformerConfig,
  discriminatorConfig,
  type TransformerConfig,
} from "../../hparams/transformer-config.js";
import { Tokenizer } from "../../tokenization/tokenizer.js";
import { Vocabulary } from "../../tokenization/vocabulary.js";
import type { TaskRecipe } from "../cache/feature-maker.js";
import type { FinetunedTask } from "../finetuned-file.js";
import { engineHead } from "../heads/engine-head.js";
import type { Task } from "../task.js";
import { createTasks } from "../tasks/create-task.js";
import { readTaskFile, type TaskSource } from "../tasks/read-task-file.js";
import { fitToModel } from "./fit-to-model.js";
import { type InitialModel, openInitialModel } from "./initial-model.js";

export interface SetUpFinetuningOptions extends ResolveFinetuningOptions {
  /** Tasks of the program's own. */
  readonly tasks?: readonly TaskSource[];
  /** Files that describe tasks, or modules that export them. */
  readonly taskFiles?: readonly string[];
}

/** Something that a person should know before a run. */
export interface SetupWarning {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** A run with everything looked up, before an engine exists. */
export interface FinetuningSetup {
  readonly hparams: FinetuningHparams;
  readonly preset: ResolvedFinetuning["preset"];
  /** What training begins with; undefined: random weights. */
  readonly initial: InitialModel | undefined;
  readonly encoder: TransformerConfig;
  readonly tokenizer: Tokenizer;
  readonly vocabText: string;
  readonly tasks: readonly Task[];
  /** The same tasks as a saved model names them. */
  readonly heads: readonly FinetunedTask[];
  readonly model: FinetuningModelConfig;
  /** Makes the tasks in another thread; undefined where a program's own are among them. */
  readonly recipe: TaskRecipe | undefined;
  readonly warnings: readonly SetupWarning[];
}

/**
 * Resolves hparams, opens the model that training begins with, and makes the tasks.
 *
 * @throws ElectraError for wrong hparams, a missing model, hparams that contradict it, unknown tasks, missing data
 */
export async function setUpFinetuning(options: SetUpFinetuningOptions): Promise<FinetuningSetup> {
  const taskFiles = options.taskFiles ?? [];
  const own = [...(options.tasks ?? []), ...(await Promise.all(taskFiles.map(readTaskFile)))];
  const request = withOwnTasks(options, own);
  const first = resolveFinetuningHparams(request);
  const initial = await openModel(first.hparams);
  const { hparams, encoder, tokenizer, vocabText, warnings } =
    initial === undefined
      ? await withoutModel(first)
      : fitToModel(
          request,
          initial,
          first.sources.vocab_file === "hparams" ? await vocabOf(first.hparams) : undefined,
        );
  checkLength(hparams, encoder);
  const tasks = await createTasks({ hparams, tokenizer }, own);
  const heads = await Promise.all(tasks.map(async (task) => ({ name: task.name, head: await task.head() })));
  const crosses = (options.tasks ?? []).length === 0 && taskFiles.every((file) => file.endsWith(".json"));
  const { lowerCase, stripAccents } = tokenizer.basic;
  return {
    hparams,
    preset: first.preset,
    initial,
    encoder,
    tokenizer,
    vocabText,
    tasks,
    heads,
    model: {
      encoder,
      tasks: heads.map(({ name, head }) => ({ name, head: engineHead(head) })),
      max_seq_length: hparams.max_seq_length,
      weight_decay_rate: hparams.weight_decay_rate,
    },
    recipe: crosses ? { hparams, vocabText, lowerCase, stripAccents, taskFiles } : undefined,
    warnings: [...tpuWarnings(first), ...warnings],
  };
}

function tpuWarnings({ sources }: ResolvedFinetuning): readonly SetupWarning[] {
  const given = finetuningHparamNames().filter(
    (name) => /tpu|^gcp_|^iterations_per_loop$/.test(name) && sources[name] === "hparams",
  );
  if (given.length === 0) return [];
  return [
    {
      code: "tpu_ignored",
      message: `${given.join(", ")}: settings of TPUs have no effect here`,
      hint: "Leave them out.",
    },
  ];
}

/** Own tasks without `task_names` are what is trained. */
function withOwnTasks(options: SetUpFinetuningOptions, own: readonly TaskSource[]): ResolveFinetuningOptions {
  const { dataDir, modelName, preset, place, hparams = {} } = options;
  const names = hparams["task_names"] ?? (own.length === 0 ? undefined : own.map(({ name }) => name));
  const unnamed = Array.isArray(names) ? own.find(({ name }) => !names.includes(name)) : undefined;
  if (unnamed !== undefined) {
    throw new ElectraError(
      "ERR_ELECTRA_TASK",
      `The task ${unnamed.name} is given, but not among task_names.`,
      {
        hint: `Add "${unnamed.name}" to task_names, or leave the task out.`,
        exitCode: 2,
      },
    );
  }
  return {
    dataDir,
    modelName,
    ...(preset === undefined ? {} : { preset }),
    ...(place === undefined ? {} : { place }),
    hparams: names === undefined ? hparams : { ...hparams, task_names: names },
  };
}

/** Without training, a trial's own model is evaluated if there is one. */
async function openModel(hparams: FinetuningHparams): Promise<InitialModel | undefined> {
  if (!hparams.do_train) {
    const trained = await findLatestCheckpoint(trialFolder(hparams, 1));
    if (trained !== undefined) return await openInitialModel(trained.path, hparams);
  }
  return hparams.init_checkpoint === null
    ? undefined
    : await openInitialModel(hparams.init_checkpoint, hparams);
}

/** Folder of the model of a trial. @param trial from 1 */
export function trialFolder(hparams: Pick<FinetuningHparams, "model_dir">, trial: number): string {
  return `${hparams.model_dir}_${trial}`;
}

type ModelParts = Pick<FinetuningSetup, "hparams" | "encoder" | "tokenizer" | "vocabText" | "warnings">;

/** Random weights: everything is as the hparams say. */
async function withoutModel({ hparams, sources }: ResolvedFinetuning): Promise<ModelParts> {
  const beside = join(hparams.data_dir, "models", hparams.model_name, "vocab.txt");
  const ofModel = sources.vocab_file !== "hparams" && (await exists(beside));
  const placed = ofModel ? { ...hparams, vocab_file: beside } : hparams;
  const vocabText = await vocabOf(placed);
  const vocabulary = Vocabulary.parse(vocabText, { source: placed.vocab_file });
  const size = sources.vocab_size === "hparams" ? hparams.vocab_size : vocabulary.size;
  if (size < vocabulary.size) {
    throw new ElectraError(
      "ERR_ELECTRA_VOCAB_SIZE",
      `vocab_size ${size} is smaller than the vocabulary: ${placed.vocab_file} has ${vocabulary.size} tokens.`,
      { hint: `Leave vocab_size out, or set it to ${vocabulary.size}.`, exitCode: 2 },
    );
  }
  const encoder = discriminatorConfig({ ...hparams, vocab_size: size });
  checkTransformerConfig(encoder, "discriminator");
  return {
    hparams: Object.freeze({ ...placed, vocab_size: size }),
    encoder,
    tokenizer: new Tokenizer({ vocabulary, lowerCase: hparams.do_lower_case }),
    vocabText,
    warnings: [],
  };
}

async function vocabOf({ vocab_file: path }: Pick<FinetuningHparams, "vocab_file">): Promise<string> {
  return await readFile(path, "utf8").catch((error: unknown) => {
    throw new ElectraError(
      "ERR_ELECTRA_FILE",
      `cannot read the vocabulary ${path}: ${(error as Error).message}`,
      {
        hint: "Name the model's with the hparam vocab_file.",
        exitCode: 2,
        cause: error,
      },
    );
  });
}

function checkLength({ max_seq_length }: FinetuningHparams, encoder: TransformerConfig): void {
  if (max_seq_length <= encoder.max_position_embeddings) return;
  throw new ElectraError(
    "ERR_ELECTRA_HPARAM_CONFLICT",
    `max_seq_length ${max_seq_length} is longer than the model reads: it has ${encoder.max_position_embeddings} positions.`,
    { hint: `Set max_seq_length to at most ${encoder.max_position_embeddings}.`, exitCode: 2 },
  );
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
