import { ElectraError } from "../errors.js";

const remedies: Readonly<Record<string, string>> = {
  ENOENT: "check the path",
  EACCES: "check the permissions of the file and of its folder",
  EPERM: "check the permissions of the file and of its folder",
  EROFS: "the file system is read-only: choose another folder",
  ENOSPC: "the disk is full: free some space or choose another folder",
  EDQUOT: "your disk quota is used up: free some space or choose another folder",
  ENOTDIR: "a part of the path is a file, not a folder",
  EISDIR: "this is a folder, a file is needed",
  EMFILE: "too many open files: raise the limit (ulimit -n)",
};

/**
 * Turns an error of the file system into an `ElectraError` (`ERR_ELECTRA_FILE`) that says what was tried, where, why it
 * failed, and what to do. Errors that are already ours pass unchanged.
 *
 * @param what the action in words, such as "cannot write"
 */
export function fileFailure(error: unknown, what: string, path: string): ElectraError {
  if (error instanceof ElectraError) {
    return error;
  }
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const reason = error instanceof Error ? error.message : String(error);
  const hint = code === undefined ? undefined : remedies[code];
  return new ElectraError("ERR_ELECTRA_FILE", `${what} ${path}: ${reason}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
