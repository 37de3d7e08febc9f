import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import unbzip2Stream from "unbzip2-stream";
import xz from "xz-decompress";

/** How a file is compressed. */
export type Compression = "none" | "gzip" | "bzip2" | "xz";

/** Tells the compression by a file's first six bytes; its name does not matter. */
export function detectCompression(start: Uint8Array): Compression {
  const text = Buffer.from(start.subarray(0, 6)).toString("latin1");
  if (text.startsWith("\xfd7zXZ\0")) {
    return "xz";
  }
  if (text.startsWith("\x1f\x8b")) {
    return "gzip";
  }
  return /^BZh[1-9]/.test(text) ? "bzip2" : "none";
}

/** What the decoder of xz means by its numbers. */
const xzReasons: Readonly<Record<string, string>> = {
  "2": "a kind of check sum that cannot be checked",
  "3": "not enough memory",
  "5": "not xz data",
  "6": "an option of xz that is not supported",
  "7": "a wrong check sum or damaged data",
  "8": "the data ends early",
};

/**
 * Decompresses a stream.
 *
 * @param file the compressed file; the caller destroys it
 * @throws Error with the reason for damaged data; errors of the file pass unchanged
 */
export async function* decompress(
  file: Readable,
  compression: Compression,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (compression === "none") {
    yield* file as AsyncIterable<Buffer>;
  } else if (compression === "gzip") {
    const gunzip = createGunzip();
    // pipe() does not hand errors on.
    file.on("error", (error) => gunzip.destroy(error));
    yield* file.pipe(gunzip) as AsyncIterable<Buffer>;
  } else if (compression === "bzip2") {
    yield* bunzip2(file as AsyncIterable<Buffer>);
  } else {
    const stream = new xz.XzReadableStream(
      Readable.toWeb(file) as ConstructorParameters<typeof xz.XzReadableStream>[0],
    );
    try {
      // Leaving the loop early cancels the stream, which the next one waits for.
      for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
        yield chunk;
      }
    } catch (error) {
      const code = /error code (\d+)/.exec(String(error))?.[1];
      throw code === undefined ? error : new Error(xzReasons[code] ?? `xz error ${code}`, { cause: error });
    }
  }
}

/** The decoder works inside `write`; driven by hand it decodes no faster than the data are taken. */
async function* bunzip2(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const decoder = unbzip2Stream();
  const decoded: Uint8Array[] = [];
  const failures: Error[] = [];
  decoder.on("data", (chunk) => decoded.push(chunk));
  decoder.on("error", (error) => failures.push(error));
  const check = (): void => {
    const failure = failures[0];
    if (failure !== undefined) {
      // Out of input, the decoder stumbles over a missing buffer.
      throw failure instanceof TypeError ? new Error("the data ends early", { cause: failure }) : failure;
    }
  };
  for await (const chunk of chunks) {
    decoder.write(chunk);
    check();
    yield* decoded.splice(0);
  }
  decoder.end();
  check();
  yield* decoded.splice(0);
}
