import { ElectraError } from "../../errors.js";
import { type ByteSource, FileSource } from "../byte-source.js";
import { DTYPE_BYTES, elementCount } from "../safetensors-header.js";
import { type TensorFile, toIntegers, widenToFloat32 } from "../tensor-file.js";
import { type LegacyStorages, readLegacyFile } from "./legacy-file.js";
import { PickleError, type StorageRef, type TensorRef } from "./pickle-values.js";
import { tensorsOf } from "./state-dict.js";
import { unpickle } from "./unpickler.js";
import { ZipArchive, ZipError } from "./zip-archive.js";

/** No state dict of names and shapes comes near it. */
const LARGEST_PICKLE = 1 << 26;

/** Where the bytes of storages come from. */
type Storages = LegacyStorages;

/**
 * Reads the tensors of a file that `torch.save` wrote, such as `pytorch_model.bin`: a ZIP archive with a pickle that names
 * the tensors, or the format before PyTorch 1.6. The pickle is read by {@link unpickle}, which runs nothing.
 *
 * @example
 * const file = await PytorchReader.open("pytorch_model.bin");
 * const table = await file.readFloat32("electra.embeddings.word_embeddings.weight"); // row-major
 * await file.close();
 */
export class PytorchReader implements TensorFile {
  readonly path: string;
  /** `zip` since PyTorch 1.6, with check sums; `legacy` before. */
  readonly format: "zip" | "legacy";
  readonly tensors: ReadonlyMap<string, TensorRef & { readonly dtype: StorageRef["dtype"] }>;
  readonly #source: ByteSource;
  readonly #storages: Storages;

  private constructor(
    source: ByteSource,
    format: "zip" | "legacy",
    tensors: ReadonlyMap<string, TensorRef>,
    storages: Storages,
  ) {
    this.path = source.path;
    this.format = format;
    this.tensors = new Map(
      [...tensors].map(([name, tensor]) => [name, { ...tensor, dtype: tensor.storage.dtype }]),
    );
    this.#source = source;
    this.#storages = storages;
  }

  /** @throws ElectraError `ERR_ELECTRA_PYTORCH_FILE`, `ERR_ELECTRA_PICKLE_FORBIDDEN`, `ERR_ELECTRA_FILE_NOT_FOUND` */
  static async open(path: string): Promise<PytorchReader> {
    return await PytorchReader.read(await FileSource.open(path));
  }

  /** Reads any source; it is closed with the reader, or at once when it cannot be read. */
  static async read(source: ByteSource): Promise<PytorchReader> {
    try {
      const head = await source.read(0, Math.min(265, source.size));
      const zip = head[0] === 0x50 && head[1] === 0x4b;
      if (!zip && new TextDecoder("latin1").decode(head.subarray(257, 262)) === "ustar") {
        throw broken(source.path, "this is a tar archive, as PyTorch wrote it before version 0.1.10");
      }
      if (!zip && head[0] !== 0x80) throw broken(source.path, "it is neither a ZIP archive nor a pickle");
      const { value, storages } = zip ? await readZipFile(source) : await readLegacyFile(source);
      const tensors = tensorsOf(value);
      for (const [name, { storage }] of tensors) {
        const bytes = storages.size(storage.key);
        if (bytes !== storage.length * DTYPE_BYTES[storage.dtype]) {
          const found = bytes === undefined ? "is not there" : `has ${bytes} bytes`;
          throw new PickleError(
            `"${name}" lies in ${storage.length} elements of ${storage.dtype}, but storage ${JSON.stringify(storage.key)} ${found}`,
          );
        }
      }
      return new PytorchReader(source, zip ? "zip" : "legacy", tensors, storages);
    } catch (error) {
      await source.close();
      throw translate(error, source.path);
    }
  }

  async readFloat32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const bytes = await this.#bytes(name);
    const { dtype } = this.#tensor(name);
    const values = widenToFloat32(dtype, bytes);
    if (values !== undefined) return values;
    throw broken(this.path, `tensor "${name}" is ${dtype}, expected floating-point numbers`);
  }

  async readIntegers(name: string): Promise<number[]> {
    const bytes = await this.#bytes(name);
    const { dtype } = this.#tensor(name);
    const values = toIntegers(dtype, bytes);
    if (values !== undefined) return values;
    throw broken(this.path, `tensor "${name}" is ${dtype}, expected integers`);
  }

  async *chunks(name: string): AsyncGenerator<Uint8Array, void, undefined> {
    const bytes = await this.#bytes(name);
    for (let at = 0; at < bytes.length; at += 1 << 20) yield bytes.subarray(at, at + (1 << 20));
  }

  async close(): Promise<void> {
    await this.#source.close();
  }

  #tensor(name: string): TensorRef & { readonly dtype: StorageRef["dtype"] } {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) {
      throw new ElectraError("ERR_ELECTRA_TENSOR_MISSING", `${this.path} has no tensor "${name}"`);
    }
    return tensor;
  }

  /** A tensor's bytes, row-major. The whole storage is read, because its check sum is over all of it. */
  async #bytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const tensor = this.#tensor(name);
    let storage: Uint8Array<ArrayBuffer>;
    try {
      storage = await this.#storages.read(tensor.storage.key);
    } catch (error) {
      throw translate(error, this.path);
    }
    return gather(storage, tensor, DTYPE_BYTES[tensor.dtype]);
  }
}

async function readZipFile(
  source: ByteSource,
): Promise<{ value: ReturnType<typeof unpickle>["value"]; storages: Storages }> {
  const archive = await ZipArchive.open(source);
  const pickles = [...archive.entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const [pickle] = pickles;
  if (pickle === undefined || pickles.length > 1) {
    throw new ZipError(
      "it holds no <name>/data.pkl, so torch.save did not write it (torch.jit.save writes others)",
    );
  }
  const folder = pickle.slice(0, -"data.pkl".length);
  if (archive.entries.get(pickle)!.size > LARGEST_PICKLE)
    throw new ZipError(`${pickle} is larger than any list of tensors`);
  if (archive.entries.has(`${folder}byteorder`)) {
    const order = new TextDecoder().decode(await archive.read(`${folder}byteorder`));
    if (order !== "little")
      throw new ZipError(`its byte order is ${JSON.stringify(order.slice(0, 20))}, only "little" is read`);
  }
  const { value } = unpickle(await archive.read(pickle));
  return {
    value,
    storages: {
      size: (key) => archive.entries.get(`${folder}data/${key}`)?.size,
      read: (key) => archive.read(`${folder}data/${key}`),
    },
  };
}

/** The elements of a strided view, one after another. */
function gather(
  storage: Uint8Array<ArrayBuffer>,
  { offset, shape, strides }: TensorRef,
  width: number,
): Uint8Array<ArrayBuffer> {
  const count = elementCount(shape);
  let dense = 1;
  let contiguous = true;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== dense) contiguous = false;
    dense *= shape[axis]!;
  }
  if (count === 0) return new Uint8Array(0);
  if (contiguous) {
    return offset === 0 && count * width === storage.length
      ? storage
      : storage.slice(offset * width, (offset + count) * width);
  }
  const result = new Uint8Array(count * width);
  const index = shape.map(() => 0);
  let from = offset;
  for (let to = 0; to < count; to++) {
    for (let byte = 0; byte < width; byte++) result[to * width + byte] = storage[from * width + byte]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= index[axis]! * strides[axis]!;
      index[axis] = 0;
    }
  }
  return result;
}

function broken(path: string, message: string, cause?: unknown): ElectraError {
  return new ElectraError("ERR_ELECTRA_PYTORCH_FILE", `${path}: ${message}`, {
    hint: "Copy or download the file again, or save the model as model.safetensors.",
    ...(cause === undefined ? {} : { cause }),
  });
}

function translate(error: unknown, path: string): unknown {
  if (error instanceof PickleError && error.forbidden) {
    return new ElectraError("ERR_ELECTRA_PICKLE_FORBIDDEN", `${path}: ${error.message}`, {
      hint: "Only files of tensors are read, because a pickle can run any program. Save the state dict alone, or as model.safetensors.",
      cause: error,
    });
  }
  return error instanceof PickleError || error instanceof ZipError
    ? broken(path, error.message, error)
    : error;
}
