import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type HfConfig, TWO_TOWER_MODEL_TYPE } from "../../checkpoint/hf-config.js";
import type { HalfName } from "../../checkpoint/hf-layout.js";
import { loadVariables, type VariableOrigin } from "../../checkpoint/load-variables.js";
import { FINETUNING_FILE } from "../../checkpoint/model-folder.js";
import { type ModelWeights, readModelWeights } from "../../checkpoint/model-weights.js";
import type { ParameterStore } from "../../checkpoint/parameter-store.js";
import { ElectraError } from "../../errors.js";
import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";
import { readModelTokenizer } from "../../inference/model-tokenizer.js";
import { Tokenizer } from "../../tokenization/tokenizer.js";
import { Vocabulary } from "../../tokenization/vocabulary.js";
import { type FinetunedTask, parseFinetunedFile } from "../finetuned-file.js";

/** A model that fine-tuning begins with: its encoder, and of a fine-tuned one the heads of the same tasks. */
export interface InitialModel {
  /** As it was asked for. */
  readonly path: string;
  /** Where to read it again: of a run the checkpoint that was its newest. */
  readonly source: string;
  readonly part: HalfName;
  /** Where its vocabulary is, or would be. */
  readonly folder: string;
  /** That hold weights. */
  readonly files: readonly string[];
  readonly config: HfConfig;
  readonly tokenizer: Tokenizer;
  readonly vocabText: string;
  /** Longest row that it was trained on, where that is known. */
  readonly trainedLength: number | undefined;
  /** Of a fine-tuned model; undefined where it does not say what its heads mean, or has none. */
  readonly tasks: readonly FinetunedTask[] | undefined;
}

const PREFERRED: readonly HalfName[] = ["finetuned", "discriminator", "generator"];

/**
 * Opens a run, a checkpoint, a Hugging Face folder or a TensorFlow checkpoint; of a pre-trained model the discriminator
 * serves, or where there is none the generator.
 *
 * @param hparams where the vocabulary is and what its casing is, if that does not stand beside the weights
 * @throws ElectraError `ERR_ELECTRA_NO_MODEL`, `ERR_ELECTRA_MODEL_FORMAT`
 */
export async function openInitialModel(
  path: string,
  hparams: Pick<FinetuningHparams, "vocab_file" | "do_lower_case">,
): Promise<InitialModel> {
  const weights = await readModelWeights(path).catch((error: unknown) => {
    if (!(error instanceof ElectraError) || error.code !== "ERR_ELECTRA_NO_MODEL") throw error;
    throw new ElectraError("ERR_ELECTRA_NO_MODEL", `No model to fine-tune: ${error.message}`, {
      hint: 'Pre-train one, name another with the hparam init_checkpoint, or start from random weights with "init_checkpoint": null.',
      cause: error,
      exitCode: 2,
    });
  });
  try {
    const part = PREFERRED.find((name) => weights.configs[name] !== undefined);
    if (part === undefined) throw unfit(path, "holds no encoder");
    const config = weights.configs[part]!;
    checkConfig(config, path);
    const folder = weights.folderOf(part);
    const { checkpoint } = weights.model;
    const trained = checkpoint?.training.hparams["max_seq_length"];
    return {
      path,
      source: checkpoint?.path ?? path,
      part,
      folder,
      files: [...new Set([...weights.tensors.values()].map(({ file }) => file))].sort(),
      config,
      ...(await readTokenizer(folder, config, hparams)),
      trainedLength: typeof trained === "number" ? trained : undefined,
      tasks: part === "finetuned" ? await readTasks(folder) : undefined,
    };
  } finally {
    await weights.close();
  }
}

function checkConfig(config: HfConfig, path: string): void {
  if (config.model_type === TWO_TOWER_MODEL_TYPE) {
    throw unfit(path, "is a generator of two towers, which has no encoder to fine-tune");
  }
  // The weights mean what they were trained with; another epsilon would give slightly other numbers without a word.
  if (config.layer_norm_eps !== 1e-12) {
    throw unfit(path, `has layer_norm_eps ${config.layer_norm_eps}; the engine computes with 1e-12`);
  }
}

function unfit(path: string, what: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_MODEL_FORMAT", `${path} ${what}.`, {
    hint: "Give a run or checkpoint of this package, a Hugging Face folder, or a TensorFlow checkpoint.",
    exitCode: 2,
  });
}

/** Beside the weights, or, as with the reference's checkpoints, where the hparams say. */
async function readTokenizer(
  folder: string,
  { vocab_size }: HfConfig,
  { vocab_file, do_lower_case }: Pick<FinetuningHparams, "vocab_file" | "do_lower_case">,
): Promise<{ readonly tokenizer: Tokenizer; readonly vocabText: string }> {
  const beside = join(folder, "vocab.txt");
  if (await exists(beside)) {
    return {
      tokenizer: await readModelTokenizer(folder, vocab_size),
      vocabText: await readFile(beside, "utf8"),
    };
  }
  const vocabText = await readFile(vocab_file, "utf8").catch((cause: unknown) => {
    throw new ElectraError(
      "ERR_ELECTRA_MODEL_FORMAT",
      `The model's vocabulary is missing: there is neither ${beside} nor ${vocab_file}.`,
      { hint: "Put it beside the weights, or name it with the hparam vocab_file.", cause, exitCode: 2 },
    );
  });
  const vocabulary = Vocabulary.parse(vocabText, { source: vocab_file });
  if (vocabulary.size > vocab_size) {
    throw unfit(vocab_file, `has ${vocabulary.size} tokens, but the model knows ${vocab_size}`);
  }
  return { tokenizer: new Tokenizer({ vocabulary, lowerCase: do_lower_case }), vocabText };
}

async function readTasks(folder: string): Promise<readonly FinetunedTask[] | undefined> {
  const path = join(folder, FINETUNING_FILE);
  return (await exists(path)) ? parseFinetunedFile(await readFile(path, "utf8"), path).tasks : undefined;
}

/**
 * Writes a model's encoder, and the heads of the tasks that both models know, into an engine; everything else keeps its
 * initial values.
 *
 * @param tasks of the engine's model. A head of the same name is loaded if it means the same, kind and labels; where the
 *   files do not tell (the reference's checkpoints), if it has the same shape
 * @returns every variable of the engine and every tensor of the files
 * @throws ElectraError `ERR_ELECTRA_CHECKPOINT_MISMATCH` for a variable of the encoder that is missing or of another shape
 */
export async function loadEncoder(
  initial: InitialModel,
  parameters: ParameterStore,
  tasks: readonly FinetunedTask[],
): Promise<readonly VariableOrigin[]> {
  const weights = await readModelWeights(initial.source);
  try {
    const known = tasks.filter((task) => knowsTask(initial, weights, task, parameters));
    const isWanted = (variable: string): boolean =>
      !variable.startsWith("task_specific/") || known.some(({ name }) => variable.startsWith(scopeOf(name)));
    const all = parameters.names();
    const origins = await loadVariables({
      weights,
      parameters: {
        names: () => all.filter(({ name }) => isWanted(name)),
        read: (kind, name) => parameters.read(kind, name),
        write: (kind, name, data) => parameters.write(kind, name, data),
      },
      part: initial.part,
    });
    const created = all
      .filter(({ name }) => !isWanted(name))
      .map(({ name, shape }): VariableOrigin => ({ name, shape, origin: "created", note: "a new head" }));
    return [
      ...origins.filter(({ origin }) => origin === "loaded"),
      ...created,
      ...origins.filter(({ origin }) => origin !== "loaded"),
    ];
  } finally {
    await weights.close();
  }
}

function knowsTask(
  initial: InitialModel,
  weights: ModelWeights,
  task: FinetunedTask,
  parameters: ParameterStore,
): boolean {
  if (initial.tasks !== undefined) return initial.tasks.some((known) => sameTask(known, task));
  return parameters
    .names()
    .filter(({ name }) => name.startsWith(scopeOf(task.name)))
    .every(({ name, shape }) => String(weights.tensors.get(name)?.shape) === String(shape));
}

function scopeOf(task: string): string {
  return `task_specific/${task}/`;
}

/** Same name, same kind of head, same labels in the same order. */
export function sameTask(a: FinetunedTask, b: FinetunedTask): boolean {
  const meaning = ({ name, head }: FinetunedTask) =>
    JSON.stringify([name, head.kind, "labels" in head ? head.labels : null]);
  return meaning(a) === meaning(b);
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
