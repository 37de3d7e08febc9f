import { crc32c, maskCrc32c } from "../../data/crc32c.js";
import { WireError } from "../../data/proto-wire.js";
import { ElectraError } from "../../errors.js";
import { type ByteSource, FileSource, type OpenByteSource } from "../byte-source.js";
import { elementCount } from "../safetensors-header.js";
import { type TensorFile, toIntegers, widenToFloat32 } from "../tensor-file.js";
import { type BundleEntry, parseBundleEntry, parseBundleHeader } from "./bundle-entry.js";
import { readSortedTable, TableError } from "./sorted-table.js";

/** Large enough for full disk speed, small enough that no step of ours holds the event loop for long. */
const CHUNK_BYTES = 1 << 20;

/** An index of 10,000 variables with Adam's moments takes 2 MB. */
const LARGEST_INDEX = 1 << 28;

/** An error about the files of a TensorFlow checkpoint, with the file's name in front. */
export function brokenBundle(path: string, message: string, cause?: unknown): ElectraError {
  return new ElectraError("ERR_ELECTRA_TF_CHECKPOINT", `${path}: ${message}`, {
    hint: "The checkpoint is damaged or incomplete: copy or download its .index and all its .data files again.",
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Name of a data file of a checkpoint. */
export function dataFile(prefix: string, shard: number, shards: number): string {
  const five = (value: number): string => String(value).padStart(5, "0");
  return `${prefix}.data-${five(shard)}-of-${five(shards)}`;
}

/**
 * Reads a TensorFlow V2 checkpoint ("tensor bundle"): `<prefix>.index` and `<prefix>.data-SSSSS-of-NNNNN`. Opening reads
 * the index alone; a data file is opened with the first tensor that lies in it. What is read is compared with its
 * check sum.
 *
 * @example
 * const bundle = await TensorBundleReader.open("electra_small/electra_small");
 * const table = await bundle.readFloat32("electra/embeddings/word_embeddings"); // row-major
 * await bundle.close();
 */
export class TensorBundleReader implements TensorFile {
  /** The index file. */
  readonly path: string;
  readonly prefix: string;
  readonly shards: number;
  readonly tensors: ReadonlyMap<string, BundleEntry>;
  readonly #open: OpenByteSource;
  readonly #files = new Map<number, ByteSource>();

  private constructor(
    prefix: string,
    shards: number,
    tensors: ReadonlyMap<string, BundleEntry>,
    openSource: OpenByteSource,
  ) {
    this.path = `${prefix}.index`;
    this.prefix = prefix;
    this.shards = shards;
    this.tensors = tensors;
    this.#open = openSource;
  }

  /**
   * @param prefix path of the index file without `.index`
   * @param openSource how its files are opened; tests give memory
   * @throws ElectraError `ERR_ELECTRA_TF_CHECKPOINT`, `ERR_ELECTRA_FILE_NOT_FOUND`
   */
  static async open(
    prefix: string,
    openSource: OpenByteSource = FileSource.open,
  ): Promise<TensorBundleReader> {
    const path = `${prefix}.index`;
    const source = await openSource(path);
    let bytes: Uint8Array;
    try {
      if (source.size > LARGEST_INDEX) throw brokenBundle(path, `${source.size} bytes are no index`);
      bytes = await source.read(0, source.size);
    } finally {
      await source.close();
    }
    const { shards, tensors } = parseIndex(bytes, path);
    return new TensorBundleReader(prefix, shards, tensors, openSource);
  }

  async readFloat32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { dtype } = this.#entry(name);
    const bytes = await this.readBytes(name);
    const values = widenToFloat32(dtype, bytes);
    if (values !== undefined) return values;
    throw brokenBundle(this.path, `variable "${name}" is ${dtype}, expected floating-point numbers`);
  }

  async readIntegers(name: string): Promise<number[]> {
    const { dtype } = this.#entry(name);
    const values = toIntegers(dtype, await this.readBytes(name));
    if (values !== undefined) return values;
    throw brokenBundle(this.path, `variable "${name}" is ${dtype}, expected integers`);
  }

  /** The raw little-endian bytes of a tensor of numbers. */
  async readBytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { size } = await this.#place(name);
    const bytes = new Uint8Array(size);
    let at = 0;
    for await (const piece of this.chunks(name)) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  async *chunks(name: string): AsyncGenerator<Uint8Array, void, undefined> {
    const { dtype, offset, size, crc, source } = await this.#place(name);
    let computed = 0;
    for (let at = 0; at < size; at += CHUNK_BYTES) {
      const piece = await source.read(offset + at, Math.min(CHUNK_BYTES, size - at));
      computed = crc32c(piece, 0, piece.length, computed);
      yield piece;
    }
    // The sum of strings runs over their lengths in another form: `readStrings`.
    if (dtype !== "STRING") this.#compare(name, computed, crc, source);
  }

  /** The values of a tensor of strings, as bytes. */
  async readStrings(name: string): Promise<Uint8Array[]> {
    const { dtype, shape, offset, size, crc, source } = await this.#place(name);
    if (dtype !== "STRING") throw brokenBundle(this.path, `variable "${name}" is ${dtype}, expected strings`);
    const bytes = await source.read(offset, size);
    const { strings, lengthsFit, computed } = splitStrings(bytes, elementCount(shape));
    if (!lengthsFit) {
      throw brokenBundle(
        source.path,
        `the lengths of the strings of "${name}" (at byte ${offset}) are damaged`,
      );
    }
    this.#compare(name, computed, crc, source);
    return strings;
  }

  /** Reads every byte of a tensor and compares it with its check sum. */
  async verify(name: string): Promise<void> {
    if (this.#entry(name).dtype === "STRING") await this.readStrings(name);
    else for await (const _ of this.chunks(name));
  }

  /** Looks whether all data files are there and long enough, so that nothing is loaded by half. */
  async checkFiles(): Promise<void> {
    for (const name of this.tensors.keys()) await this.#place(name);
  }

  async close(): Promise<void> {
    for (const file of this.#files.values()) await file.close();
    this.#files.clear();
  }

  #entry(name: string): BundleEntry {
    const entry = this.tensors.get(name);
    if (entry === undefined) {
      throw new ElectraError("ERR_ELECTRA_TENSOR_MISSING", `${this.path} has no variable "${name}"`);
    }
    return entry;
  }

  async #place(name: string): Promise<BundleEntry & { readonly source: ByteSource }> {
    const entry = this.#entry(name);
    const { shard, offset, size } = entry;
    let source = this.#files.get(shard);
    if (source === undefined) {
      const path = dataFile(this.prefix, shard, this.shards);
      try {
        source = await this.#open(path);
      } catch (error) {
        if ((error as ElectraError).code !== "ERR_ELECTRA_FILE_NOT_FOUND") throw error;
        throw brokenBundle(
          path,
          `this data file is missing; ${this.path} says that "${name}" lies in it`,
          error,
        );
      }
      this.#files.set(shard, source);
    }
    if (size > 0 && offset + size > source.size) {
      throw brokenBundle(
        source.path,
        `"${name}" is said to be the ${size} bytes from byte ${offset} on, but the file has ${source.size}`,
      );
    }
    return { ...entry, source };
  }

  #compare(name: string, computed: number, stored: number, source: ByteSource): void {
    const masked = maskCrc32c(computed);
    if (masked === stored) return;
    const { offset, size } = this.#entry(name);
    const hex = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
    throw brokenBundle(
      source.path,
      `the check sum of "${name}" (${size} bytes from byte ${offset} on) is ${hex(masked)}, but ${hex(stored)} was stored`,
    );
  }
}

function parseIndex(
  bytes: Uint8Array,
  path: string,
): { readonly shards: number; readonly tensors: ReadonlyMap<string, BundleEntry> } {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const tensors = new Map<string, BundleEntry>();
  let shards: number | undefined;
  let place = "";
  try {
    for (const { key, value } of readSortedTable(bytes)) {
      if (key.length === 0) {
        place = "the header";
        shards = parseBundleHeader(value).shards;
        continue;
      }
      place = `the key 0x${Buffer.from(key.subarray(0, 32)).toString("hex")}`;
      const name = decoder.decode(key);
      place = `variable "${name.slice(0, 200)}"`;
      const entry = parseBundleEntry(value);
      if (shards === undefined) throw new WireError("it comes without a header", 0);
      if (entry.shard >= shards) throw new WireError(`it lies in data file ${entry.shard} of ${shards}`, 0);
      tensors.set(name, entry);
    }
  } catch (error) {
    if (error instanceof TableError) throw brokenBundle(path, error.message, error);
    if (error instanceof WireError || error instanceof TypeError) {
      throw brokenBundle(path, `${place}: ${error.message}`, error);
    }
    throw error;
  }
  if (shards === undefined) throw brokenBundle(path, "it has no header");
  return { shards, tensors };
}

/**
 * `[varint length] … [4 bytes: masked check sum of the lengths] [bytes] …`. The check sums run over the lengths as 32-bit
 * numbers, not over their varints (tensorflow/core/util/tensor_bundle).
 */
function splitStrings(
  bytes: Uint8Array,
  count: number,
): { readonly strings: Uint8Array[]; readonly lengthsFit: boolean; readonly computed: number } {
  const failed = { strings: [], lengthsFit: false, computed: 0 };
  const lengths: number[] = [];
  const four = new Uint8Array(4);
  const view = new DataView(four.buffer);
  let computed = 0;
  let at = 0;
  for (let index = 0; index < count; index++) {
    let length = 0;
    for (let digit = 0; ; digit++) {
      const byte = bytes[at++];
      if (byte === undefined || digit === 5) return failed;
      length += (byte & 127) * 128 ** digit;
      if (byte < 128) break;
    }
    if (length > bytes.length) return failed;
    lengths.push(length);
    view.setUint32(0, length, true);
    computed = crc32c(four, 0, 4, computed);
  }
  if (bytes.length - at < 4) return failed;
  view.setUint32(0, maskCrc32c(computed), true);
  if (Buffer.compare(four, bytes.subarray(at, at + 4)) !== 0) return failed;
  computed = crc32c(four, 0, 4, computed);
  at += 4;
  if (lengths.reduce((sum, length) => sum + length, at) !== bytes.length) return failed;
  computed = crc32c(bytes, at, bytes.length, computed);
  const strings = lengths.map((length) => {
    at += length;
    return bytes.subarray(at - length, at);
  });
  return { strings, lengthsFit: true, computed };
}
