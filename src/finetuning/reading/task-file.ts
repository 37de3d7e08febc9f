import { isUtf8 } from "node:buffer";
import { access, readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { fileFailure } from "../../data/file-failure.js";
import { ElectraError } from "../../errors.js";

/** What a file of a task is looked for as. */
export interface FileSearch {
  readonly task: string;
  readonly split: string;
  /** Paths, the preferred one first. */
  readonly candidates: readonly string[];
  /** Folder that relative paths start from. */
  readonly folder: string;
}

/** The first candidate that exists, or undefined. */
export async function existingTaskFile({ folder, candidates }: FileSearch): Promise<string | undefined> {
  for (const candidate of candidates) {
    const path = resolve(folder, candidate);
    if (await access(path).then(always, never)) return path;
  }
  return undefined;
}

const always = () => true;
const never = () => false;

/**
 * The first candidate that exists.
 *
 * @throws ElectraError `ERR_ELECTRA_FILE_NOT_FOUND` that lists all of them
 */
export async function findTaskFile(search: FileSearch): Promise<string> {
  const path = await existingTaskFile(search);
  if (path !== undefined) return path;
  const [first, ...others] = search.candidates.map((candidate) => resolve(search.folder, candidate));
  throw new ElectraError(
    "ERR_ELECTRA_FILE_NOT_FOUND",
    `Task ${search.task} has no data for the split ${search.split}: there is no ${first}.`,
    {
      hint:
        others.length === 0
          ? "Put the file there."
          : `Put the file there; other accepted places: ${others.join(", ")}.`,
      exitCode: 2,
    },
  );
}

/**
 * Text of a file, unzipped if its content is gzip, without a byte order mark.
 *
 * @throws ElectraError `ERR_ELECTRA_FILE` (unreadable), `ERR_ELECTRA_TEXT` (broken gzip, not UTF-8)
 */
export async function readTaskText(path: string): Promise<string> {
  const raw = await readFile(path).catch((error: unknown) => {
    throw fileFailure(error, "cannot read", path);
  });
  const bytes = raw[0] === 0x1f && raw[1] === 0x8b ? unzip(raw, path) : raw;
  if (!isUtf8(bytes)) {
    const line = firstBadLine(bytes);
    throw new ElectraError("ERR_ELECTRA_TEXT", `${path}, line ${line}, is not UTF-8.`, {
      hint: "Convert the file to UTF-8, for example with: iconv -f latin1 -t utf-8",
    });
  }
  return bytes.toString("utf8").replace(/^\uFEFF/, "");
}

function unzip(raw: Buffer, path: string): Buffer {
  try {
    return gunzipSync(raw);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ElectraError("ERR_ELECTRA_TEXT", `${path} is damaged gzip data: ${reason}.`, {
      hint: "Fetch the file again.",
      cause,
    });
  }
}

function firstBadLine(bytes: Buffer): number {
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(0x0a, start);
    const stop = end < 0 ? bytes.length : end;
    if (!isUtf8(bytes.subarray(start, stop))) return line;
    start = stop + 1;
  }
  return line;
}
