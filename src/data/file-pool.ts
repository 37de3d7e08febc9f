import { close, open, read, readSync } from "node:fs";
import { fileFailure } from "./file-failure.js";

interface OpenFile {
  readonly descriptor: number;
  users: number;
}

/** Options of {@link FilePool}. */
export interface FilePoolOptions {
  /** Files that are open at once, at most, beside those in use (default 512). */
  readonly limit?: number;
  /** Milliseconds after which a read cannot have come from the system's cache (default 1). */
  readonly slowRead?: number;
}

/** Reads in the background after a slow one, before the next is tried at once; twice as many each time that one is slow, too. */
const fewestInBackground = 256;
const mostInBackground = 16_384;

/**
 * Reads from many files at random places while at most `limit` of them are open. The files used last stay open.
 *
 * Reads are tried at once first: what lies in the system's cache is there in a microsecond or two, whereas handing a read to
 * another thread and back takes seven of this one's. A slow one sends the next hundreds to the background, and more and more
 * while the reads tried between them are slow, so that a cold disk stops this thread for one read in thousands. Callbacks instead of promises, for there are tens of thousands a
 * second.
 */
export class FilePool {
  readonly #paths: readonly string[];
  readonly #limit: number;
  readonly #slowRead: number;
  /** Open files by number, the one used last at the end. */
  readonly #open = new Map<number, OpenFile>();
  readonly #opening = new Map<number, ((error: unknown, file?: OpenFile) => void)[]>();
  #closed = false;
  /** Reads that are still to be made in the background. */
  #background = 0;
  /** How many there will be after the next slow one. */
  #backgroundAfterSlow = fewestInBackground;

  constructor(paths: readonly string[], options: FilePoolOptions = {}) {
    this.#paths = paths;
    this.#limit = options.limit ?? 512;
    this.#slowRead = options.slowRead ?? 1;
  }

  /** Fills `target[at, at + length)` with the bytes at `offset` of file number `file`; `done` may be called at once. */
  read(
    file: number,
    target: Uint8Array,
    at: number,
    length: number,
    offset: number,
    done: (error: unknown) => void,
  ): void {
    this.#acquire(file, (error, opened) => {
      if (opened === undefined) {
        done(error);
        return;
      }
      const finish = (failure: unknown, bytesRead: number): void => {
        opened.users--;
        this.#closeSurplus();
        if (failure !== null) {
          done(fileFailure(failure, "cannot read", this.#paths[file]!));
        } else if (bytesRead !== length) {
          done(
            fileFailure(
              new Error("it is shorter than when it was opened"),
              "cannot read",
              this.#paths[file]!,
            ),
          );
        } else {
          done(undefined);
        }
      };
      if (this.#background > 0) {
        this.#background--;
        read(opened.descriptor, target, at, length, offset, finish);
      } else {
        this.#readAtOnce(opened.descriptor, target, at, length, offset, finish);
      }
    });
  }

  /** Closes all files; reads under way end first. */
  close(): void {
    this.#closed = true;
    this.#closeSurplus();
  }

  #readAtOnce(
    descriptor: number,
    target: Uint8Array,
    at: number,
    length: number,
    offset: number,
    finish: (failure: unknown, bytesRead: number) => void,
  ): void {
    const started = performance.now();
    let bytesRead = 0;
    let failure: unknown = null;
    try {
      bytesRead = readSync(descriptor, target, at, length, offset);
    } catch (error) {
      failure = error;
    }
    if (performance.now() - started > this.#slowRead) {
      this.#background = this.#backgroundAfterSlow;
      this.#backgroundAfterSlow = Math.min(2 * this.#background, mostInBackground);
    } else {
      this.#backgroundAfterSlow = fewestInBackground;
    }
    finish(failure, bytesRead);
  }

  #acquire(file: number, done: (error: unknown, file?: OpenFile) => void): void {
    const opened = this.#open.get(file);
    if (opened !== undefined) {
      opened.users++;
      this.#open.delete(file);
      this.#open.set(file, opened);
      done(undefined, opened);
      return;
    }
    const path = this.#paths[file]!;
    if (this.#closed) {
      done(fileFailure(new Error("the data set is closed"), "cannot read", path));
      return;
    }
    const waiting = this.#opening.get(file);
    if (waiting !== undefined) {
      waiting.push(done);
      return;
    }
    const all = [done];
    this.#opening.set(file, all);
    open(path, "r", (error, descriptor) => {
      this.#opening.delete(file);
      if (error !== null) {
        const failure = fileFailure(error, "cannot open", path);
        for (const each of all) {
          each(failure);
        }
        return;
      }
      const entry: OpenFile = { descriptor, users: all.length };
      this.#open.set(file, entry);
      for (const each of all) {
        each(undefined, entry);
      }
    });
  }

  #closeSurplus(): void {
    if (!this.#closed && this.#open.size <= this.#limit) {
      return;
    }
    for (const [file, entry] of this.#open) {
      if (!this.#closed && this.#open.size <= this.#limit) {
        return;
      }
      if (entry.users === 0) {
        this.#open.delete(file);
        // Nothing is lost when closing a file that was only read fails.
        close(entry.descriptor, () => undefined);
      }
    }
  }
}
