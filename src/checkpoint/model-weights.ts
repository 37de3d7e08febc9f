import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ElectraError } from "../errors.js";
import { MOMENTS_FILE } from "./checkpoint-folders.js";
import { deriveConfig } from "./derived-config.js";
import { FolderTensors } from "./folder-tensors.js";
import { type HfConfig, TWO_TOWER_MODEL_TYPE } from "./hf-config.js";
import { type HalfName, type PretrainingHalf, TIED_OUTPUT_WEIGHT } from "./hf-layout.js";
import { type ModelFolder, readModelConfig, resolveModelFolder } from "./model-folder.js";
import type { ParameterStore } from "./parameter-store.js";
import { SafetensorsReader } from "./safetensors.js";
import type { StoredTensor, TensorFile } from "./tensor-file.js";
import { TensorBundleReader } from "./tensorflow/tensor-bundle.js";
import { transpose } from "./transpose.js";
import { type EncoderScopes, isModelVariable, variableOfTensor } from "./variable-names.js";

/** A weight under the reference's name and in its orientation: kernels are [in, out]. */
export interface ModelTensor extends StoredTensor {
  /** File that holds it, and its name there. */
  readonly file: string;
  readonly stored: string;
}

/** A tensor of the files that is no weight of the model. */
export interface IgnoredTensor {
  readonly stored: string;
  readonly file: string;
  readonly shape: readonly number[];
  readonly reason: string;
}

interface Place {
  readonly file: TensorFile;
  readonly stored: string;
  readonly transposed: boolean;
}

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

/** Collects tensors of one or more files under the reference's names. */
class Collection {
  readonly tensors = new Map<string, ModelTensor>();
  readonly places = new Map<string, Place>();
  readonly ignored: IgnoredTensor[] = [];

  add(file: TensorFile, stored: string, variable: string, transposed: boolean): void {
    const { dtype, shape } = file.tensors.get(stored)!;
    this.tensors.set(variable, {
      dtype,
      shape: transposed ? [shape[1]!, shape[0]!] : shape,
      file: file.path,
      stored,
    });
    this.places.set(variable, { file, stored, transposed });
  }

  ignore(file: TensorFile, stored: string, reason: string): void {
    this.ignored.push({ stored, file: file.path, shape: file.tensors.get(stored)!.shape, reason });
  }
}

async function openParts(model: ModelFolder, files: TensorFile[]): Promise<ModelWeights> {
  const configs: Partial<Record<HalfName, HfConfig>> = {};
  const found = new Collection();
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
  found: Collection,
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

async function addPart(found: Collection, file: TensorFile, scopes: EncoderScopes): Promise<void> {
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

async function sameValues(left: Place, right: Place): Promise<boolean> {
  const a = left.file.tensors.get(left.stored);
  const b = right.file.tensors.get(right.stored);
  if (a === undefined || b === undefined || a.dtype !== b.dtype || String(a.shape) !== String(b.shape))
    return false;
  const others = right.file.chunks(right.stored)[Symbol.asyncIterator]();
  for await (const piece of left.file.chunks(left.stored)) {
    const other = await others.next();
    if (other.done === true || Buffer.compare(piece, other.value) !== 0) return false;
  }
  return true;
}

async function openBundle(model: ModelFolder, prefix: string, files: TensorFile[]): Promise<ModelWeights> {
  const bundle = await TensorBundleReader.open(prefix);
  files.push(bundle);
  await bundle.checkFiles();
  const found = new Collection();
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

/**
 * What a TensorFlow checkpoint does not tell may be said in a `config.json` beside it, with the fields of Hugging Face's: for
 * both networks, or under `discriminator` and `generator`.
 */
async function configBeside(folder: string): Promise<Partial<Record<PretrainingHalf, Partial<HfConfig>>>> {
  const path = join(folder, "config.json");
  if (
    !(await stat(path).then(
      () => true,
      () => false,
    ))
  )
    return {};
  const fail = (message: string, cause?: unknown): never => {
    throw new ElectraError("ERR_ELECTRA_HF_CONFIG", `${path}: ${message}`, { cause, exitCode: 2 });
  };
  let document: unknown;
  try {
    document = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    return fail(`not valid JSON (${(error as Error).message})`, error);
  }
  if (typeof document !== "object" || document === null) return fail("not a JSON object");
  const all = document as Record<string, unknown>;
  const fields = (part: PretrainingHalf): Partial<HfConfig> => {
    const own = all[part];
    const merged = { ...all, ...(typeof own === "object" && own !== null ? own : {}) };
    const heads = merged["num_attention_heads"];
    const act = merged["hidden_act"];
    if (heads !== undefined && !(Number.isSafeInteger(heads) && (heads as number) > 0)) {
      fail(`num_attention_heads is ${JSON.stringify(heads)}, expected a positive whole number`);
    }
    if (act !== undefined && typeof act !== "string")
      fail(`hidden_act is ${JSON.stringify(act)}, expected a name`);
    return {
      ...(heads === undefined ? {} : { num_attention_heads: heads as number }),
      ...(act === undefined ? {} : { hidden_act: act as string }),
    };
  };
  return { discriminator: fields("discriminator"), generator: fields("generator") };
}
