import { crc32 } from "node:zlib";
import type { ByteSource } from "../byte-source.js";

/** A file inside an archive. */
export interface ZipEntry {
  /** Where its local header begins. */
  readonly header: number;
  readonly size: number;
  readonly crc: number;
}

/** An archive that breaks its format, or uses what `torch.save` does not. */
export class ZipError extends Error {
  override readonly name = "ZipError";
}

const END_BYTES = 22;
const LONGEST_COMMENT = 65_535;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
const CHUNK_BYTES = 1 << 20;

/**
 * A ZIP archive whose files are stored as they are, which is what `torch.save` writes (APPNOTE.TXT, with the 64-bit
 * extensions). Opening reads the directory at its end; what is read of a file is compared with its CRC-32.
 */
export class ZipArchive {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  readonly #source: ByteSource;

  private constructor(source: ByteSource, entries: ReadonlyMap<string, ZipEntry>) {
    this.#source = source;
    this.entries = entries;
  }

  /** @throws ZipError */
  static async open(source: ByteSource): Promise<ZipArchive> {
    const { offset, size, count } = await findDirectory(source);
    const bytes = await source.read(offset, size);
    return new ZipArchive(source, parseDirectory(bytes, count, source.size));
  }

  /** A whole file. @throws ZipError */
  async read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(this.#entry(name).size);
    let at = 0;
    for await (const piece of this.chunks(name)) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** A file in pieces; the check sum is compared at the end. @throws ZipError */
  async *chunks(name: string): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    const { header, size, crc } = this.#entry(name);
    if (header > this.#source.size - LOCAL_BYTES)
      throw new ZipError(`${name}: its header leaves the archive`);
    const local = view(await this.#source.read(header, LOCAL_BYTES));
    if (local.getUint32(0, true) !== 0x04034b50)
      throw new ZipError(`${name}: there is no header at byte ${header}`);
    const start = header + LOCAL_BYTES + local.getUint16(26, true) + local.getUint16(28, true);
    if (start + size > this.#source.size) {
      throw new ZipError(`${name}: its ${size} bytes from byte ${start} on leave the archive`);
    }
    let computed = 0;
    for (let at = 0; at < size; at += CHUNK_BYTES) {
      const piece = await this.#source.read(start + at, Math.min(CHUNK_BYTES, size - at));
      computed = crc32(piece, computed);
      yield piece;
    }
    if (computed !== crc)
      throw new ZipError(`${name}: its check sum is ${hex(computed)}, but ${hex(crc)} was stored`);
  }

  #entry(name: string): ZipEntry {
    const entry = this.entries.get(name);
    if (entry === undefined) throw new ZipError(`there is no file ${JSON.stringify(name)} inside`);
    return entry;
  }
}

interface Directory {
  readonly offset: number;
  readonly size: number;
  readonly count: number;
}

async function findDirectory(source: ByteSource): Promise<Directory> {
  const length = Math.min(source.size, END_BYTES + LONGEST_COMMENT);
  const tail = view(await source.read(source.size - length, length));
  let at = length - END_BYTES;
  while (
    at >= 0 &&
    !(tail.getUint32(at, true) === 0x06054b50 && at + END_BYTES + tail.getUint16(at + 20, true) === length)
  )
    at--;
  if (at < 0) throw new ZipError("the archive has no directory at its end: it is cut off");
  let directory = {
    count: tail.getUint16(at + 10, true),
    size: tail.getUint32(at + 12, true),
    offset: tail.getUint32(at + 16, true),
  };
  const end = source.size - length + at;
  const saturated =
    directory.count === 0xffff || directory.size === 0xffffffff || directory.offset === 0xffffffff;
  if (saturated && at >= 20 && tail.getUint32(at - 20, true) === 0x07064b50) {
    const place = number(tail, at - 20 + 8);
    if (place > end - 56) throw new ZipError("its 64-bit directory's end leaves the archive");
    const wide = view(await source.read(place, 56));
    if (wide.getUint32(0, true) !== 0x06064b50)
      throw new ZipError(`there is no 64-bit directory's end at byte ${place}`);
    directory = { count: number(wide, 32), size: number(wide, 40), offset: number(wide, 48) };
  }
  if (directory.size > end || directory.offset > end - directory.size) {
    throw new ZipError(
      `its directory is said to be the ${directory.size} bytes from byte ${directory.offset} on`,
    );
  }
  if (directory.count > directory.size / CENTRAL_BYTES) {
    throw new ZipError(`${directory.count} files do not fit into a directory of ${directory.size} bytes`);
  }
  return directory;
}

function parseDirectory(bytes: Uint8Array, count: number, archiveBytes: number): Map<string, ZipEntry> {
  const directory = view(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let index = 0; index < count; index++) {
    const fail = (message: string): never => {
      throw new ZipError(`file ${index} of its directory ${message}`);
    };
    if (at > bytes.length - CENTRAL_BYTES || directory.getUint32(at, true) !== 0x02014b50)
      fail("is not there");
    const u16 = (offset: number): number => directory.getUint16(at + offset, true);
    const u32 = (offset: number): number => directory.getUint32(at + offset, true);
    const [nameBytes, extraBytes] = [u16(28), u16(30)];
    const next = at + CENTRAL_BYTES + nameBytes + extraBytes + u16(32);
    if (next > bytes.length) fail("is cut off");
    const name = new TextDecoder().decode(bytes.subarray(at + CENTRAL_BYTES, at + CENTRAL_BYTES + nameBytes));
    if (u16(8) & 1) fail(`(${name}) is encrypted`);
    if (u16(10) !== 0) fail(`(${name}) is compressed, which torch.save never does`);
    // A field of ones says that the number stands in the 64-bit extra field, in this order.
    const extra = wideNumbers(directory, at + CENTRAL_BYTES + nameBytes, extraBytes);
    const wide = (value: number): number =>
      value === 0xffffffff ? (extra.shift() ?? fail(`(${name}) lacks a 64-bit number`)) : value;
    const size = wide(u32(24));
    const stored = wide(u32(20));
    const header = wide(u32(42));
    if (size !== stored) fail(`(${name}) has two sizes, ${size} and ${stored}`);
    if (size > archiveBytes || header > archiveBytes) fail(`(${name}) is larger than the archive`);
    if (entries.has(name)) fail(`(${name}) is there twice`);
    entries.set(name, { header, size, crc: u32(16) });
    at = next;
  }
  return entries;
}

/** The numbers of the extra field 1, ZIP64. */
function wideNumbers(directory: DataView, start: number, length: number): number[] {
  for (let at = start; at + 4 <= start + length; ) {
    const size = directory.getUint16(at + 2, true);
    if (directory.getUint16(at, true) === 1 && at + 4 + size <= start + length) {
      return Array.from({ length: Math.min(3, Math.floor(size / 8)) }, (_, index) =>
        number(directory, at + 4 + 8 * index),
      );
    }
    at += 4 + size;
  }
  return [];
}

/** A 64-bit number; those beyond exact integers come out too large for any check to pass. */
function number(source: DataView, at: number): number {
  return source.getUint32(at + 4, true) * 2 ** 32 + source.getUint32(at, true);
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}
