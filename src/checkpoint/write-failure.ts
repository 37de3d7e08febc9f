import { statfs } from "node:fs/promises";
import { ElectraError } from "../errors.js";

/**
 * Turns an operating system's error while writing into one that says what to do. Errors of ours pass through.
 *
 * @param what the thing that was being written, e.g. "checkpoint of step 200"
 * @param folder a folder on the same disk that exists
 * @param kept what is still good, named in the hint
 */
export async function describeWriteFailure(
  error: unknown,
  what: string,
  folder: string,
  kept: string | undefined,
): Promise<unknown> {
  if (error instanceof ElectraError) return error;
  const { code, path, message } = error as NodeJS.ErrnoException;
  const place = path ?? folder;
  const rest = kept === undefined ? "" : ` The last good one is ${kept}.`;
  switch (code) {
    case "ENOSPC":
    case "EDQUOT": {
      const free = await freeMegabytes(folder);
      return new ElectraError(
        "ERR_ELECTRA_DISK_FULL",
        `no space left for the ${what} at ${place}${free === undefined ? "" : ` (${free} MB free)`}`,
        { hint: `Make room on this disk, or lower keep_checkpoint_max, and run again.${rest}`, cause: error },
      );
    }
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new ElectraError("ERR_ELECTRA_NO_PERMISSION", `no permission to write the ${what} at ${place}`, {
        hint: `Make ${folder} writable for this user, or choose another folder.${rest}`,
        cause: error,
      });
    default:
      return new ElectraError("ERR_ELECTRA_WRITE", `could not write the ${what} at ${place}: ${message}`, {
        ...(rest === "" ? {} : { hint: rest.trim() }),
        cause: error,
      });
  }
}

async function freeMegabytes(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return Math.floor((bavail * bsize) / 1e6);
  } catch {
    return undefined;
  }
}
