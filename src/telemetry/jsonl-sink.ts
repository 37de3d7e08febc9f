import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { EventSink } from "./event-sink.js";
import type { RunEvent } from "./run-event.js";

/**
 * Appends every event to a JSON-lines file. Each line is handed to the operating system before `emit`
 * returns, so it survives any death of the process.
 */
export class JsonlSink implements EventSink {
  #descriptor: number | undefined;

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.#descriptor = openSync(path, "a");
  }

  emit(event: RunEvent): void {
    if (this.#descriptor === undefined) throw new Error("the event log is closed");
    writeSync(this.#descriptor, `${JSON.stringify(event, finiteOrText)}\n`);
  }

  async close(): Promise<void> {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

/** JSON has no NaN or Infinity and would make them null; here they are the news. */
function finiteOrText(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}

/**
 * Cuts an event log back to a checkpoint's step before a run continues from it: everything from the first
 * event of a later step on goes, and so does a last line that a crash left incomplete. Without a file nothing
 * happens.
 *
 * @returns how many bytes were cut off
 */
export async function truncateToStep(path: string, step: number): Promise<number> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  }
  try {
    const { size } = await handle.stat();
    const keep = await endOfStep(handle, step);
    if (keep < size) {
      await handle.truncate(keep);
      await handle.sync();
    }
    return size - keep;
  } finally {
    await handle.close();
  }
}

const NEWLINE = 0x0a;
const READ_BYTES = 1 << 16;

/** Offset behind the last whole line before the first event of a later step. */
async function endOfStep(handle: FileHandle, step: number): Promise<number> {
  let pending = Buffer.alloc(0);
  let lineStart = 0;
  let position = 0;
  for (;;) {
    const block = Buffer.alloc(READ_BYTES);
    const { bytesRead } = await handle.read(block, 0, READ_BYTES, position);
    if (bytesRead === 0) return lineStart;
    position += bytesRead;
    pending = Buffer.concat([pending, block.subarray(0, bytesRead)]);
    let from = 0;
    for (let at = pending.indexOf(NEWLINE); at !== -1; at = pending.indexOf(NEWLINE, from)) {
      if (stepOf(pending.toString("utf8", from, at)) > step) return lineStart;
      lineStart += at + 1 - from;
      from = at + 1;
    }
    pending = pending.subarray(from);
  }
}

function stepOf(line: string): number {
  try {
    const { step } = JSON.parse(line) as { step?: unknown };
    return typeof step === "number" ? step : 0;
  } catch {
    // A damaged line in the middle says nothing about the ones behind it.
    return 0;
  }
}
