import { readFile } from "node:fs/promises";
import { ElectraError } from "../errors.js";
import { stripWhiteSpace } from "../tokenization/white-space.js";

/** A line of text and where it stood. */
export interface TextLine {
  readonly text: string;
  /** The file's path, `-` for standard input. */
  readonly source: string;
  /** From 1. */
  readonly line: number;
}

/**
 * The lines of text files, stripped, blank ones left out. `-`, or no file at all, is standard input.
 *
 * @throws ElectraError `ERR_ELECTRA_FILE`, `ERR_ELECTRA_TEXT` (not UTF-8, or no text at all)
 */
export async function readTextLines(
  files: readonly string[],
  signal?: AbortSignal,
  input: AsyncIterable<Uint8Array | string> = process.stdin,
): Promise<TextLine[]> {
  const lines: TextLine[] = [];
  for (const source of files.length === 0 ? ["-"] : files) {
    const text = decode(source === "-" ? await readAll(input, signal) : await readText(source), source);
    for (const [index, line] of text.split("\n").entries()) {
      const stripped = stripWhiteSpace(line);
      if (stripped !== "") lines.push({ text: stripped, source, line: index + 1 });
    }
  }
  if (lines.length === 0) {
    throw new ElectraError("ERR_ELECTRA_TEXT", "there is no text: all lines are empty", {
      hint: "Give files with one text a line, or write lines to standard input.",
      exitCode: 2,
    });
  }
  return lines;
}

async function readText(path: string): Promise<Uint8Array> {
  return await readFile(path).catch((error: unknown) => {
    throw new ElectraError("ERR_ELECTRA_FILE", `cannot read ${path}: ${(error as Error).message}`, {
      hint: "Check the path.",
      cause: error,
      exitCode: 2,
    });
  });
}

async function readAll(
  input: AsyncIterable<Uint8Array | string>,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of input) {
    signal?.throwIfAborted();
    chunks.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
  }
  return Buffer.concat(chunks);
}

function decode(bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ElectraError(
      "ERR_ELECTRA_TEXT",
      `${source === "-" ? "standard input" : source} is not valid UTF-8`,
      {
        hint: "Convert it, for instance with iconv -t UTF-8.",
        cause: error,
        exitCode: 2,
      },
    );
  }
}
