import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ElectraError } from "../errors.js";
import { PytorchReader } from "./pytorch/pytorch-reader.js";
import { SafetensorsReader } from "./safetensors.js";
import type { StoredTensor, TensorFile } from "./tensor-file.js";

/** The files in which Hugging Face keeps weights, the best first. An index names the parts and what lies in each. */
const FILES = [
  { name: "model.safetensors", open: SafetensorsReader.open },
  { name: "model.safetensors.index.json", open: SafetensorsReader.open },
  { name: "pytorch_model.bin", open: PytorchReader.open },
  { name: "pytorch_model.bin.index.json", open: PytorchReader.open },
] as const;

/** Weights of other frameworks, for a hint. */
const FOREIGN = ["tf_model.h5", "flax_model.msgpack", "rust_model.ot", "model.onnx"];

/** No list of parts is larger. */
const LARGEST_INDEX = 1 << 26;

/**
 * The weights of a Hugging Face folder, in one file or in several, as safetensors or as PyTorch's pickles. Names are those
 * of today: `LayerNorm.gamma` and `beta` of old files are `weight` and `bias`, and a bare encoder's get their `electra.`.
 */
export class FolderTensors implements TensorFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #places: ReadonlyMap<string, { readonly file: TensorFile; readonly stored: string }>;
  readonly #files: readonly TensorFile[];

  private constructor(
    path: string,
    files: readonly TensorFile[],
    places: ReadonlyMap<string, { readonly file: TensorFile; readonly stored: string }>,
  ) {
    this.path = path;
    this.#files = files;
    this.#places = places;
    this.tensors = new Map([...places].map(([name, { file, stored }]) => [name, file.tensors.get(stored)!]));
  }

  /**
   * @throws ElectraError `ERR_ELECTRA_FILE_NOT_FOUND` when there are no weights, `ERR_ELECTRA_WEIGHTS_INDEX`, and those of
   *   the files' formats
   */
  static async open(folder: string): Promise<FolderTensors> {
    const names = await readdir(folder).catch((): string[] => []);
    const found = FILES.find(({ name }) => names.includes(name));
    if (found === undefined) throw noWeights(folder, names);
    const path = join(folder, found.name);
    const files = new Map<string, TensorFile>();
    try {
      if (!found.name.endsWith(".json")) {
        const file = await found.open(path);
        files.set(path, file);
        return new FolderTensors(
          path,
          [file],
          placesOf(
            [...file.tensors.keys()].map((name) => [name, file]),
            path,
          ),
        );
      }
      const parts = parseWeightsIndex(await readIndex(path), path);
      const entries: [string, TensorFile][] = [];
      for (const [name, part] of parts) {
        let file = files.get(part);
        if (file === undefined) {
          file = await found.open(join(folder, part));
          files.set(part, file);
        }
        if (!file.tensors.has(name)) {
          throw brokenIndex(path, `it says that "${name}" lies in ${part}, which has no such tensor`);
        }
        entries.push([name, file]);
      }
      for (const file of files.values()) {
        for (const name of file.tensors.keys()) {
          if (!parts.has(name))
            throw brokenIndex(path, `it does not mention "${name}", which lies in ${file.path}`);
        }
      }
      return new FolderTensors(path, [...files.values()], placesOf(entries, path));
    } catch (error) {
      for (const file of files.values()) await file.close();
      throw error;
    }
  }

  async readFloat32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { file, stored } = this.#place(name);
    return await file.readFloat32(stored);
  }

  async readIntegers(name: string): Promise<number[]> {
    const { file, stored } = this.#place(name);
    return await file.readIntegers(stored);
  }

  async *chunks(name: string): AsyncGenerator<Uint8Array, void, undefined> {
    const { file, stored } = this.#place(name);
    yield* file.chunks(stored);
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.close();
  }

  #place(name: string): { readonly file: TensorFile; readonly stored: string } {
    const place = this.#places.get(name);
    if (place === undefined) {
      throw new ElectraError("ERR_ELECTRA_TENSOR_MISSING", `${this.path} has no tensor "${name}"`);
    }
    return place;
  }
}

/**
 * Reads `model.safetensors.index.json`: which part each tensor lies in.
 *
 * @throws ElectraError `ERR_ELECTRA_WEIGHTS_INDEX`
 */
export function parseWeightsIndex(text: string, path: string): ReadonlyMap<string, string> {
  let document: { weight_map?: unknown } | null;
  try {
    document = JSON.parse(text) as typeof document;
  } catch (error) {
    throw brokenIndex(path, `not valid JSON (${(error as Error).message})`, error);
  }
  const map = typeof document === "object" && document !== null ? document.weight_map : undefined;
  if (typeof map !== "object" || map === null || Array.isArray(map))
    throw brokenIndex(path, "it has no weight_map");
  const parts = new Map<string, string>();
  for (const [name, part] of Object.entries(map)) {
    // The name of a file beside the index; a path could lead anywhere.
    if (typeof part !== "string" || !/^[\w.-]+$/.test(part) || /^\.+$/.test(part)) {
      throw brokenIndex(path, `"${name}" is said to lie in ${JSON.stringify(part)}, which is no file's name`);
    }
    parts.set(name, part);
  }
  if (parts.size === 0) throw brokenIndex(path, "its weight_map is empty");
  return parts;
}

async function readIndex(path: string): Promise<string> {
  const text = await readFile(path, "utf8");
  if (text.length > LARGEST_INDEX)
    throw brokenIndex(path, `${text.length} characters are no list of tensors`);
  return text;
}

function placesOf(
  entries: readonly (readonly [string, TensorFile])[],
  path: string,
): Map<string, { file: TensorFile; stored: string }> {
  const bare = entries.some(([name]) => name === "embeddings.word_embeddings.weight");
  const places = new Map<string, { file: TensorFile; stored: string }>();
  for (const [stored, file] of entries) {
    const name = currentName(stored, bare);
    if (places.has(name))
      throw brokenIndex(path, `both "${stored}" and "${places.get(name)!.stored}" stand for "${name}"`);
    places.set(name, { file, stored });
  }
  return places;
}

function currentName(stored: string, bare: boolean): string {
  const name = stored
    .replace(/LayerNorm\.gamma$/, "LayerNorm.weight")
    .replace(/LayerNorm\.beta$/, "LayerNorm.bias");
  return bare && /^(embeddings|embeddings_project|encoder)\./.test(name) ? `electra.${name}` : name;
}

function noWeights(folder: string, names: readonly string[]): ElectraError {
  const foreign = FOREIGN.filter((name) => names.includes(name));
  return new ElectraError(
    "ERR_ELECTRA_FILE_NOT_FOUND",
    `${join(folder, "model.safetensors")} does not exist, nor pytorch_model.bin, nor an index of their parts`,
    {
      hint:
        foreign.length > 0
          ? `${foreign.join(" and ")} is another framework's: save the model as model.safetensors.`
          : "Copy or download the weights into this folder.",
      exitCode: 2,
    },
  );
}

function brokenIndex(path: string, message: string, cause?: unknown): ElectraError {
  return new ElectraError("ERR_ELECTRA_WEIGHTS_INDEX", `${path}: ${message}`, {
    hint: "The folder's files do not belong together: copy or download all of them again.",
    ...(cause === undefined ? {} : { cause }),
  });
}
