import type { Command } from "commander";
import { ElectraError } from "../errors.js";
import type { Output } from "./output.js";

/** What a command is given besides its options. */
export interface CommandContext {
  readonly output: Output;
  /** Aborted by the first SIGINT or SIGTERM: finish what is under way, save, return. */
  readonly signal: AbortSignal;
}

/** Runs a command. Returns its exit code; nothing means 0. Operands come in the order they were declared. */
export type CommandHandler<Options> = (
  context: CommandContext,
  options: Options,
  operands: readonly (string | undefined)[],
) => Promise<number | undefined>;

/**
 * A command's own file. It must be light (commander alone): what does the work is imported by the handler, so
 * that `--help` loads neither the schema nor the addon.
 */
export interface CommandModule {
  /** Adds options, operands and examples; returns what to do. */
  define(command: Command): CommandHandler<never>;
}

/**
 * Complains about missing options by name. Commander's own `requiredOption` is checked first and would hide the
 * suggestion for a misspelt one.
 *
 * @param required option names as typed, with their values by attribute name
 */
export function requireOptions(required: Readonly<Record<`--${string}`, unknown>>): void {
  const missing = Object.entries(required)
    .filter(([, value]) => value === undefined)
    .map(([name]) => name);
  if (missing.length > 0) {
    throw new ElectraError("ERR_ELECTRA_USAGE", `${missing.join(", ")} not given`, {
      hint: "The command's --help shows what it takes.",
      exitCode: 2,
    });
  }
}
