import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import type { CliIo } from "../../../src/cli/cli-io.js";
import { main } from "../../../src/cli/main.js";

// Colours would depend on who runs the tests.
delete process.env["FORCE_COLOR"];
process.env["NO_COLOR"] = "1";

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that a command can talk to, without being one. */
export function fakeIo(): CliIo & {
  readonly signals: EventEmitter;
  readonly exits: number[];
  text(stream: "stdout" | "stderr"): string;
} {
  const texts = { stdout: "", stderr: "" };
  const stream = (name: "stdout" | "stderr"): NodeJS.WriteStream => {
    const pass = Object.assign(new PassThrough(), { isTTY: false, columns: 100 });
    pass.on("data", (chunk) => {
      texts[name] += chunk;
    });
    return pass as unknown as NodeJS.WriteStream;
  };
  const exits: number[] = [];
  return {
    stdout: stream("stdout"),
    stderr: stream("stderr"),
    signals: new EventEmitter(),
    exits,
    exit: (code) => void exits.push(code),
    text: (name) => texts[name],
  };
}

/** Runs a command line in this process. */
export async function runCli(...argv: readonly string[]): Promise<CliResult> {
  const io = fakeIo();
  const code = await main(argv, io);
  return { code, stdout: io.text("stdout"), stderr: io.text("stderr") };
}
