/**
 * The one error class of the shell. Every failure that a user can cause or mend carries a stable `code`
 * (`ERR_ELECTRA_…`), a message that says what happened, with the value and the place, and a `hint`: what to do.
 */
export interface ElectraErrorOptions {
  /** The command, setting or action that mends it; printed on its own line. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Process exit code when it ends a command: 2 for usage and configuration, 1 (default) otherwise. */
  readonly exitCode?: 1 | 2;
}

export class ElectraError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  readonly exitCode: 1 | 2;

  constructor(code: `ERR_ELECTRA_${string}`, message: string, options: ElectraErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ElectraError";
    this.code = code;
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? 1;
  }
}
