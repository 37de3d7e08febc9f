import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract } from "tar-stream";
import { ElectraError } from "../errors.js";
import { compareByCodePoints } from "../tokenization/code-point-order.js";
import { requireUtf8 } from "./corpus-reader.js";
import { type Compression, decompress, detectCompression } from "./decompress.js";
import { fileFailure } from "./file-failure.js";

/** Text of one archive that is held in memory at most. An archive of OpenWebText has about 2 MB. */
const largestText = 2 ** 30;

/** One text file of an archive. */
export interface ArchivedText {
  readonly name: string;
  /** Valid UTF-8. */
  readonly bytes: Buffer;
}

/** The content of an archive. */
export interface TextArchive {
  /** Its top-level files, sorted by code point; of files with the same name the last, as after extraction. */
  readonly texts: readonly ArchivedText[];
  /** Number of files in folders of the archive, which are not read, and of links. */
  readonly unread: number;
}

/**
 * Reads a tar archive of text files as a stream, decompressing xz, gzip and bzip2 by content, whatever its name. Nothing is
 * written to the disk. The texts are held in memory, and only a whole and sound archive is returned.
 *
 * @throws ElectraError `ERR_ELECTRA_ARCHIVE` when it is not an archive, ends early, has a wrong check sum or holds a file that
 *   is not UTF-8; `ERR_ELECTRA_FILE` when it cannot be read; the signal's reason
 */
export async function readTextArchive(
  path: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<TextArchive> {
  const compression = await openArchive(path);
  const file = createReadStream(path, { highWaterMark: 1 << 17 });
  let readFailure: unknown;
  file.on("error", (error) => {
    readFailure = error;
  });
  const tar = extract();
  const zeros = { atEnd: 0 };
  const feeding = pipeline(Readable.from(countZeros(decompress(file, compression), zeros)), tar);
  const texts = new Map<string, Buffer>();
  let unread = 0;
  let total = 0;
  // What fails first rejects here and ends the loop below as well, with a less telling error.
  const fed = feeding.then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  try {
    for await (const entry of tar) {
      options.signal?.throwIfAborted();
      const { name, type } = entry.header;
      const plain = name.replace(/^(\.?\/)+/, "");
      const isFile = type === "file" || type === "contiguous-file";
      if (!isFile || plain.includes("/")) {
        unread += type === "directory" ? 0 : 1;
        entry.resume();
        continue;
      }
      const chunks: Buffer[] = [];
      for await (const chunk of entry as AsyncIterable<Buffer>) {
        total += chunk.length;
        if (total > largestText) {
          throw broken(path, compression, `it holds more than ${largestText} bytes of text`);
        }
        chunks.push(chunk);
      }
      texts.set(plain, Buffer.concat(chunks));
    }
    const failed = await fed;
    if (failed !== undefined) {
      throw failed.error;
    }
  } catch (error) {
    if (options.signal?.aborted === true || error instanceof ElectraError) {
      throw error;
    }
    tar.destroy();
    const failed = await fed;
    throw readFailure === undefined
      ? broken(path, compression, reason(failed?.error ?? error, texts.size === 0), error)
      : fileFailure(readFailure, "cannot read", path);
  } finally {
    tar.destroy();
    file.destroy();
  }
  // tar itself does not notice the loss of whole blocks at the end; every writer ends with two blocks of zeros.
  if (zeros.atEnd < 512) {
    throw broken(path, compression, "the archive ends early: its end mark is missing");
  }
  const sorted = [...texts]
    .map(([name, bytes]) => ({ name, bytes }))
    .sort((a, b) => compareByCodePoints(a.name, b.name));
  for (const { name, bytes } of sorted) {
    checkText(path, compression, name, bytes);
  }
  return { texts: sorted, unread };
}

/** Looks at the beginning of the file. */
async function openArchive(path: string): Promise<Compression> {
  try {
    if ((await stat(path)).isDirectory()) {
      throw broken(path, "none", "it is a folder");
    }
    const file = await open(path);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(6), 0, 6, 0);
      if (bytesRead === 0) {
        throw broken(path, "none", "it is empty");
      }
      return detectCompression(buffer.subarray(0, bytesRead));
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileFailure(error, "cannot read", path);
  }
}

/** Hands chunks on and counts the zeros at the end of the stream (up to the 512 that matter, or more). */
async function* countZeros(
  chunks: AsyncIterable<Uint8Array>,
  zeros: { atEnd: number },
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of chunks) {
    let end = chunk.length;
    while (end > 0 && chunk[end - 1] === 0) {
      end--;
    }
    zeros.atEnd = end === 0 ? zeros.atEnd + chunk.length : chunk.length - end;
    yield chunk;
  }
}

function checkText(path: string, compression: Compression, name: string, bytes: Buffer): void {
  if (isUtf8(bytes)) {
    return;
  }
  if (detectCompression(bytes) !== "none") {
    throw broken(
      path,
      compression,
      `it holds archives (${name}): unpack it into the folder, and leave those packed`,
    );
  }
  try {
    requireUtf8(name, bytes);
  } catch (error) {
    throw broken(path, compression, (error as Error).message, error);
  }
}

function reason(error: unknown, atStart: boolean): string {
  const message = error instanceof Error ? error.message : String(error);
  if (/unexpected end|premature|ends early/i.test(message)) {
    return "the data ends early";
  }
  if (/invalid tar header/i.test(message)) {
    return atStart ? "its content is not a tar archive" : "damaged data: a file's header is invalid";
  }
  return message;
}

function broken(path: string, compression: Compression, why: string, cause?: unknown): ElectraError {
  const kind = compression === "none" ? "" : ` (${compression})`;
  return new ElectraError("ERR_ELECTRA_ARCHIVE", `cannot use the archive ${path}${kind}: ${why}`, {
    hint: "replace it with a good copy of the same name, or leave broken archives out with --skip-broken; the same command goes on where it stopped",
    exitCode: 2,
    ...(cause === undefined ? {} : { cause }),
  });
}
