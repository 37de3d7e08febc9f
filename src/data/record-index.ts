import { existsSync } from "node:fs";
import { open, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileFailure } from "./file-failure.js";
import type { IndexedFile } from "./indexed-file.js";
import { readIndexFile, writeIndexFile } from "./record-index-file.js";
import { checkRecordHeader, recordHeaderBytes } from "./tfrecord-reader.js";
import { recordOverhead } from "./tfrecord-writer.js";

/** Options of {@link indexRecordFiles}. */
export interface IndexRecordFilesOptions {
  readonly signal?: AbortSignal;
  /** Told after each file that had to be scanned. */
  readonly onProgress?: (progress: { readonly scanned: number; readonly total: number }) => void;
}

/** Bytes per read while headers are visited. */
const scanChunk = 1 << 18;

/** Files scanned at the same time. */
const scanners = 4;

/**
 * Finds where every record of the given files lies. What is known from earlier is taken from the hidden file
 * `.records.index` beside the data, as long as size and time of change agree; the rest is scanned (headers only, with the
 * check sum of the length) and remembered there. When the folder cannot be written the index stays in memory.
 *
 * @throws ElectraError `ERR_ELECTRA_RECORD_DAMAGED`, `ERR_ELECTRA_FILE`
 */
export async function indexRecordFiles(
  paths: readonly string[],
  options: IndexRecordFilesOptions = {},
): Promise<readonly IndexedFile[]> {
  const known = new Map<string, IndexedFile>();
  const folders = new Set(paths.map((path) => dirname(path)));
  for (const folder of folders) {
    for (const file of await readIndexFile(join(folder, indexFileName))) {
      known.set(join(folder, basename(file.path)), file);
    }
  }

  const result = new Array<IndexedFile>(paths.length);
  const missing: number[] = [];
  for (const [index, path] of paths.entries()) {
    const info = await stat(path, { bigint: true }).catch((error: unknown) => {
      throw fileFailure(error, "cannot read", path);
    });
    const bytes = Number(info.size);
    const changed = String(info.mtimeNs);
    const entry = known.get(join(path));
    if (entry !== undefined && entry.bytes === bytes && entry.changed === changed) {
      result[index] = { ...entry, path };
    } else {
      result[index] = { path, bytes, changed, lengths: new Uint32Array(0) };
      missing.push(index);
    }
  }

  let next = 0;
  let scanned = 0;
  const scanSome = async (): Promise<void> => {
    while (next < missing.length) {
      const index = missing[next++]!;
      options.signal?.throwIfAborted();
      const file = result[index]!;
      result[index] = { ...file, lengths: await scanLengths(file.path, file.bytes, options.signal) };
      scanned++;
      options.onProgress?.({ scanned, total: missing.length });
    }
  };
  await Promise.all(Array.from({ length: scanners }, scanSome));

  for (const folder of new Set(missing.map((index) => dirname(paths[index]!)))) {
    const current = result.filter((file) => dirname(file.path) === folder);
    const names = new Set(current.map((file) => join(file.path)));
    // Other files of the folder keep their entries: training and held-out records are opened apart.
    const others = [...known.values()].filter(
      ({ path }) => dirname(path) === join(folder) && !names.has(path) && existsSync(path),
    );
    await writeIndexFile(join(folder, indexFileName), [...others, ...current]);
  }
  return result;
}

/** Name of the index beside the records. Hidden, so that no glob takes it for data. */
export const indexFileName = ".records.index";

/** The payload lengths of a record file of `size` bytes, from its headers alone. */
async function scanLengths(
  path: string,
  size: number,
  signal: AbortSignal | undefined,
): Promise<Uint32Array> {
  if (size === 0) {
    return new Uint32Array(0);
  }
  const handle = await open(path, "r").catch((error: unknown) => {
    throw fileFailure(error, "cannot open", path);
  });
  try {
    const buffer = new Uint8Array(Math.min(scanChunk, size));
    let lengths = new Uint32Array(1024);
    let count = 0;
    let start = 0; // offset in the file of the buffer's first byte
    let filled = 0;
    let offset = 0; // of the current record
    while (offset < size) {
      const wanted = Math.min(recordHeaderBytes, size - offset);
      if (offset + wanted > start + filled) {
        signal?.throwIfAborted();
        // A long payload is jumped over, not read.
        start = offset;
        filled = 0;
        while (filled < wanted) {
          const { bytesRead } = await handle
            .read(buffer, filled, buffer.length - filled, start + filled)
            .catch((error: unknown) => {
              throw fileFailure(error, "cannot read", path);
            });
          if (bytesRead === 0) {
            throw fileFailure(new Error("it became shorter while it was read"), "cannot read", path);
          }
          filled += bytesRead;
        }
      }
      const place = { file: path, record: count, offset };
      const length = checkRecordHeader(buffer, offset - start, size - offset, place);
      if (count === lengths.length) {
        const larger = new Uint32Array(2 * count);
        larger.set(lengths);
        lengths = larger;
      }
      lengths[count++] = length;
      offset += length + recordOverhead;
    }
    return lengths.slice(0, count);
  } finally {
    await handle.close();
  }
}
