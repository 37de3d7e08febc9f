import { type FileHandle, open } from "node:fs/promises";
import { ElectraError } from "../errors.js";
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
export class SafetensorsReader {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #header: SafetensorsHeader;
  readonly #dataStart: number;

  private constructor(path: string, handle: FileHandle, header: SafetensorsHeader, dataStart: number) {
    this.path = path;
    this.#handle = handle;
    this.#header = header;
    this.#dataStart = dataStart;
  }

  /** @throws ElectraError ERR_ELECTRA_SAFETENSORS for a malformed file, ERR_ELECTRA_FILE_NOT_FOUND without one. */
  static async open(path: string): Promise<SafetensorsReader> {
    let handle: FileHandle;
    try {
      handle = await open(path, "r");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      throw new ElectraError("ERR_ELECTRA_FILE_NOT_FOUND", `${path} does not exist`, { cause: error });
    }
    try {
      const { size } = await handle.stat();
      if (size < 8)
        throw malformed(path, `only ${size} bytes, shorter than the 8 bytes of the header's length`);
      const lengthBytes = await readFully(handle, 0, 8, path);
      const length = new DataView(lengthBytes.buffer).getBigUint64(0, true);
      if (length > BigInt(MAX_HEADER_BYTES)) {
        throw malformed(path, `header length ${length} exceeds the format's ${MAX_HEADER_BYTES} bytes`);
      }
      if (length > BigInt(size - 8)) {
        throw malformed(path, `header length ${length} exceeds the file (${size} bytes)`);
      }
      const dataStart = 8 + Number(length);
      const header = parseHeader(await readFully(handle, 8, Number(length), path), size - dataStart, path);
      return new SafetensorsReader(path, handle, header, dataStart);
    } catch (error) {
      await handle.close();
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
    return await readFully(this.#handle, this.#dataStart + begin, end - begin, this.path);
  }

  /** The raw bytes in pieces of at most 1 MiB, for comparing or copying without holding the tensor. */
  async *chunks(name: string): AsyncGenerator<Uint8Array> {
    const { begin, end } = this.#info(name);
    for (let at = begin; at < end; at += CHUNK_BYTES) {
      yield await readFully(this.#handle, this.#dataStart + at, Math.min(CHUNK_BYTES, end - at), this.path);
    }
  }

  /** The values of an F32, F64, F16 or BF16 tensor as float32, row-major. Other dtypes are an error. */
  async readFloat32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { dtype } = this.#info(name);
    const bytes = await this.readBytes(name);
    if (dtype === "F32") return new Float32Array(bytes.buffer);
    if (dtype === "F64") return Float32Array.from(new Float64Array(bytes.buffer));
    if (dtype === "BF16") return widenBfloat16(new Uint16Array(bytes.buffer));
    if (dtype === "F16") return widenFloat16(new Uint16Array(bytes.buffer));
    throw malformed(this.path, `tensor "${name}" is ${dtype}, expected floating-point numbers`);
  }

  /** The values of an I32, U32, I64, U64, I16, U16, I8, U8 or BOOL tensor as numbers. */
  async readIntegers(name: string): Promise<number[]> {
    const { dtype } = this.#info(name);
    const { buffer } = await this.readBytes(name);
    switch (dtype) {
      case "I64":
        return Array.from(new BigInt64Array(buffer), Number);
      case "U64":
        return Array.from(new BigUint64Array(buffer), Number);
      case "I32":
        return Array.from(new Int32Array(buffer));
      case "U32":
        return Array.from(new Uint32Array(buffer));
      case "I16":
        return Array.from(new Int16Array(buffer));
      case "U16":
        return Array.from(new Uint16Array(buffer));
      case "I8":
        return Array.from(new Int8Array(buffer));
      case "U8":
      case "BOOL":
        return Array.from(new Uint8Array(buffer));
      default:
        throw malformed(this.path, `tensor "${name}" is ${dtype}, expected integers`);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
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

async function readFully(
  handle: FileHandle,
  position: number,
  length: number,
  path: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw malformed(path, `the file ended at byte ${position + done} while it was read`);
    done += bytesRead;
  }
  return bytes;
}

function widenBfloat16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  return new Float32Array(words.buffer);
}

function widenFloat16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const half = bits[i]!;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0) values[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) values[i] = fraction === 0 ? sign * Infinity : Number.NaN;
    else values[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return values;
}
