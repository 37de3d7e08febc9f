import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { fileFailure } from "../data/file-failure.js";
import { ElectraError } from "../errors.js";
import { Vocabulary } from "../tokenization/vocabulary.js";

/** What benchmarks of text are made with. */
export interface TextSource {
  readonly vocabulary: Vocabulary;
  /** UTF-8, decompressed. */
  readonly text: Buffer;
}

/**
 * Reads a vocabulary and a text, gunzipping what begins as gzip does.
 *
 * @throws ElectraError `ERR_ELECTRA_FILE`, `ERR_ELECTRA_TEXT` for an empty text or one that is not UTF-8,
 *   `ERR_ELECTRA_VOCABULARY_…`
 */
export async function readTextSource(files: { vocabFile: string; input: string }): Promise<TextSource> {
  const vocabulary = Vocabulary.parse((await read(files.vocabFile)).toString("utf8"), {
    source: files.vocabFile,
  });
  const bytes = await read(files.input);
  const text = bytes[0] === 0x1f && bytes[1] === 0x8b ? await unpack(files.input, bytes) : bytes;
  if (text.length === 0 || !isUtf8(text)) {
    const what = text.length === 0 ? "is empty" : "is not valid UTF-8";
    throw new ElectraError("ERR_ELECTRA_TEXT", `${files.input} ${what}`, {
      hint: "give a text file, plain or compressed with gzip",
      exitCode: 2,
    });
  }
  return { vocabulary, text };
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fileFailure(error, "cannot read", path);
  }
}

async function unpack(path: string, bytes: Buffer): Promise<Buffer> {
  try {
    return await promisify(gunzip)(bytes);
  } catch (error) {
    throw new ElectraError("ERR_ELECTRA_TEXT", `${path}: broken gzip data: ${(error as Error).message}`, {
      cause: error,
      hint: "is the file complete?",
      exitCode: 2,
    });
  }
}
