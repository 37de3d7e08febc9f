import type { z } from "zod";
import { ElectraError } from "../errors.js";
import { checkGivenHparams, type HparamFamily } from "./check-given-hparams.js";
import { type FinetuningPlaces, finetuningPlaces } from "./finetuning-places.js";
import {
  type FinetuningPreset,
  finetuningDebugValues,
  finetuningPresetValues,
  modelSizeValues,
  singleTaskValues,
} from "./finetuning-presets.js";
import {
  type FinetuningHparamName,
  type FinetuningSchema,
  finetuningHparamNames,
  finetuningSchema,
} from "./finetuning-schema.js";

type Parsed = z.output<FinetuningSchema>;

/** All settings of a run, under the reference's names, with nothing left open. */
export type FinetuningHparams = Readonly<Omit<Parsed, keyof FinetuningPlaces>> &
  FinetuningPlaces & { readonly data_dir: string; readonly model_name: string };

/** Where a value came from: the schema, the preset, the person, the one task, the size, `debug`, or other values. */
export type FinetuningHparamSource = "default" | "preset" | "hparams" | "task" | "size" | "debug" | "derived";

export interface ResolveFinetuningOptions {
  readonly dataDir: string;
  readonly modelName: string;
  /** What the person gave; wins over everything. */
  readonly hparams?: Readonly<Record<string, unknown>>;
  /** Default `google`. */
  readonly preset?: FinetuningPreset;
  /** Where `hparams` stood, for messages. Default `--hparams`. */
  readonly place?: string;
}

export interface ResolvedFinetuning {
  readonly hparams: FinetuningHparams;
  readonly preset: FinetuningPreset;
  readonly sources: Readonly<Record<FinetuningHparamName, FinetuningHparamSource>>;
}

const family: HparamFamily<FinetuningSchema> = {
  schema: finetuningSchema,
  command: "finetune",
  notHparams: {
    model_name: "Give it on the command line: --model-name <name>.",
    data_dir: "Give it on the command line: --data-dir <folder>.",
    preset: "Give it on the command line: --preset google|fixed.",
    num_train_steps: "It follows from the number of examples and num_train_epochs.",
  },
};

/**
 * Resolves the settings of a fine-tuning run in the reference's order: defaults (changed by the preset), the person's,
 * those of a single task, those of the model's size, those of `debug`, and the person's once more, so that they win.
 *
 * @returns frozen plain data
 * @throws ElectraError, exit code 2: unknown names, wrong types, combinations that cannot run
 *
 * @example
 * const { hparams } = resolveFinetuningHparams({
 *   dataDir: "data", modelName: "electra_small", hparams: { task_names: ["mrpc"] },
 * });
 */
export function resolveFinetuningHparams(options: ResolveFinetuningOptions): ResolvedFinetuning {
  const { dataDir, modelName, preset = "google" } = options;
  const given = checkGivenHparams(options.hparams ?? {}, options.place ?? "--hparams", family);
  const values: Partial<Record<FinetuningHparamName, unknown>> = {};
  const sources: Partial<Record<FinetuningHparamName, FinetuningHparamSource>> = {};
  const apply = (layer: Readonly<Record<string, unknown>>, source: FinetuningHparamSource) => {
    for (const [name, value] of Object.entries(layer)) {
      if (value === undefined) continue;
      values[name as FinetuningHparamName] = value;
      sources[name as FinetuningHparamName] = source;
    }
  };
  const now = () => values as Parsed;

  apply(finetuningSchema().parse({}), "default");
  apply(finetuningPresetValues(preset), "preset");
  apply(given, "hparams");
  const tasks = now().task_names;
  if (tasks.length === 1) apply(singleTaskValues(tasks[0]!, now().naturalqs_as_qa), "task");
  apply(modelSizeValues(now().model_size, now().paper_learning_rate), "size");
  if (now().debug) apply(finetuningDebugValues, "debug");
  apply(given, "hparams");
  for (const [name, path] of Object.entries(finetuningPlaces(dataDir, modelName, tasks))) {
    if (values[name as FinetuningHparamName] === undefined) apply({ [name]: path }, "derived");
  }
  checkTasks(tasks);

  const hparams = {
    ...Object.fromEntries(finetuningHparamNames().map((name) => [name, values[name]])),
    data_dir: dataDir,
    model_name: modelName,
  } as unknown as FinetuningHparams;
  Object.freeze(hparams.task_names);
  Object.freeze(hparams.model_hparam_overrides);
  return Object.freeze({
    hparams: Object.freeze(hparams),
    preset,
    sources: Object.freeze(sources) as ResolvedFinetuning["sources"],
  });
}

function checkTasks(tasks: readonly string[]): void {
  const twice = tasks.find((name, i) => tasks.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new ElectraError("ERR_ELECTRA_HPARAM_CONFLICT", `task_names holds "${twice}" twice.`, {
    hint: "Name every task once: batches mix the tasks in proportion to their data.",
    exitCode: 2,
  });
}

/** `examples` and the padding examples that fill up the last batch. */
export function paddedExampleCount(examples: number, batchSize: number): number {
  return Math.ceil(examples / batchSize) * batchSize;
}

/**
 * Steps of a fine-tuning run: whole batches of the padded training set, times the epochs, rounded down.
 *
 * @param examples records of the training set without padding examples
 */
export function finetuningSteps(
  examples: number,
  { train_batch_size, num_train_epochs }: Pick<FinetuningHparams, "train_batch_size" | "num_train_epochs">,
): number {
  const batches = paddedExampleCount(examples, train_batch_size) / train_batch_size;
  return Math.floor(batches * num_train_epochs);
}
