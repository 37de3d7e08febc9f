import { mkdir, readdir, readFile, realpath } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import type { DurableFiles } from "../checkpoint/durable-files.js";
import { describeWriteFailure } from "../checkpoint/write-failure.js";
import { ElectraError } from "../errors.js";

/** Says of a folder that it is an export of ours, and of what. Only such a folder is ever replaced. */
export const EXPORT_FILE = "export.json";

export interface OutputFolderOptions {
  readonly path: string;
  /** The model that is exported; a folder that it lies in is never replaced. */
  readonly model: string;
  /** Replace an export that lies there. Default false. */
  readonly overwrite?: boolean;
  readonly files: DurableFiles;
}

/**
 * Makes a folder all at once: `write` fills a temporary one beside it, which takes the name when `write` is done. If it
 * fails, or the process ends, what was there before is untouched.
 *
 * @param write is given the temporary folder and must leave an {@link EXPORT_FILE} in it
 * @throws ElectraError `ERR_ELECTRA_OUTPUT_FOLDER`, `ERR_ELECTRA_DISK_FULL`, `ERR_ELECTRA_NO_PERMISSION`,
 *   `ERR_ELECTRA_WRITE`
 */
export async function writeOutputFolder<T>(
  { path, model, overwrite = false, files }: OutputFolderOptions,
  write: (folder: string) => Promise<T>,
): Promise<T> {
  await refuseOthers(path, model, overwrite);
  const parent = dirname(resolve(path));
  const temporary = `${resolve(path)}.tmp-${process.pid}`;
  const replaced = `${resolve(path)}.old-${process.pid}`;
  try {
    await mkdir(parent, { recursive: true });
    await files.remove(temporary);
    await files.makeFolder(temporary);
    try {
      const result = await write(temporary);
      await files.syncFolder(temporary);
      const there = (await namesIn(path)) !== undefined;
      if (there) await files.rename(resolve(path), replaced);
      try {
        await files.rename(temporary, resolve(path));
      } catch (error) {
        if (there) await files.rename(replaced, resolve(path));
        throw error;
      }
      await files.syncFolder(parent);
      await files.remove(replaced);
      return result;
    } catch (error) {
      await files.remove(temporary).catch(() => {});
      throw error;
    }
  } catch (error) {
    throw await describeWriteFailure(error, "export", parent, undefined);
  }
}

/** An empty folder may be there; an export of ours with `overwrite`; anything else is somebody's. */
async function refuseOthers(path: string, model: string, overwrite: boolean): Promise<void> {
  const names = await namesIn(path);
  if (names === undefined || names.length === 0) return;
  if (
    `${await realpath(model).catch(() => resolve(model))}${sep}`.startsWith(`${await realpath(path)}${sep}`)
  ) {
    throw new ElectraError("ERR_ELECTRA_OUTPUT_FOLDER", `${path} holds the model that is to be exported`, {
      hint: "Give another --output-dir.",
      exitCode: 2,
    });
  }
  const ours = await readFile(join(path, EXPORT_FILE), "utf8").then(
    () => true,
    () => false,
  );
  if (ours && overwrite) return;
  const holds = `${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`;
  throw new ElectraError("ERR_ELECTRA_OUTPUT_FOLDER", `${path} is not empty: it holds ${holds}`, {
    hint: ours
      ? "It is an export: give --overwrite to replace it, or another --output-dir."
      : `It is no export of ours (it has no ${EXPORT_FILE}), so it is not replaced: give another --output-dir.`,
    exitCode: 2,
  });
}

/** Names in a folder; undefined where there is nothing. */
async function namesIn(path: string): Promise<string[] | undefined> {
  try {
    return await readdir(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new ElectraError("ERR_ELECTRA_OUTPUT_FOLDER", `${path} cannot be an output folder: ${message}`, {
      hint: "Give the path of a folder, there or not.",
      cause: error,
      exitCode: 2,
    });
  }
}
