import { gunzipSync } from "node:zlib";
import { ElectraError } from "../errors.js";

/** A regular file of a tar archive. */
export interface TarFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

const block = 512;

/**
 * The regular files of a gzipped tar archive as npm makes them (POSIX ustar; paths longer than that are not needed here).
 *
 * @param source name of the archive, for messages
 * @throws ElectraError `ERR_ELECTRA_TARBALL` for anything that is no such archive
 */
export function readTarball(gzipped: Uint8Array, source: string): TarFile[] {
  const damaged = (reason: string, cause?: unknown): never => {
    throw new ElectraError("ERR_ELECTRA_TARBALL", `${source} is no intact .tgz archive: ${reason}`, {
      hint: "Delete it and run again; it is fetched anew.",
      cause,
    });
  };
  let tar: Buffer;
  try {
    tar = gunzipSync(gzipped);
  } catch (error) {
    return damaged((error as Error).message, error);
  }
  const text = (start: number, length: number): string => {
    const field = tar.subarray(start, start + length);
    const end = field.indexOf(0);
    return field.toString("utf8", 0, end < 0 ? length : end);
  };
  const files: TarFile[] = [];
  for (let at = 0; at + block <= tar.length; ) {
    // Two empty blocks end the archive; one is enough to know.
    if (tar[at] === 0) return files;
    const size = Number.parseInt(text(at + 124, 12).trim() || "0", 8);
    if (!Number.isSafeInteger(size) || size < 0) damaged(`a size is not a number at byte ${at}`);
    if (headerSum(tar, at) !== Number.parseInt(text(at + 148, 8).trim(), 8))
      damaged(`check sum at byte ${at}`);
    if (at + block + size > tar.length) damaged("it ends inside a file");
    const type = String.fromCharCode(tar[at + 156]!);
    if (type === "0" || type === "\0") {
      const prefix = text(at + 345, 155);
      const name = text(at, 100);
      files.push({
        path: prefix === "" ? name : `${prefix}/${name}`,
        bytes: tar.subarray(at + block, at + block + size),
      });
    }
    at += block + Math.ceil(size / block) * block;
  }
  return damaged("its end is missing");
}

/** Sum of the header's bytes, the eight of the sum itself counted as spaces. */
function headerSum(tar: Uint8Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < block; i++) sum += i >= 148 && i < 156 ? 0x20 : tar[at + i]!;
  return sum;
}
