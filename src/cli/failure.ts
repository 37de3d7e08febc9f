import { ElectraError } from "../errors.js";

/** A failure as it is shown: to people on stderr, with `--json` as `{"error": …}` on stdout. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly exitCode: 1 | 2;
}

/** What an error is to the person who typed the command. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof ElectraError) {
    const { code, message, hint = null, exitCode } = error;
    return { code, message, hint, exitCode };
  }
  const message = error instanceof Error ? error.message : String(error);
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (code !== undefined && syscall !== undefined) {
    return { code: "ERR_ELECTRA_SYSTEM", message, hint: null, exitCode: 1 };
  }
  return {
    code: "ERR_ELECTRA_UNEXPECTED",
    message,
    hint: "This should not happen. Run it again with --debug and report what it prints.",
    exitCode: 1,
  };
}

/** Stack and causes, for `--debug`. */
export function formatStack(error: unknown): string {
  const parts: string[] = [];
  for (let current = error; current instanceof Error; current = current.cause) {
    parts.push(`${parts.length === 0 ? "" : "caused by: "}${current.stack ?? current.message}`);
  }
  return parts.join("\n");
}
