import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ElectraError } from "../errors.js";
import {
  type CheckpointInfo,
  listCheckpoints,
  readCompleteCheckpoint,
  TRAINING_FILE,
} from "./checkpoint-folders.js";
import { type HfConfig, parseHfConfig, TWO_TOWER_MODEL_TYPE } from "./hf-config.js";
import type { HalfName, PretrainingHalf } from "./hf-layout.js";
import { findTensorBundle } from "./tensorflow/find-bundle.js";

/** What tells a fine-tuned model's folder: its tasks with their heads, and how it was made. */
export const FINETUNING_FILE = "finetuning.json";

/** A model found on the disk. */
export interface ModelFolder {
  /**
   * `run`: a training run, its newest complete checkpoint is the model; `checkpoint`: one of those, or a folder
   * with halves; `hf`: one Hugging Face folder; `tf`: a TensorFlow checkpoint.
   */
  readonly kind: "run" | "checkpoint" | "hf" | "tf";
  /** The folder that was asked for. */
  readonly path: string;
  /** Where each half lies. Empty for `tf`. */
  readonly halves: Partial<Readonly<Record<HalfName, string>>>;
  /** Of `tf`: path of its index file without `.index`. */
  readonly bundle?: string;
  /** With training state: a run's newest or the checkpoint itself. */
  readonly checkpoint?: CheckpointInfo;
}

/**
 * Finds out what a model argument means: a run's folder, a checkpoint, a Hugging Face or a TensorFlow folder, or the prefix
 * of a TensorFlow checkpoint.
 *
 * @throws ElectraError ERR_ELECTRA_NO_MODEL saying what was found instead
 */
export async function resolveModelFolder(path: string): Promise<ModelFolder> {
  const isFolder = await stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
  if (!isFolder) {
    const bundle = await findTensorBundle(path);
    if (bundle !== undefined) return { kind: "tf", path, halves: {}, bundle };
  }
  const names = await readdir(path).catch((error: unknown) => {
    throw new ElectraError(
      "ERR_ELECTRA_NO_MODEL",
      `${path} is not a folder that can be read: ${(error as Error).message}`,
      {
        hint: "Give the folder of a run, of a checkpoint or of a Hugging Face model.",
        cause: error,
        exitCode: 2,
      },
    );
  });
  const { complete, broken } = await listCheckpoints(path);
  const newest = complete[0];
  if (newest !== undefined) {
    return { kind: "run", path, checkpoint: newest, halves: await findHalves(newest.path) };
  }
  const halves = await findHalves(path);
  if (Object.keys(halves).length > 0) {
    if (!names.includes(TRAINING_FILE)) return { kind: "checkpoint", path, halves };
    const training = await readCompleteCheckpoint(path);
    return { kind: "checkpoint", path, halves, checkpoint: { path, step: training.step, training } };
  }
  const bundle = await findTensorBundle(path);
  // Hugging Face's weights win; a config.json beside a TensorFlow checkpoint alone says what its shapes do not.
  if (names.includes("config.json") && (bundle === undefined || names.some(isWeights))) {
    const config = await readModelConfig(path);
    const half = names.includes(FINETUNING_FILE) ? "finetuned" : halfOf(config);
    return { kind: "hf", path, halves: { [half]: path } };
  }
  if (bundle !== undefined) return { kind: "tf", path, halves: {}, bundle };

  const found =
    broken.length > 0
      ? `its checkpoints are not complete (${broken[0]!.reason})`
      : `it holds ${names.length === 0 ? "nothing" : names.slice(0, 5).join(", ")}`;
  throw new ElectraError("ERR_ELECTRA_NO_MODEL", `no model in ${path}: ${found}`, {
    hint: "A model is a run with a checkpoint-<step>, such a checkpoint, a folder with config.json and model.safetensors, or a TensorFlow checkpoint.",
    exitCode: 2,
  });
}

function isWeights(name: string): boolean {
  return /^(?:model\.safetensors|pytorch_model\.bin)(?:\.index\.json)?$/.test(name);
}

/** The folder of `--model-name`: `<data-dir>/models/<name>`, else `<data-dir>/<name>`. */
export async function findModelByName(dataDir: string, modelName: string): Promise<string> {
  const tried = [join(dataDir, "models", modelName), join(dataDir, modelName)];
  for (const path of tried) {
    if (
      await stat(path).then(
        (info) => info.isDirectory(),
        () => false,
      )
    )
      return path;
  }
  const known = await readdir(join(dataDir, "models")).catch(() => []);
  throw new ElectraError(
    "ERR_ELECTRA_NO_MODEL",
    `no model "${modelName}": neither ${tried.join(" nor ")} is a folder`,
    {
      hint:
        known.length === 0
          ? "Train one with `electra-native pretrain`, or check --data-dir."
          : `There are: ${known.slice(0, 8).join(", ")}.`,
      exitCode: 2,
    },
  );
}

/** `config.json` of a Hugging Face folder. */
export async function readModelConfig(folder: string): Promise<HfConfig> {
  const path = join(folder, "config.json");
  return parseHfConfig(await readFile(path, "utf8"), path);
}

async function findHalves(folder: string): Promise<Partial<Record<HalfName, string>>> {
  const halves: Partial<Record<HalfName, string>> = {};
  for (const name of ["generator", "discriminator", "finetuned"] as const) {
    const path = join(folder, name);
    if (
      await stat(join(path, "config.json")).then(
        () => true,
        () => false,
      )
    )
      halves[name] = path;
  }
  return halves;
}

/** A folder without a class (an encoder alone) serves as a discriminator does. */
function halfOf(config: HfConfig): PretrainingHalf {
  return config.model_type === TWO_TOWER_MODEL_TYPE || config.architectures.includes("ElectraForMaskedLM")
    ? "generator"
    : "discriminator";
}
