import { createReadStream } from "node:fs";
import { addAbortSignal, Readable } from "node:stream";
import { TextDecoder } from "node:util";
import { ElectraError } from "../errors.js";
import type { TextLine } from "../inference/text-lines.js";
import { stripWhiteSpace } from "../tokenization/white-space.js";

export interface LineBlocksOptions {
  readonly signal?: AbortSignal;
  /** What `-` stands for. Default: standard input. */
  readonly input?: AsyncIterable<Uint8Array | string>;
  /** Lines of a block at most. Default 512. */
  readonly maxLines?: number;
}

/**
 * The lines of text files, stripped, in blocks as they arrive: whoever writes a line and waits gets his answer at once.
 * Blank lines are there too, so that the n-th answer belongs to the n-th line. `-`, or no file at all, is standard input.
 *
 * @throws ElectraError `ERR_ELECTRA_FILE`, `ERR_ELECTRA_TEXT` (not UTF-8)
 */
export async function* lineBlocks(
  files: readonly string[],
  options: LineBlocksOptions = {},
): AsyncGenerator<TextLine[]> {
  const { signal, input = process.stdin, maxLines = 512 } = options;
  for (const source of files.length === 0 ? ["-"] : files) {
    const name = source === "-" ? "standard input" : source;
    const bytes = source === "-" ? input : createReadStream(source);
    if (signal !== undefined && bytes instanceof Readable) addAbortSignal(signal, bytes);
    const decoder = new TextDecoder("utf-8", { fatal: true });
    let line = 0;
    let rest = "";
    const blocksOf = function* (lines: readonly string[]): Generator<TextLine[]> {
      for (let first = 0; first < lines.length; first += maxLines) {
        yield lines
          .slice(first, first + maxLines)
          .map((text) => ({ text: stripWhiteSpace(text), source, line: ++line }));
      }
    };
    for await (const chunk of chunksOf(bytes, name)) {
      signal?.throwIfAborted();
      const lines = (rest + decode(decoder, chunk, name)).split("\n");
      rest = lines.pop()!;
      yield* blocksOf(lines);
    }
    rest += decode(decoder, undefined, name);
    if (rest !== "") yield* blocksOf([rest]);
  }
}

async function* chunksOf(
  bytes: AsyncIterable<Uint8Array | string>,
  name: string,
): AsyncGenerator<Uint8Array | string> {
  try {
    yield* bytes;
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new ElectraError("ERR_ELECTRA_FILE", `cannot read ${name}: ${(error as Error).message}`, {
      hint: "Check the path.",
      cause: error,
      exitCode: 2,
    });
  }
}

function decode(decoder: TextDecoder, chunk: Uint8Array | string | undefined, name: string): string {
  try {
    if (chunk === undefined) return decoder.decode();
    return decoder.decode(typeof chunk === "string" ? Buffer.from(chunk) : chunk, { stream: true });
  } catch (error) {
    throw new ElectraError("ERR_ELECTRA_TEXT", `${name} is not valid UTF-8`, {
      hint: "Convert it, for instance with iconv -t UTF-8.",
      cause: error,
      exitCode: 2,
    });
  }
}
