import { ElectraError } from "../errors.js";
import type { CliIo } from "./cli-io.js";
import type { Output } from "./output.js";

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * One Ctrl-C can arrive twice: from the terminal, which signals the whole process group, and from `npx`, which passes
 * it on; `timeout` does the same with SIGTERM. So a signal that follows this soon is not a second wish.
 */
const ECHO_MILLISECONDS = 500;

/**
 * Turns SIGINT and SIGTERM into an abort signal: the first lets the command finish its step, save and leave,
 * the second ends the process at once.
 */
export class Interruption {
  readonly #controller = new AbortController();
  readonly #io: Pick<CliIo, "signals" | "exit">;
  readonly #output: Output;
  readonly #listeners: readonly (readonly [keyof typeof EXIT_CODES, () => void])[];
  #received: keyof typeof EXIT_CODES | undefined;
  #receivedAt = 0;

  constructor(io: Pick<CliIo, "signals" | "exit">, output: Output) {
    this.#io = io;
    this.#output = output;
    this.#listeners = (["SIGINT", "SIGTERM"] as const).map((name) => [name, () => this.#receive(name)]);
    for (const [name, listener] of this.#listeners) io.signals.on(name, listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** 130 or 143 once a signal came. */
  get exitCode(): number | undefined {
    return this.#received === undefined ? undefined : EXIT_CODES[this.#received];
  }

  /** Whether an error is only the command's way of having stopped. */
  caused(error: unknown): boolean {
    if (this.#received === undefined) return false;
    return error === this.signal.reason || (error instanceof Error && error.name === "AbortError");
  }

  dispose(): void {
    for (const [name, listener] of this.#listeners) this.#io.signals.off(name, listener);
  }

  #receive(name: keyof typeof EXIT_CODES): void {
    if (this.#received !== undefined) {
      if (performance.now() - this.#receivedAt > ECHO_MILLISECONDS) this.#io.exit(EXIT_CODES[name]);
      return;
    }
    this.#received = name;
    this.#receivedAt = performance.now();
    this.#output.talk(`${name}: finishing what is under way; once more stops at once`);
    this.#controller.abort(new ElectraError("ERR_ELECTRA_INTERRUPTED", `stopped by ${name}`));
  }
}
