import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { crc32c } from "./crc32c.js";
import type { IndexedFile } from "./indexed-file.js";

// Layout, little-endian: magic, length of the header, header (JSON: name, bytes, changed, records of each file), zeros up to a
// multiple of four, the payload lengths of all files as uint32, CRC-32C of everything before.
const magic = 0x31495245; // "ERI1"

interface Header {
  readonly files: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly changed: string;
    readonly records: number;
  }[];
}

/** Reads an index file; none, an unreadable or a damaged one gives an empty list: the index can always be made again. */
export async function readIndexFile(path: string): Promise<readonly IndexedFile[]> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch {
    return [];
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || view.getUint32(0, true) !== magic) {
    return [];
  }
  if (view.getUint32(bytes.length - 4, true) !== crc32c(bytes, 0, bytes.length - 4)) {
    return [];
  }
  const headerBytes = view.getUint32(4, true);
  const { files } = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes)) as Header;
  let at = align(8 + headerBytes);
  return files.map(({ name, bytes: size, changed, records }) => {
    const lengths = new Uint32Array(
      bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + 4 * records),
    );
    at += 4 * records;
    return { path: join(dirname(path), name), bytes: size, changed, lengths };
  });
}

/** Writes an index file in one step; where that is not possible, for instance in a read-only folder, nothing happens. */
export async function writeIndexFile(path: string, files: readonly IndexedFile[]): Promise<void> {
  const header: Header = {
    files: files.map(({ path: file, bytes, changed, lengths }) => ({
      name: basename(file),
      bytes,
      changed,
      records: lengths.length,
    })),
  };
  const headerBytes = Buffer.from(JSON.stringify(header));
  const records = files.reduce((sum, file) => sum + file.lengths.length, 0);
  const start = align(8 + headerBytes.length);
  const content = Buffer.alloc(start + 4 * records + 4);
  content.writeUInt32LE(magic, 0);
  content.writeUInt32LE(headerBytes.length, 4);
  headerBytes.copy(content, 8);
  let at = start;
  for (const { lengths } of files) {
    // Every processor that Node runs on is little-endian.
    content.set(new Uint8Array(lengths.buffer, lengths.byteOffset, lengths.byteLength), at);
    at += lengths.byteLength;
  }
  content.writeUInt32LE(crc32c(content, 0, at), at);
  // Two processes may index the same folder at once; each writes its own file first.
  const temporary = `${path}.${process.pid}.partial`;
  try {
    await writeFile(temporary, content);
    await rename(temporary, path);
  } catch {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

function align(offset: number): number {
  return (offset + 3) & ~3;
}
