import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import { ElectraError } from "../errors.js";
import { compareByCodePoints } from "../tokenization/code-point-order.js";
import { fileFailure } from "./file-failure.js";

/** Node cannot hold strings much longer than this; a line of such a size is no line of text. */
const longestLine = 2 ** 28;

/** One file of a corpus. */
export interface CorpusFile {
  /** Name inside the corpus folder. */
  readonly name: string;
  readonly path: string;
  /** Size on the disk in bytes (compressed, for `.gz`). */
  readonly bytes: number;
}

/** The files of a corpus folder. */
export interface CorpusListing {
  /** `.txt` and `.gz` files, sorted by code point. */
  readonly files: readonly CorpusFile[];
  /** Names of everything else in the folder (hidden files excepted): not read, worth a mention. */
  readonly skipped: readonly string[];
}

/**
 * Lists the text files of a folder: names that end in `.txt` or `.gz` (any case), sorted by code point as the reference sorts
 * them. Sub-folders are not walked.
 *
 * @throws ElectraError `ERR_ELECTRA_CORPUS` when the folder does not exist or holds no text file
 */
export async function listCorpus(corpusDir: string): Promise<CorpusListing> {
  const entries = await readdir(corpusDir, { withFileTypes: true }).catch((error: unknown) => {
    throw fileFailure(error, "cannot read the corpus folder", corpusDir);
  });
  const files: CorpusFile[] = [];
  const skipped: string[] = [];
  for (const { name } of entries) {
    if (name.startsWith(".")) {
      continue;
    }
    const path = join(corpusDir, name);
    const info = await stat(path).catch((error: unknown) => {
      throw fileFailure(error, "cannot read", path);
    });
    if (info.isFile() && /\.(txt|gz)$/i.test(name)) {
      files.push({ name, path, bytes: info.size });
    } else {
      skipped.push(name);
    }
  }
  if (files.length === 0) {
    const found = skipped.length === 0 ? "it is empty" : `it holds ${skipped.slice(0, 5).join(", ")}`;
    throw new ElectraError(
      "ERR_ELECTRA_CORPUS",
      `no .txt or .gz file in the corpus folder ${corpusDir}: ${found}`,
      {
        hint: "put plain text there, one sentence a line, a blank line between documents, in files named *.txt or *.txt.gz",
        exitCode: 2,
      },
    );
  }
  files.sort((a, b) => compareByCodePoints(a.name, b.name));
  return { files, skipped: skipped.sort(compareByCodePoints) };
}

/** A run of consecutive lines of a text file. */
export interface LineBatch {
  /** The lines without their `\n` (a `\r` stays). */
  readonly lines: readonly string[];
  /** Number of the first line, counted from 1. */
  readonly firstLine: number;
}

/** Options of {@link readLines}. */
export interface ReadLinesOptions {
  readonly signal?: AbortSignal;
  /** Bytes per read from the disk (default 256 KiB). */
  readonly chunkBytes?: number;
  /** Told after each chunk how many bytes of the file on the disk have been read. */
  readonly onRead?: (bytes: number) => void;
}

/**
 * Reads a text file line by line, in batches, gunzipping names that end in `.gz`. Lines end at `\n` only; a last line without
 * one counts. Memory depends on the longest line, not on the size of the file.
 *
 * @throws ElectraError `ERR_ELECTRA_TEXT` for bytes that are not UTF-8 (naming file, line and byte) and for broken gzip data,
 *   `ERR_ELECTRA_FILE` when the file cannot be read
 */
export async function* readLines(
  path: string,
  options: ReadLinesOptions = {},
): AsyncGenerator<LineBatch, void, undefined> {
  let firstLine = 1;
  for await (const bytes of readLineBlocks(path, options)) {
    const lines = bytes.toString("utf8").split("\n");
    yield { lines, firstLine };
    firstLine += lines.length;
  }
}

/**
 * As {@link readLines}, but the lines of a batch as one piece of UTF-8, with `\n` between them and not behind the last.
 *
 * @throws ElectraError as `readLines`
 */
export async function* readLineBlocks(
  path: string,
  options: ReadLinesOptions = {},
): AsyncGenerator<Buffer, void, undefined> {
  let lineStart = 0; // offset of the first pending byte in the (decompressed) text
  let pending: Buffer[] = []; // the beginning of a line that continues in the next chunk
  let pendingBytes = 0;
  const check = async (bytes: Buffer): Promise<Buffer> => {
    if (!isUtf8(bytes)) {
      throw invalidText(path, bytes, await lineAt(path, lineStart), lineStart);
    }
    return bytes;
  };

  for await (const chunk of readChunks(path, options)) {
    options.signal?.throwIfAborted();
    const lastBreak = chunk.lastIndexOf(0x0a);
    if (lastBreak < 0) {
      pending.push(chunk);
      pendingBytes += chunk.length;
      if (pendingBytes > longestLine) {
        throw new ElectraError(
          "ERR_ELECTRA_TEXT",
          `${path}: line ${await lineAt(path, lineStart)} is longer than ${longestLine} bytes`,
          {
            hint: "a corpus needs one sentence a line",
          },
        );
      }
      continue;
    }
    const whole = chunk.subarray(0, lastBreak);
    const bytes = pending.length === 0 ? whole : Buffer.concat([...pending, whole]);
    yield await check(bytes);
    lineStart += bytes.length + 1;
    pending = [chunk.subarray(lastBreak + 1)];
    pendingBytes = chunk.length - lastBreak - 1;
  }
  if (pendingBytes > 0) {
    yield await check(Buffer.concat(pending));
  }
}

/** Number of the line that begins at an offset of the text. Counted only for a message: it reads the file again. */
async function lineAt(path: string, offset: number): Promise<number> {
  let line = 1;
  let start = 0;
  for await (const chunk of readChunks(path, {})) {
    const end = Math.min(chunk.length, offset - start);
    for (let index = 0; index < end; index++) {
      if (chunk[index] === 0x0a) {
        line++;
      }
    }
    start += chunk.length;
    if (start >= offset) {
      break;
    }
  }
  return line;
}

/**
 * Insists on UTF-8.
 *
 * @param source what the text is called in an error
 * @throws ElectraError `ERR_ELECTRA_TEXT`, naming source, line and byte
 */
export function requireUtf8(source: string, bytes: Buffer): void {
  if (!isUtf8(bytes)) {
    throw invalidText(source, bytes, 1, 0);
  }
}

async function* readChunks(path: string, options: ReadLinesOptions): AsyncGenerator<Buffer, void, undefined> {
  const file = createReadStream(path, { highWaterMark: options.chunkBytes ?? 1 << 18 });
  let stream: AsyncIterable<Buffer> = file;
  if (/\.gz$/i.test(path)) {
    const gunzip = createGunzip({ chunkSize: 1 << 18 });
    // pipe() does not hand errors on.
    file.on("error", (error) => gunzip.destroy(error));
    stream = file.pipe(gunzip);
  }
  try {
    for await (const chunk of stream) {
      options.onRead?.(file.bytesRead);
      yield chunk;
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (code.startsWith("Z_")) {
      throw new ElectraError("ERR_ELECTRA_TEXT", `${path}: broken gzip data: ${(error as Error).message}`, {
        cause: error,
        hint: "is the file complete, and really compressed with gzip?",
      });
    }
    throw fileFailure(error, "cannot read", path);
  } finally {
    file.destroy();
  }
}

/** Finds the first invalid byte of a run of lines. */
function invalidText(path: string, bytes: Buffer, firstLine: number, offset: number): ElectraError {
  let line = firstLine;
  let start = 0;
  for (;;) {
    const next = bytes.indexOf(0x0a, start);
    const end = next < 0 ? bytes.length : next;
    const content = bytes.subarray(start, end);
    if (!isUtf8(content)) {
      const at = firstInvalidByte(content);
      const value = content[at]!.toString(16).padStart(2, "0");
      return new ElectraError(
        "ERR_ELECTRA_TEXT",
        `${path}: line ${line}, byte ${at + 1} of the line (byte ${offset + start + at} of the text): 0x${value} is not valid UTF-8 here`,
        { hint: "convert the file to UTF-8, for example with iconv" },
      );
    }
    start = end + 1;
    line++;
  }
}

/** Offset of the first byte that cannot be part of UTF-8 text; a character that is cut off counts from its first byte. */
function firstInvalidByte(bytes: Buffer): number {
  // The length of the longest valid prefix. Characters take at most four bytes, so windows of the text can be tried from a
  // known boundary on.
  let start = 0;
  for (;;) {
    let length = Math.min(4096, bytes.length - start);
    while (!isUtf8(bytes.subarray(start, start + length))) {
      length--;
    }
    if (length < 4096 - 3 || start + length === bytes.length) {
      return start + length;
    }
    start += length;
  }
}
