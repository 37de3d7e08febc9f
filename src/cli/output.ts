import { styleText } from "node:util";
import type { CliIo } from "./cli-io.js";

/** A row of a two-column listing. */
export type ListingRow = readonly [name: string, value: string];

/**
 * Where a command writes: stdout is data (a table for people or, with `--json`, exactly one document), stderr
 * is talk. Colours obey NO_COLOR, FORCE_COLOR and whether the stream is a terminal.
 */
export class Output {
  /** Whether `--json` was given. */
  readonly json: boolean;
  readonly #io: Pick<CliIo, "stdout" | "stderr">;

  constructor(io: Pick<CliIo, "stdout" | "stderr">, json: boolean) {
    this.#io = io;
    this.json = json;
  }

  /** The stream for talk, for progress displays. */
  get talkStream(): NodeJS.WriteStream {
    return this.#io.stderr;
  }

  /** The result of a command: the document with `--json`, else the text. Call it once. */
  result(document: unknown, text: string): void {
    this.#io.stdout.write(this.json ? `${JSON.stringify(document, null, 2)}\n` : ensureNewline(text));
  }

  /** A part of a result that is written as it comes. Resolves when its reader keeps up, so that nothing piles up here. */
  async data(text: string): Promise<void> {
    const { stdout } = this.#io;
    if (stdout.write(text) || stdout.destroyed) return;
    await new Promise<void>((resolve) => {
      const settle = () => {
        stdout.off("drain", settle).off("close", settle);
        resolve();
      };
      stdout.on("drain", settle).on("close", settle);
    });
  }

  /** A line for the person watching. */
  talk(line: string): void {
    this.#io.stderr.write(`${line}\n`);
  }

  warn(message: string, hint?: string): void {
    this.talk(`${this.#style("yellow", "warning:")} ${message}${hint === undefined ? "" : `\n  ${hint}`}`);
  }

  error(message: string, hint?: string): void {
    this.talk(`${this.#style("red", "error:")} ${message}${hint === undefined ? "" : `\n  ${hint}`}`);
  }

  /** The command to type after this one. */
  next(command: string): void {
    this.talk(`\nNext:\n  ${this.#style("bold", command)}`);
  }

  #style(style: "yellow" | "red" | "bold", text: string): string {
    return styleText(style, text, { stream: this.#io.stderr });
  }
}

/** Two columns, the first padded to its widest entry. */
export function formatListing(rows: readonly ListingRow[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join("\n");
}

/** Quotes an argument for a POSIX shell where it needs it, so that a printed command can be copied. */
export function shellQuote(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

function ensureNewline(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}
