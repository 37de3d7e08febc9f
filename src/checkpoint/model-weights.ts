import { dirname, join } from "node:path";
import { ElectraError } from "../errors.js";
import { MOMENTS_FILE } from "./checkpoint-folders.js";
import { configBeside } from "./config-beside.js";
import { deriveConfig } from "./derived-config.js";
import { FolderTensors } from "./folder-tensors.js";
import { type HfConfig, TWO_TOWER_MODEL_TYPE } from "./hf-config.js";
import { type HalfName, TIED_OUTPUT_WEIGHT } from "./hf-layout.js";
import { type ModelFolder, readModelConfig, resolveModelFolder } from "./model-folder.js";
import type { ParameterStore } from "./parameter-store.js";
import { SafetensorsReader } from "./safetensors.js";
import type { TensorFile } from "./tensor-file.js";
import { TensorBundleReader } from "./tensorflow/tensor-bundle.js";
import { transpose } from "./transpose.js";
import { type EncoderScopes, isModelVariable, variableOfTensor } from "./variable-names.js";
import {
  type IgnoredTensor,
  type ModelTensor,
  type Place,
  sameValues,
  WeightCollection,
} from "./weight-collection.js";

/**
 * All weights of a model under the names of the reference's TensorFlow graph, whatever the format of its files. A generator
 * is `generator/…` (with the shared `electra/embeddings`), also where Hugging Face calls it `electra`.
 */
export class ModelWeights {
  /** What the path turned out to be. */
  readonly model: ModelFolder;
  /** Configuration of each part that is there; of a TensorFlow checkpoint derived from the shapes. */
  readonly configs: Partial<Readonly<Record<HalfName, HfConfig>>>;
  readonly tensors: ReadonlyMap<string, ModelTensor>;
  readonly ignored: readonly IgnoredTensor[];
  /** Updates that the weights have seen, where the files tell. */
  readonly step: number | undefined;
  /** Adam's moments of every variable, as `<variable>/adam_m` and `/adam_v`, where the files have them. */
  readonly moments: TensorFile | undefined;
  readonly #places: ReadonlyMap<string, Place>;
  readonly #files: readonly TensorFile[];

  /** @internal */
  constructor(
    parts: Pick<ModelWeights, "model" | "configs" | "tensors" | "ignored" | "step" | "moments">,
    places: ReadonlyMap<string, Place>,
    files: readonly TensorFile[],
  ) {
    this.model = parts.model;
    this.configs = parts.configs;
    this.tensors = parts.tensors;
    this.ignored = parts.ignored;
    this.step = parts.step;
    this.moments = parts.moments;
    this.#places = places;
    this.#files = files;
  }

  /** Folder of a part: where its vocabulary lies. */
  folderOf(part: HalfName): string {
    return (
      this.model.halves[part] ??
      (this.model.bundle === undefined ? this.model.path : dirname(this.model.bundle))
    );
  }

  /** Values, row-major, in the reference's orientation. */
  async readFloat32(variable: string): Promise<Float32Array<ArrayBuffer>> {
    const { file, stored, transposed } = this.#place(variable);
    const values = await file.readFloat32(stored);
    const [inputs = 0, outputs = 0] = this.tensors.get(variable)!.shape;
    return transposed ? transpose(values, outputs, inputs) : values;
  }

  /**
   * Where a variable of a model of one part alone, in which the encoder is always `electra/…`, lies among these.
   *
   * @example weights.nameIn("generator", "electra/encoder/layer_0/output/dense/kernel") // "generator/encoder/layer_0/…"
   */
  nameIn(part: HalfName, variable: string): string {
    if (part !== "generator") return variable;
    const own = `generator${variable.slice("electra".length)}`;
    return variable.startsWith("electra/") && this.tensors.has(own) ? own : variable;
  }

  /** The weights as something that can be saved again, of these variables. */
  asParameterStore(variables: readonly string[]): ParameterStore {
    return {
      names: () => variables.map((name) => ({ name, shape: this.tensors.get(name)!.shape })),
      read: async (kind, name) => {
        if (kind === "value") return await this.readFloat32(name);
        if (this.moments !== undefined) return await this.moments.readFloat32(`${name}/${kind}`);
        throw new ElectraError(
          "ERR_ELECTRA_TENSOR_MISSING",
          `${this.model.path} holds no moments of the optimizer`,
        );
      },
      write: async (_kind, name) => {
        throw new ElectraError(
          "ERR_ELECTRA_FILE",
          `${this.model.path}: "${name}" cannot be written into its files`,
        );
      },
    };
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
  }

  #place(variable: string): Place {
    const place = this.#places.get(variable);
    if (place === undefined) {
      throw new ElectraError(
        "ERR_ELECTRA_TENSOR_MISSING",
        `${this.model.path} has no variable "${variable}"`,
      );
    }
    return place;
  }
}

/**
 * Opens the weights of a run, a checkpoint, a Hugging Face folder (safetensors or PyTorch, in one file or several) or a
 * TensorFlow checkpoint (folder or prefix). Nothing but headers is read until values are asked for. Close it when done.
 *
 * @throws ElectraError `ERR_ELECTRA_NO_MODEL`, and those of the files' formats
 */
export async function readModelWeights(path: string): Promise<ModelWeights> {
  const model = await resolveModelFolder(path);
  const files: TensorFile[] = [];
  try {
    return model.bundle === undefined
      ? await openParts(model, files)
      : await openBundle(model, model.bundle, files);
  } catch (error) {
    for (const file of files) await file.close();
    throw error;
  }
}

async function openParts(model: ModelFolder, files: TensorFile[]): Promise<ModelWeights> {
  const configs: Partial<Record<HalfName, HfConfig>> = {};
  const found = new WeightCollection();
  // The discriminator first: what the generator shares with it is compared.
  for (const part of ["discriminator", "finetuned", "generator"] as const) {
    const folder = model.halves[part];
    if (folder === undefined) continue;
    const config = await readModelConfig(folder);
    configs[part] = config;
    const file = await FolderTensors.open(folder);
    files.push(file);
    await addPart(
      found,
      file,
      part === "generator" ? await generatorScopes(model, config, found, file) : ELECTRA,
    );
  }
  const { tensors, ignored } = found;
  const moments = await openMoments(model, files);
  const step = model.checkpoint?.step;
  return new ModelWeights({ model, configs, tensors, ignored, step, moments }, found.places, files);
}

async function openMoments(model: ModelFolder, files: TensorFile[]): Promise<TensorFile | undefined> {
  const { checkpoint } = model;
  if (checkpoint === undefined || !(MOMENTS_FILE in checkpoint.training.files)) return undefined;
  const file = await SafetensorsReader.open(join(checkpoint.path, MOMENTS_FILE));
  files.push(file);
  return file;
}

const ELECTRA: EncoderScopes = { encoder: "electra", embeddings: "electra" };

/** What `electra.` stands for in a generator's file. */
async function generatorScopes(
  model: ModelFolder,
  config: HfConfig,
  found: WeightCollection,
  file: TensorFile,
): Promise<EncoderScopes> {
  // Two towers keep their own names; only the embeddings that they share with the discriminator are `electra`.
  if (config.model_type === TWO_TOWER_MODEL_TYPE) return ELECTRA;
  const hparams = model.checkpoint?.training.hparams;
  if (hparams?.["electra_objective"] === false || hparams?.["untied_generator"] === false) return ELECTRA;
  const table = found.places.get("electra/embeddings/word_embeddings");
  if (table === undefined) return { encoder: "generator", embeddings: "electra" };
  const query = "electra.encoder.layer.0.attention.self.query.weight";
  const own = found.places.get("electra/encoder/layer_0/attention/self/query/kernel");
  // Two trained encoders do not have a matrix in common: this is one encoder, saved with both.
  if (own !== undefined && (await sameValues(own, { file, stored: query, transposed: true }))) return ELECTRA;
  const shared = await sameValues(table, {
    file,
    stored: "electra.embeddings.word_embeddings.weight",
    transposed: false,
  });
  return { encoder: "generator", embeddings: shared ? "electra" : "generator" };
}

async function addPart(found: WeightCollection, file: TensorFile, scopes: EncoderScopes): Promise<void> {
  for (const [stored, { shape }] of file.tensors) {
    if (stored.endsWith(".position_ids")) found.ignore(file, stored, "a buffer: the positions 0, 1, 2, …");
    else if (stored === TIED_OUTPUT_WEIGHT)
      found.ignore(file, stored, "the word embeddings once more: the output is tied");
    else {
      const { variable, transposed } = variableOfTensor(stored, shape.length, scopes);
      const known = found.places.get(variable);
      if (known === undefined) found.add(file, stored, variable, transposed);
      else if (!(await sameValues(known, { file, stored, transposed }))) {
        throw new ElectraError(
          "ERR_ELECTRA_SHARED_TENSOR",
          `${variable} is shared by both halves, but "${stored}" differs between ${known.file.path} and ${file.path}`,
          { hint: "One of the files was changed after saving: take both halves from the same checkpoint." },
        );
      }
    }
  }
}

async function openBundle(model: ModelFolder, prefix: string, files: TensorFile[]): Promise<ModelWeights> {
  const bundle = await TensorBundleReader.open(prefix);
  files.push(bundle);
  await bundle.checkFiles();
  const found = new WeightCollection();
  for (const stored of bundle.tensors.keys()) {
    if (isModelVariable(stored)) found.add(bundle, stored, stored, false);
    else if (/\/adam_[mv]$/.test(stored)) found.ignore(bundle, stored, "a moment of the optimizer");
    else
      found.ignore(bundle, stored, stored === "global_step" ? "the step" : "no weight of an ELECTRA model");
  }
  const given = await configBeside(dirname(prefix));
  const configs: Partial<Record<HalfName, HfConfig>> = {};
  const has = (start: string): boolean => [...found.tensors.keys()].some((name) => name.startsWith(start));
  const config = (scope: string, extra: Partial<HfConfig>): HfConfig => ({
    ...deriveConfig(
      found.tensors,
      scope,
      bundle.path,
      given[scope === "electra" ? "discriminator" : "generator"],
    ),
    ...extra,
  });
  if (has("task_specific/")) configs.finetuned = config("electra", {});
  if (has("discriminator_predictions/")) configs.discriminator = config("electra", {});
  if (has("generator_predictions/"))
    configs.generator = config(has("generator/encoder/") ? "generator" : "electra", {});
  else if (has("cloze_predictions/"))
    configs.generator = config("generator_ltr", { model_type: TWO_TOWER_MODEL_TYPE });
  // An encoder alone serves as a discriminator's does.
  if (Object.keys(configs).length === 0) configs.discriminator = config("electra", {});
  const step =
    bundle.tensors.get("global_step")?.dtype === "I64"
      ? (await bundle.readIntegers("global_step"))[0]
      : undefined;
  const { tensors, ignored } = found;
  const complete = [...tensors.keys()].every(
    (name) => bundle.tensors.has(`${name}/adam_m`) && bundle.tensors.has(`${name}/adam_v`),
  );
  const moments = complete ? bundle : undefined;
  return new ModelWeights({ model, configs, tensors, ignored, step, moments }, found.places, files);
}
