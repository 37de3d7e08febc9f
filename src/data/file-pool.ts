import { close, open, read } from "node:fs";
import { fileFailure } from "./file-failure.js";

interface OpenFile {
  readonly descriptor: number;
  users: number;
}

/**
 * Reads from many files at random places while at most `limit` of them are open. The files used last stay open. Callbacks
 * instead of promises: a read costs a few microseconds, and there are tens of thousands a second.
 */
export class FilePool {
  readonly #paths: readonly string[];
  readonly #limit: number;
  /** Open files by number, the one used last at the end. */
  readonly #open = new Map<number, OpenFile>();
  readonly #opening = new Map<number, ((error: unknown, file?: OpenFile) => void)[]>();
  #closed = false;

  constructor(paths: readonly string[], limit = 512) {
    this.#paths = paths;
    this.#limit = limit;
  }

  /** Fills `target[at, at + length)` with the bytes at `offset` of file number `file`. */
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
      read(opened.descriptor, target, at, length, offset, (failure, bytesRead) => {
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
      });
    });
  }

  /** Closes all files; reads under way end first. */
  close(): void {
    this.#closed = true;
    this.#closeSurplus();
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
