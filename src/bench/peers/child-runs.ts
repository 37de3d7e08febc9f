import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import { ElectraError } from "../../errors.js";

export interface ChildOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

type Document = Readonly<Record<string, unknown>>;

function start(command: readonly string[], options: ChildOptions): ChildProcessWithoutNullStreams {
  const [program, ...args] = command;
  return spawn(program!, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    signal: options.signal,
  });
}

/** Keeps the end of what a program says, for the message when it fails. */
class Tail {
  #text = "";

  constructor(stream: NodeJS.ReadableStream) {
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      this.#text = (this.#text + chunk).slice(-2000);
    });
  }

  lines(count: number): string {
    return this.#text.trim().split("\n").slice(-count).join("\n");
  }
}

function failure(command: readonly string[], what: string, said: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_BENCHMARK", `${command.join(" ")}: ${what}`, {
    ...(said === "" ? {} : { hint: said }),
  });
}

/**
 * Runs a program to its end and gives the JSON document that it prints.
 *
 * @throws ElectraError `ERR_ELECTRA_BENCHMARK` with the end of what it said, when it fails or prints something else
 */
export async function runForJson(command: readonly string[], options: ChildOptions): Promise<Document> {
  const child = start(command, options);
  child.stdin.end();
  const said = new Tail(child.stderr);
  let text = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (chunk: string) => {
    text += chunk;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code !== 0) throw failure(command, `exit code ${code}`, said.lines(5));
  try {
    return JSON.parse(text) as Document;
  } catch {
    throw failure(command, "printed no JSON document", said.lines(5));
  }
}

/**
 * A peer that prepares once and then runs when told to, so that runs of both sides can alternate: after its line
 * `{"event": "ready", …}` it answers each line `run N` on stdin with `{"event": "run", …}`, or with `{"event": "error", "message": …}`.
 */
export class ServedPeer {
  readonly ready: Document;
  readonly #command: readonly string[];
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #said: Tail;

  private constructor(
    command: readonly string[],
    child: ChildProcessWithoutNullStreams,
    lines: AsyncIterator<string>,
    said: Tail,
    ready: Document,
  ) {
    this.#command = command;
    this.#child = child;
    this.#lines = lines;
    this.#said = said;
    this.ready = ready;
  }

  /** @throws ElectraError `ERR_ELECTRA_BENCHMARK` when it cannot prepare; the signal's reason after an abort */
  static async start(command: readonly string[], options: ChildOptions): Promise<ServedPeer> {
    const child = start(command, options);
    const said = new Tail(child.stderr);
    // A program that cannot be started, or was aborted, ends its output too; that is where it is noticed.
    let cause: Error | undefined;
    child.on("error", (error) => {
      cause = error;
    });
    child.stdin.on("error", () => {});
    const reader: Interface = createInterface({ input: child.stdout });
    const lines = reader[Symbol.asyncIterator]();
    try {
      const ready = await nextDocument(command, lines, said, "ready");
      return new ServedPeer(command, child, lines, said, ready);
    } catch (error) {
      child.kill();
      options.signal?.throwIfAborted();
      throw cause === undefined ? error : failure(command, cause.message, said.lines(5));
    }
  }

  /** The figures of a run of `steps` steps. */
  async run(steps: number): Promise<Document> {
    this.#child.stdin.write(`run ${steps}\n`);
    return await nextDocument(this.#command, this.#lines, this.#said, "run");
  }

  /** Ends it; resolves when it is gone, so that its memory is free. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => this.#child.once("close", () => resolve()));
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill(), 5000);
    await gone;
    clearTimeout(timer);
  }
}

async function nextDocument(
  command: readonly string[],
  lines: AsyncIterator<string>,
  said: Tail,
  event: string,
): Promise<Document> {
  for (;;) {
    const { value, done } = await lines.next();
    if (done === true) throw failure(command, "ended before it answered", said.lines(5));
    if (!value.startsWith("{")) continue;
    const document = JSON.parse(value) as Document;
    if (document["event"] === event) return document;
    if (document["event"] === "error") throw failure(command, String(document["message"]), said.lines(5));
  }
}

/** Numbers of a document, and the medians of its spreads; the rest is left out. */
export function numbersOf(document: Document): Record<string, number> {
  return Object.fromEntries(
    Object.entries(document)
      .map(([key, value]) => [key, (value as { readonly median?: unknown } | null)?.median ?? value] as const)
      .filter((entry): entry is [string, number] => typeof entry[1] === "number"),
  );
}
