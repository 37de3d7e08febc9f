import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type HfConfig, TWO_TOWER_MODEL_TYPE } from "../../checkpoint/hf-config.js";
import { type HalfName, hfLayout, type LayoutEntry } from "../../checkpoint/hf-layout.js";
import {
  FINETUNING_FILE,
  type ModelFolder,
  readModelConfig,
  resolveModelFolder,
} from "../../checkpoint/model-folder.js";
import type { ParameterStore } from "../../checkpoint/parameter-store.js";
import { SafetensorsReader } from "../../checkpoint/safetensors.js";
import { transpose } from "../../checkpoint/transpose.js";
import { ElectraError } from "../../errors.js";
import { readModelTokenizer } from "../../inference/model-tokenizer.js";
import type { Tokenizer } from "../../tokenization/tokenizer.js";
import { type FinetunedTask, parseFinetunedFile } from "../finetuned-file.js";

/** A model that fine-tuning begins with: its encoder, and of a fine-tuned one the heads of the same tasks. */
export interface InitialModel {
  /** As it was asked for. */
  readonly path: string;
  /** Where the weights are. */
  readonly folder: string;
  readonly config: HfConfig;
  readonly tokenizer: Tokenizer;
  readonly vocabText: string;
  /** Longest row that it was trained on, where that is known. */
  readonly trainedLength: number | undefined;
  /** Of a fine-tuned model. */
  readonly tasks: readonly FinetunedTask[];
}

/**
 * Opens a run, a checkpoint, or a Hugging Face folder; of a pre-trained model the discriminator serves, or where there is
 * none the generator.
 *
 * @throws ElectraError `ERR_ELECTRA_NO_MODEL`, `ERR_ELECTRA_MODEL_FORMAT`
 */
export async function openInitialModel(path: string): Promise<InitialModel> {
  const found = await resolveModelFolder(path).catch((error: unknown) => {
    if (!(error instanceof ElectraError) || error.code !== "ERR_ELECTRA_NO_MODEL") throw error;
    throw new ElectraError("ERR_ELECTRA_NO_MODEL", `No model to fine-tune: ${error.message}`, {
      hint: 'Pre-train one, name another with the hparam init_checkpoint, or start from random weights with "init_checkpoint": null.',
      cause: error,
      exitCode: 2,
    });
  });
  const folder = partOf(found);
  const config = await readModelConfig(folder);
  if (config.model_type === TWO_TOWER_MODEL_TYPE) {
    throw unfit(folder, "is a generator of two towers, which has no encoder to fine-tune");
  }
  // The weights mean what they were trained with; another epsilon would give slightly other numbers without a word.
  if (config.layer_norm_eps !== 1e-12) {
    throw unfit(folder, `has layer_norm_eps ${config.layer_norm_eps}; the engine computes with 1e-12`);
  }
  const trained = found.checkpoint?.training.hparams["max_seq_length"];
  return {
    path,
    folder,
    config,
    tokenizer: await readModelTokenizer(folder, config.vocab_size),
    vocabText: await readFile(join(folder, "vocab.txt"), "utf8"),
    trainedLength: typeof trained === "number" ? trained : undefined,
    tasks: folder === found.halves.finetuned ? await readTasks(folder) : [],
  };
}

const PREFERRED: readonly HalfName[] = ["finetuned", "discriminator", "generator"];

function partOf(found: ModelFolder): string {
  for (const part of PREFERRED) {
    const folder = found.halves[part];
    if (folder !== undefined) return folder;
  }
  throw unfit(found.path, found.kind === "tf" ? "is a TensorFlow checkpoint" : "holds no encoder");
}

function unfit(folder: string, what: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_MODEL_FORMAT", `${folder} ${what}.`, {
    hint: "Give a run or checkpoint of this package, or a Hugging Face folder with config.json, model.safetensors and vocab.txt.",
    exitCode: 2,
  });
}

async function readTasks(folder: string): Promise<readonly FinetunedTask[]> {
  const path = join(folder, FINETUNING_FILE);
  return parseFinetunedFile(await readFile(path, "utf8"), path).tasks;
}

/** What became of a variable of the new model, or of a tensor of the old one. */
export interface TensorOrigin {
  readonly name: string;
  readonly shape: readonly number[];
  /** `created`: random, of the trial's seed. `ignored`: nothing of the new model corresponds to it. */
  readonly origin: "loaded" | "created" | "ignored";
}

/**
 * Writes a model's encoder, and the heads of the tasks that both models know, into an engine; everything else keeps its
 * initial values.
 *
 * @param tasks of the engine's model. A head of the same name is loaded if it means the same: kind and labels
 * @returns every variable of the engine and every tensor of the file
 * @throws ElectraError `ERR_ELECTRA_CHECKPOINT_MISMATCH` for a tensor of the encoder that is missing or of another shape
 */
export async function loadEncoder(
  initial: InitialModel,
  parameters: ParameterStore,
  tasks: readonly FinetunedTask[],
): Promise<readonly TensorOrigin[]> {
  const heads = tasks.filter((task) => initial.tasks.some((known) => sameTask(known, task)));
  const entries = hfLayout(parameters.names()).finetuned?.entries ?? [];
  const reader = await SafetensorsReader.open(join(initial.folder, "model.safetensors"));
  try {
    const nameOf = (entry: LayoutEntry) => nameInFile(entry, reader);
    const wanted = entries.filter(
      ({ variable }) =>
        variable.startsWith("electra/") ||
        heads.some(({ name }) => variable.startsWith(`task_specific/${name}/`)),
    );
    const problems = wanted.flatMap((entry) => {
      const shape = reader.tensors.get(nameOf(entry))?.shape;
      if (shape === undefined) return [`${entry.hfName} is missing`];
      if (String(shape) === String(entry.shape)) return [];
      return [`${entry.hfName} is [${shape.join(", ")}], not [${entry.shape.join(", ")}]`];
    });
    if (problems.length > 0) throw misfit(initial.folder, problems);
    for (const entry of wanted) {
      const values = await reader.readFloat32(nameOf(entry));
      const [rows = 0, columns = 0] = entry.shape;
      await parameters.write(
        "value",
        entry.variable,
        entry.transposed ? transpose(values, rows, columns) : values,
      );
    }
    const loaded = new Set(wanted.map(({ variable }) => variable));
    const used = new Set(wanted.map(nameOf));
    return [
      ...parameters
        .names()
        .map(
          ({ name, shape }) => ({ name, shape, origin: loaded.has(name) ? "loaded" : "created" }) as const,
        ),
      ...[...reader.tensors]
        .filter(([name]) => !used.has(name))
        .map(([name, { shape }]) => ({ name, shape, origin: "ignored" }) as const),
    ];
  } finally {
    await reader.close();
  }
}

/** An encoder that was saved by itself has no prefix. */
function nameInFile({ hfName }: LayoutEntry, { tensors }: SafetensorsReader): string {
  const bare = hfName.replace(/^electra\./, "");
  return !tensors.has(hfName) && tensors.has(bare) ? bare : hfName;
}

/** Same name, same kind of head, same labels in the same order. */
export function sameTask(a: FinetunedTask, b: FinetunedTask): boolean {
  const meaning = ({ name, head }: FinetunedTask) =>
    JSON.stringify([name, head.kind, "labels" in head ? head.labels : null]);
  return meaning(a) === meaning(b);
}

function misfit(folder: string, problems: readonly string[]): ElectraError {
  const shown = problems.slice(0, 8).map((line) => `\n  ${line}`);
  const more = problems.length > 8 ? `\n  … and ${problems.length - 8} more` : "";
  return new ElectraError(
    "ERR_ELECTRA_CHECKPOINT_MISMATCH",
    `${folder} does not hold the encoder that its config.json describes:${shown.join("")}${more}`,
    { hint: "The folder's files do not belong together: save or copy the model again." },
  );
}
