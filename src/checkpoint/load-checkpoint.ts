import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ElectraError } from "../errors.js";
import type { TransformerConfig } from "../hparams/transformer-config.js";
import { refuseDifferences } from "./checkpoint-differences.js";
import { MOMENTS_FILE, readCompleteCheckpoint } from "./checkpoint-folders.js";
import { FolderTensors } from "./folder-tensors.js";
import { parseHfConfig } from "./hf-config.js";
import {
  type HalfName,
  hfLayout,
  type LayoutEntry,
  sharedVariables,
  TIED_OUTPUT_WEIGHT,
} from "./hf-layout.js";
import type { ParameterInfo, ParameterStore } from "./parameter-store.js";
import { SafetensorsReader } from "./safetensors.js";
import type { StoredTensor, TensorFile } from "./tensor-file.js";
import type { TrainingFile } from "./training-state.js";
import { transpose } from "./transpose.js";

export interface LoadWeightsOptions {
  /** Hugging Face folders of the halves; those that the model does not need are not looked at. */
  readonly folders: Partial<Readonly<Record<HalfName, string>>>;
  readonly parameters: ParameterStore;
  /** Where given, what the tensors do not show (heads, activation) is compared with `config.json`. */
  readonly configs?: Partial<Readonly<Record<HalfName, TransformerConfig>>>;
}

export interface LoadCheckpointOptions {
  /** A complete checkpoint's folder, e.g. `findLatestCheckpoint(runDir)?.path`. */
  readonly path: string;
  readonly parameters: ParameterStore;
  readonly configs?: Partial<Readonly<Record<HalfName, TransformerConfig>>>;
}

/**
 * Loads weights and Adam's moments into an engine and returns the rest of the state. Nothing is written into
 * the engine before every tensor's name and shape and the equality of the shared ones have been checked.
 *
 * @throws ElectraError ERR_ELECTRA_CHECKPOINT_MISMATCH with a table of what differs (another model's
 *   checkpoint), ERR_ELECTRA_SHARED_TENSOR, ERR_ELECTRA_CHECKPOINT_INCOMPLETE, ERR_ELECTRA_CONFIG_MISMATCH
 */
export async function loadCheckpoint(options: LoadCheckpointOptions): Promise<TrainingFile> {
  const { path, parameters, configs } = options;
  const training = await readCompleteCheckpoint(path).catch((error: unknown) => {
    if (error instanceof ElectraError) throw error;
    throw new ElectraError("ERR_ELECTRA_CHECKPOINT_INCOMPLETE", `${path}: ${(error as Error).message}`, {
      hint: "Continue from an older checkpoint: remove or rename this folder.",
      cause: error,
    });
  });
  if (!(MOMENTS_FILE in training.files)) {
    throw new ElectraError(
      "ERR_ELECTRA_CHECKPOINT_INCOMPLETE",
      `${path} is a finished model, saved without the state of its training`,
      { hint: "It can be used, or be where another training starts; it cannot be continued." },
    );
  }
  const moments = await SafetensorsReader.open(join(path, MOMENTS_FILE));
  try {
    const variables = parameters.names();
    const expected = variables.flatMap(({ name, shape }) =>
      (["adam_m", "adam_v"] as const).map((kind) => ({ name: `${name}/${kind}`, shape })),
    );
    refuseDifferences(
      path,
      compareTensors(expected, moments.tensors, () => false),
    );
    const folders = {
      generator: join(path, "generator"),
      discriminator: join(path, "discriminator"),
      finetuned: join(path, "finetuned"),
    };
    await loadWeights({ folders, parameters, ...(configs === undefined ? {} : { configs }) });
    for (const { name } of variables) {
      for (const kind of ["adam_m", "adam_v"] as const) {
        await parameters.write(kind, name, await moments.readFloat32(`${name}/${kind}`));
      }
    }
  } finally {
    await moments.close();
  }
  return training;
}

/** The weights alone: from a checkpoint's halves or from any Hugging Face Electra folder. */
export async function loadWeights(options: LoadWeightsOptions): Promise<void> {
  const { folders, parameters, configs = {} } = options;
  const layout = hfLayout(parameters.names());
  const readers = new Map<HalfName, FolderTensors>();
  try {
    const differences: string[][] = [];
    for (const name of Object.keys(layout) as HalfName[]) {
      const folder = folders[name];
      if (folder === undefined) {
        throw new ElectraError(
          "ERR_ELECTRA_CHECKPOINT_MISMATCH",
          `the model has a ${name}, but no folder with one was given`,
        );
      }
      const config = configs[name];
      if (config !== undefined) await compareConfig(folder, config);
      const reader = await FolderTensors.open(folder);
      readers.set(name, reader);
      const expected = layout[name]!.entries.map(({ hfName, shape }) => ({ name: hfName, shape }));
      const ignorable = (tensor: string): boolean =>
        tensor.endsWith(".position_ids") || (name === "generator" && tensor === TIED_OUTPUT_WEIGHT);
      differences.push(...compareTensors(expected, reader.tensors, ignorable, `${name}: `));
    }
    refuseDifferences(commonFolder(folders), differences);
    await compareShared(
      layout.generator?.entries ?? [],
      layout.discriminator?.entries ?? [],
      readers,
      sharedVariables(layout),
    );

    const loaded = new Set<string>();
    for (const [name, reader] of readers) {
      for (const entry of layout[name]!.entries) {
        if (loaded.has(entry.variable)) continue;
        loaded.add(entry.variable);
        const values = await reader.readFloat32(entry.hfName);
        const [rows = 0, columns = 0] = entry.shape;
        await parameters.write(
          "value",
          entry.variable,
          entry.transposed ? transpose(values, rows, columns) : values,
        );
      }
    }
  } finally {
    for (const reader of readers.values()) await reader.close();
  }
}

/** Rows [tensor, in the file, in the model] for everything that does not fit. */
function compareTensors(
  expected: readonly ParameterInfo[],
  found: ReadonlyMap<string, StoredTensor>,
  ignorable: (name: string) => boolean,
  prefix = "",
): string[][] {
  const rows: string[][] = [];
  const known = new Set<string>();
  for (const { name, shape } of expected) {
    known.add(name);
    const tensor = found.get(name);
    if (tensor === undefined) rows.push([prefix + name, "missing", shapeText(shape)]);
    else if (shapeText(tensor.shape) !== shapeText(shape)) {
      rows.push([prefix + name, shapeText(tensor.shape), shapeText(shape)]);
    }
  }
  for (const [name, { shape }] of found) {
    if (!known.has(name) && !ignorable(name)) rows.push([prefix + name, shapeText(shape), "unknown"]);
  }
  return rows;
}

async function compareShared(
  generator: readonly LayoutEntry[],
  discriminator: readonly LayoutEntry[],
  readers: ReadonlyMap<HalfName, FolderTensors>,
  shared: ReadonlySet<string>,
): Promise<void> {
  const nameInGenerator = new Map(generator.map(({ variable, hfName }) => [variable, hfName]));
  for (const { variable, hfName } of discriminator) {
    if (!shared.has(variable)) continue;
    const left = readers.get("discriminator")!;
    const right = readers.get("generator")!;
    if (!(await sameBytes(left, hfName, right, nameInGenerator.get(variable)!))) {
      throw new ElectraError(
        "ERR_ELECTRA_SHARED_TENSOR",
        `${variable} is shared by both halves, but "${hfName}" differs between ${left.path} and ${right.path}`,
        { hint: "One of the files was changed after saving: take both halves from the same checkpoint." },
      );
    }
  }
}

async function sameBytes(
  left: TensorFile,
  leftName: string,
  right: TensorFile,
  rightName: string,
): Promise<boolean> {
  const a = left.tensors.get(leftName)!;
  const b = right.tensors.get(rightName)!;
  if (a.dtype !== b.dtype) return false;
  const others = right.chunks(rightName)[Symbol.asyncIterator]();
  for await (const piece of left.chunks(leftName)) {
    const other = await others.next();
    if (other.done || Buffer.compare(piece, other.value) !== 0) return false;
  }
  return true;
}

/** Fields that change the arithmetic without changing any tensor's shape. */
const COMPARED_FIELDS = ["num_attention_heads", "hidden_act"] as const;

async function compareConfig(folder: string, config: TransformerConfig): Promise<void> {
  const path = join(folder, "config.json");
  const saved = parseHfConfig(await readFile(path, "utf8"), path);
  for (const field of COMPARED_FIELDS) {
    if (saved[field] !== config[field]) {
      throw new ElectraError(
        "ERR_ELECTRA_CONFIG_MISMATCH",
        `${path}: ${field} is ${JSON.stringify(saved[field])}, this model has ${JSON.stringify(config[field])}`,
        { hint: `Give ${field} as the checkpoint was trained with, e.g. through model_hparam_overrides.` },
      );
    }
  }
}

function commonFolder(folders: Partial<Readonly<Record<HalfName, string>>>): string {
  return Object.values(folders).join(" and ");
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
