import { type FileHandle, open } from "node:fs/promises";
import { ElectraError } from "../errors.js";

/** Bytes that are read piece by piece: a file, or something that stands for one. */
export interface ByteSource {
  /** Named in messages. */
  readonly path: string;
  /** Bytes in all. */
  readonly size: number;
  /**
   * A copy of the bytes from `position` on, in a buffer of its own (so that views of any element size fit).
   *
   * @throws ElectraError `ERR_ELECTRA_FILE` when they are not there (any more)
   */
  read(position: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** Opens a file for reading by its path. */
export type OpenByteSource = (path: string) => Promise<ByteSource>;

/** A file on the disk. */
export class FileSource implements ByteSource {
  readonly path: string;
  readonly size: number;
  readonly #handle: FileHandle;

  private constructor(path: string, size: number, handle: FileHandle) {
    this.path = path;
    this.size = size;
    this.#handle = handle;
  }

  /** @throws ElectraError `ERR_ELECTRA_FILE_NOT_FOUND`, `ERR_ELECTRA_FILE` */
  static async open(path: string): Promise<FileSource> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, "r");
      const info = await handle.stat();
      if (info.isDirectory()) {
        throw new ElectraError("ERR_ELECTRA_FILE", `${path} is a folder, a file is needed`, { exitCode: 2 });
      }
      return new FileSource(path, info.size, handle);
    } catch (error) {
      await handle?.close();
      if (error instanceof ElectraError) throw error;
      if ((error as NodeJS.ErrnoException).code === "ENOENT") {
        throw new ElectraError("ERR_ELECTRA_FILE_NOT_FOUND", `${path} does not exist`, { cause: error });
      }
      throw new ElectraError("ERR_ELECTRA_FILE", `cannot open ${path}: ${(error as Error).message}`, {
        hint: "Check the file's permissions.",
        cause: error,
      });
    }
  }

  async read(position: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    checkRange(this, position, length);
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, position + done);
      if (bytesRead === 0) {
        throw new ElectraError(
          "ERR_ELECTRA_FILE",
          `${this.path}: the file ended at byte ${position + done} while it was read`,
          { hint: "Something shortened it meanwhile: copy or download it again." },
        );
      }
      done += bytesRead;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Bytes in memory that stand for a file. */
export class MemorySource implements ByteSource {
  readonly path: string;
  readonly #bytes: Uint8Array;

  constructor(path: string, bytes: Uint8Array) {
    this.path = path;
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  async read(position: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    checkRange(this, position, length);
    return this.#bytes.slice(position, position + length) as Uint8Array<ArrayBuffer>;
  }

  async close(): Promise<void> {}
}

/** Readers check what a file says before they read; this keeps one that forgot from allocating without bound. */
function checkRange({ path, size }: ByteSource, position: number, length: number): void {
  const whole = Number.isSafeInteger(position) && Number.isSafeInteger(length);
  if (!whole || position < 0 || length < 0 || position + length > size) {
    throw new ElectraError(
      "ERR_ELECTRA_FILE",
      `${path}: bytes ${position} to ${position + length} are not within its ${size} bytes`,
      { hint: "The file is damaged: copy or download it again." },
    );
  }
}
