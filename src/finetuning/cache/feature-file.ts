import { closeSync, openSync, readSync } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import type { JsonValue } from "../../checkpoint/training-state.js";
import { fileFailure } from "../../data/file-failure.js";
import type { BadRowSummary } from "../reading/bad-rows.js";

/** Rows of consecutive examples, encoded. */
export interface EncodedRows {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of each row. */
  readonly rowBytes: Uint32Array<ArrayBuffer>;
  /** Number of the example that each row is of, in the order of the data. */
  readonly rowExample: Uint32Array<ArrayBuffer>;
}

/** What a file says of itself. */
export interface FeatureFileInfo {
  /** What the rows were made of. */
  readonly key: JsonValue;
  readonly examples: number;
  /** Seed of the order in which the examples stand; null: that of the data. */
  readonly shuffleSeed: number | null;
  /** What was left out, by task. */
  readonly skipped: readonly BadRowSummary[];
}

interface Trailer extends FeatureFileInfo {
  readonly rows: number;
  readonly recordBytes: number;
  /** Over rows and index. */
  readonly crc: number;
}

/** Last bytes of a file: length of the trailer's JSON (32 bits), and a name. */
const MAGIC = "ELFEAT01";
const TAIL = 4 + MAGIC.length;
const BLOCK = 1 << 22;

/** Where each row is; grows while rows are written. */
class RowIndex {
  rows = 0;
  recordBytes = 0;
  #offsets = new Float64Array(1024);
  #sizes = new Uint32Array(1024);
  #examples = new Uint32Array(1024);

  append({ rowBytes, rowExample }: Pick<EncodedRows, "rowBytes" | "rowExample">): void {
    const rows = this.rows + rowBytes.length;
    if (rows > this.#sizes.length) {
      const capacity = Math.max(rows, 2 * this.#sizes.length);
      this.#offsets = grown(this.#offsets, new Float64Array(capacity));
      this.#sizes = grown(this.#sizes, new Uint32Array(capacity));
      this.#examples = grown(this.#examples, new Uint32Array(capacity));
    }
    for (const [i, bytes] of rowBytes.entries()) {
      this.#offsets[this.rows + i] = this.recordBytes;
      this.recordBytes += bytes;
    }
    this.#sizes.set(rowBytes, this.rows);
    this.#examples.set(rowExample, this.rows);
    this.rows = rows;
  }

  place(row: number): { readonly offset: number; readonly bytes: number } {
    if (!(row >= 0 && row < this.rows)) throw new RangeError(`there is no row ${row} among ${this.rows}`);
    return { offset: this.#offsets[row]!, bytes: this.#sizes[row]! };
  }

  get examples(): Uint32Array {
    return this.#examples.subarray(0, this.rows);
  }

  /** Sizes, then examples. */
  bytes(): Uint8Array {
    const all = new Uint32Array(2 * this.rows);
    all.set(this.#sizes.subarray(0, this.rows));
    all.set(this.examples, this.rows);
    return new Uint8Array(all.buffer);
  }
}

function grown<T extends Float64Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** A file of encoded rows that can be read anywhere, also while it is being written. */
export interface FeatureFile {
  readonly rows: number;
  readonly rowExample: Uint32Array;
  /** The bytes of a row. */
  read(row: number): Uint8Array<ArrayBuffer>;
  close(): void;
}

/** Writes rows under a temporary name; `finish` gives the file its name. */
export class FeatureFileWriter implements FeatureFile {
  readonly #path: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #reading: number;
  readonly #index = new RowIndex();
  #crc = 0;

  private constructor(path: string, temporary: string, handle: FileHandle, reading: number) {
    this.#path = path;
    this.#temporary = temporary;
    this.#handle = handle;
    this.#reading = reading;
  }

  /** @throws ElectraError `ERR_ELECTRA_FILE` */
  static async create(path: string): Promise<FeatureFileWriter> {
    const temporary = `${path}.tmp-${process.pid}`;
    try {
      await mkdir(dirname(path), { recursive: true });
      const handle = await open(temporary, "w");
      return new FeatureFileWriter(path, temporary, handle, openSync(temporary, "r"));
    } catch (error) {
      throw fileFailure(error, "cannot write the features", temporary);
    }
  }

  get rows(): number {
    return this.#index.rows;
  }

  get rowExample(): Uint32Array {
    return this.#index.examples;
  }

  /** One at a time. */
  async append(rows: EncodedRows): Promise<void> {
    await this.#write(rows.bytes);
    this.#index.append(rows);
  }

  /** @param keep whether later runs may use the file; else it is there for this one only */
  async finish(info: FeatureFileInfo, keep: boolean): Promise<void> {
    try {
      if (keep) {
        const { rows, recordBytes } = this.#index;
        await this.#write(this.#index.bytes());
        const trailer: Trailer = { ...info, rows, recordBytes, crc: this.#crc };
        const json = Buffer.from(JSON.stringify(trailer));
        const tail = Buffer.alloc(TAIL);
        tail.writeUInt32LE(json.length);
        tail.write(MAGIC, 4, "latin1");
        await this.#write(Buffer.concat([json, tail]));
        await this.#handle.sync();
        await rename(this.#temporary, this.#path);
      } else {
        // It goes on being read through its descriptor.
        await rm(this.#temporary, { force: true });
      }
    } catch (error) {
      throw fileFailure(error, "cannot write the features", this.#path);
    } finally {
      await this.#handle.close();
    }
  }

  /** Leaves nothing behind. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await rm(this.#temporary, { force: true }).catch(() => undefined);
  }

  read(row: number): Uint8Array<ArrayBuffer> {
    return readRow(this.#reading, this.#index, row);
  }

  close(): void {
    closeSync(this.#reading);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        done += (await this.#handle.write(bytes, done)).bytesWritten;
      }
    } catch (error) {
      throw fileFailure(error, "cannot write the features", this.#temporary);
    }
    this.#crc = crc32(bytes, this.#crc);
  }
}

/** Why a file is not used. */
export type Unusable = { readonly unusable: string };

/**
 * Opens a finished file after reading all of it: a file that is short, changed or of another key is not used.
 *
 * @returns undefined if there is none
 */
export async function openFeatureFile(
  path: string,
  key: JsonValue,
): Promise<(FeatureFile & FeatureFileInfo) | Unusable | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    return { unusable: (error as Error).message };
  }
  try {
    const trailer = await readTrailer(handle);
    if (typeof trailer === "string") return { unusable: trailer };
    if (JSON.stringify(trailer.key) !== JSON.stringify(key))
      return { unusable: "it was made of something else" };
    const index = new RowIndex();
    const problem = await readIndex(handle, trailer, index);
    if (problem !== undefined) return { unusable: problem };
    const descriptor = openSync(path, "r");
    return {
      key,
      examples: trailer.examples,
      shuffleSeed: trailer.shuffleSeed,
      skipped: trailer.skipped,
      rows: index.rows,
      rowExample: index.examples,
      read: (row) => readRow(descriptor, index, row),
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    return { unusable: `it cannot be read (${(error as Error).message})` };
  } finally {
    await handle.close();
  }
}

async function readTrailer(handle: FileHandle): Promise<Trailer | string> {
  const { size } = await handle.stat();
  if (size < TAIL) return "it is too short";
  const tail = await readBytes(handle, size - TAIL, TAIL);
  if (tail.toString("latin1", 4) !== MAGIC) return "its end is missing";
  const length = tail.readUInt32LE();
  if (length > size - TAIL) return "its end is damaged";
  let trailer: Trailer;
  try {
    trailer = JSON.parse((await readBytes(handle, size - TAIL - length, length)).toString()) as Trailer;
  } catch {
    return "its end is damaged";
  }
  const { rows, recordBytes, examples } = trailer ?? {};
  const counted = [rows, recordBytes, examples].every((count) => Number.isSafeInteger(count) && count >= 0);
  if (!counted || !Array.isArray(trailer.skipped)) return "its end is damaged";
  return recordBytes + 8 * rows + length + TAIL === size ? trailer : "its size is wrong";
}

async function readIndex(handle: FileHandle, trailer: Trailer, index: RowIndex): Promise<string | undefined> {
  const { rows, recordBytes } = trailer;
  const end = recordBytes + 8 * rows;
  let crc = 0;
  for (let at = 0; at < end; at += BLOCK) {
    crc = crc32(await readBytes(handle, at, Math.min(BLOCK, end - at)), crc);
  }
  if (crc !== trailer.crc) return "its check sum is wrong";
  const bytes = await readBytes(handle, recordBytes, 8 * rows);
  const words = new Uint32Array(2 * rows);
  new Uint8Array(words.buffer).set(bytes);
  index.append({ rowBytes: words.slice(0, rows), rowExample: words.slice(rows) });
  return index.recordBytes === recordBytes ? undefined : "its index is wrong";
}

async function readBytes(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw new Error("the file ended while it was read");
    done += bytesRead;
  }
  return bytes;
}

function readRow(descriptor: number, index: RowIndex, row: number): Uint8Array<ArrayBuffer> {
  const { offset, bytes: length } = index.place(row);
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const count = readSync(descriptor, bytes, done, length - done, offset + done);
    if (count === 0) throw new Error(`row ${row} of the features is not there any more`);
    done += count;
  }
  return bytes;
}
