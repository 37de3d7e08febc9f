import { ElectraError } from "../errors.js";
import { type ByteSource, FileSource } from "./byte-source.js";
import type { DurableFiles } from "./durable-files.js";
import {
  DTYPE_BYTES,
  type Dtype,
  elementCount,
  formatHeader,
  MAX_HEADER_BYTES,
  malformed,
  parseHeader,
  type SafetensorsHeader,
  type TensorInfo,
} from "./safetensors-header.js";
import { type TensorFile, toIntegers, widenToFloat32 } from "./tensor-file.js";

/** Large enough for full disk speed, small enough that no step of ours holds the event loop for long. */
const CHUNK_BYTES = 1 << 20;

/**
 * Reads a safetensors file tensor by tensor. The header is checked completely on opening (see `parseHeader`);
 * no buffer is ever larger than the part of the file that it is read from.
 *
 * @example
 * const file = await SafetensorsReader.open("model.safetensors");
 * const table = await file.readFloat32("electra.embeddings.word_embeddings.weight"); // row-major
 * await file.close();
 */
export class SafetensorsReader implements TensorFile {
  readonly path: string;
  readonly #source: ByteSource;
  readonly #header: SafetensorsHeader;
  readonly #dataStart: number;

  private constructor(source: ByteSource, header: SafetensorsHeader, dataStart: number) {
    this.path = source.path;
    this.#source = source;
    this.#header = header;
    this.#dataStart = dataStart;
  }

  /** @throws ElectraError ERR_ELECTRA_SAFETENSORS for a malformed file, ERR_ELECTRA_FILE_NOT_FOUND without one. */
  static async open(path: string): Promise<SafetensorsReader> {
    return await SafetensorsReader.read(await FileSource.open(path));
  }

  /** Reads any source; it is closed with the reader, or at once when it is malformed. */
  static async read(source: ByteSource): Promise<SafetensorsReader> {
    const { path, size } = source;
    try {
      if (size < 8)
        throw malformed(path, `only ${size} bytes, shorter than the 8 bytes of the header's length`);
      const lengthBytes = await source.read(0, 8);
      const length = new DataView(lengthBytes.buffer).getBigUint64(0, true);
      if (length > BigInt(MAX_HEADER_BYTES)) {
        throw malformed(path, `header length ${length} exceeds the format's ${MAX_HEADER_BYTES} bytes`);
      }
      if (length > BigInt(size - 8)) {
        throw malformed(path, `header length ${length} exceeds the file (${size} bytes)`);
      }
      const dataStart = 8 + Number(length);
      const header = parseHeader(await source.read(8, Number(length)), size - dataStart, path);
      return new SafetensorsReader(source, header, dataStart);
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  get tensors(): ReadonlyMap<string, TensorInfo> {
    return this.#header.tensors;
  }

  get metadata(): Readonly<Record<string, string>> {
    return this.#header.metadata;
  }

  /** The raw little-endian bytes of a tensor. */
  async readBytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { begin, end } = this.#info(name);
    return await this.#source.read(this.#dataStart + begin, end - begin);
  }

  /** The raw bytes in pieces of at most 1 MiB, for comparing or copying without holding the tensor. */
  async *chunks(name: string): AsyncGenerator<Uint8Array> {
    const { begin, end } = this.#info(name);
    for (let at = begin; at < end; at += CHUNK_BYTES) {
      yield await this.#source.read(this.#dataStart + at, Math.min(CHUNK_BYTES, end - at));
    }
  }

  /** The values of an F32, F64, F16 or BF16 tensor as float32, row-major. Other dtypes are an error. */
  async readFloat32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { dtype } = this.#info(name);
    const values = widenToFloat32(dtype, await this.readBytes(name));
    if (values !== undefined) return values;
    throw malformed(this.path, `tensor "${name}" is ${dtype}, expected floating-point numbers`);
  }

  /** The values of an I32, U32, I64, U64, I16, U16, I8, U8 or BOOL tensor as numbers. */
  async readIntegers(name: string): Promise<number[]> {
    const { dtype } = this.#info(name);
    const values = toIntegers(dtype, await this.readBytes(name));
    if (values !== undefined) return values;
    throw malformed(this.path, `tensor "${name}" is ${dtype}, expected integers`);
  }

  async close(): Promise<void> {
    await this.#source.close();
  }

  #info(name: string): TensorInfo {
    const info = this.#header.tensors.get(name);
    if (info === undefined) {
      throw new ElectraError("ERR_ELECTRA_TENSOR_MISSING", `${this.path} has no tensor "${name}"`);
    }
    return info;
  }
}

/** One tensor to write. `data` is asked for when its turn comes, so only one tensor need be in memory. */
export interface TensorSource {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** The values, row-major and little-endian, in as many pieces as the source likes. */
  readonly data: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/**
 * Writes a safetensors file that must not exist yet, streaming the tensors, and forces it to disk.
 *
 * @returns the size of the file in bytes
 * @throws ElectraError ERR_ELECTRA_TENSOR_SIZE when a source delivers other than dtype x shape bytes
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorSource[],
  files: DurableFiles,
): Promise<number> {
  const seen = new Set<string>();
  for (const { name } of tensors) {
    if (name === "__metadata__" || seen.has(name)) {
      throw new ElectraError(
        "ERR_ELECTRA_TENSOR_NAME",
        `${path}: tensor name "${name}" is reserved or used twice`,
      );
    }
    seen.add(name);
  }
  // Wide elements first keeps every tensor aligned to its element, which lets readers map the file.
  const ordered = [...tensors].sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
  async function* contents(): AsyncGenerator<Uint8Array> {
    yield formatHeader(ordered, { format: "pt" });
    for (const tensor of ordered) {
      const expected = elementCount(tensor.shape) * DTYPE_BYTES[tensor.dtype];
      let written = 0;
      for await (const piece of tensor.data()) {
        written += piece.byteLength;
        if (written <= expected) yield piece;
      }
      if (written !== expected) {
        throw new ElectraError(
          "ERR_ELECTRA_TENSOR_SIZE",
          `${path}: tensor "${tensor.name}" ${tensor.dtype} [${tensor.shape.join(", ")}] needs ${expected} bytes, got ${written}`,
        );
      }
    }
  }
  return await files.createFile(path, contents());
}
