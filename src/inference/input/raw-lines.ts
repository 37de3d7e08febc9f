import { createReadStream, type ReadStream } from "node:fs";
import { addAbortSignal, Readable } from "node:stream";
import { TextDecoder } from "node:util";
import { createGunzip } from "node:zlib";
import { ElectraError } from "../../errors.js";

export interface RawLinesOptions {
  readonly signal?: AbortSignal;
  /** What `-` stands for. Default: standard input. */
  readonly input?: AsyncIterable<Uint8Array | string>;
  /** Lines of a block at most. Default: all that have arrived. */
  readonly maxLines?: number;
  /** Called with the bytes of a file that were read so far, compressed ones where it is. */
  readonly onBytes?: (bytes: number) => void;
}

/** A line without its end. */
export interface RawLine {
  readonly text: string;
  /** From 1. */
  readonly line: number;
}

/**
 * The lines of a text file in blocks as they arrive. Lines end at LF; a carriage return before it is part of the line, a byte
 * order mark at the beginning is not. A file whose name ends in `.gz` is decompressed.
 *
 * @param source path, or `-` for standard input
 * @throws ElectraError `ERR_ELECTRA_FILE`, `ERR_ELECTRA_TEXT` (not UTF-8)
 */
export async function* rawLineBlocks(
  source: string,
  options: RawLinesOptions = {},
): AsyncGenerator<RawLine[], void, undefined> {
  const { signal, onBytes, maxLines = Infinity } = options;
  const name = source === "-" ? "standard input" : source;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let line = 0;
  let rest = "";
  const blocksOf = function* (lines: readonly string[]): Generator<RawLine[]> {
    for (let first = 0; first < lines.length; first += maxLines) {
      yield lines.slice(first, first + maxLines).map((text) => ({ text, line: ++line }));
    }
  };
  const { bytes, file } = openSource(source, options);
  for await (const chunk of chunksOf(bytes, name)) {
    signal?.throwIfAborted();
    if (file !== undefined) onBytes?.(file.bytesRead);
    const lines = (rest + decode(decoder, chunk, name)).split("\n");
    rest = lines.pop()!;
    yield* blocksOf(lines);
  }
  rest += decode(decoder, undefined, name);
  if (rest !== "") yield* blocksOf([rest]);
}

function openSource(
  source: string,
  { signal, input = process.stdin }: RawLinesOptions,
): { readonly bytes: AsyncIterable<Uint8Array | string>; readonly file?: ReadStream } {
  if (source === "-") {
    if (signal !== undefined && input instanceof Readable) addAbortSignal(signal, input);
    return { bytes: input };
  }
  const file = createReadStream(source);
  if (signal !== undefined) addAbortSignal(signal, file);
  if (!source.endsWith(".gz")) return { bytes: file, file };
  const plain = createGunzip();
  file.on("error", (error) => plain.destroy(error));
  return { bytes: file.pipe(plain), file };
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
