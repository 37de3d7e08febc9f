import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";

/** A change to the disk, named for the hook of `DurableFiles`. */
export type FileOperation = "mkdir" | "create" | "write" | "sync" | "rename" | "remove" | "sync-folder";

export interface DurableFilesOptions {
  /**
   * Called before every change to the disk; throwing stands for the change failing. Tests use it to stop a
   * save at each point at which a process or a disk may stop it.
   */
  readonly beforeOperation?: (operation: FileOperation, path: string) => void | Promise<void>;
}

/**
 * The file operations that a checkpoint is made of. A file is on the disk when `createFile` returns; a name
 * is on the disk after `syncFolder` of the folder that holds it.
 */
export class DurableFiles {
  readonly #before: (operation: FileOperation, path: string) => void | Promise<void>;

  constructor(options: DurableFilesOptions = {}) {
    this.#before = options.beforeOperation ?? (() => {});
  }

  /** Makes a folder that must not exist yet. */
  async makeFolder(path: string): Promise<void> {
    await this.#before("mkdir", path);
    await mkdir(path);
  }

  /** Makes a folder and its parents where they are missing. */
  async ensureFolder(path: string): Promise<void> {
    await this.#before("mkdir", path);
    await mkdir(path, { recursive: true });
  }

  /** Writes a new file, forces it to disk and returns its size. An existing file is an error (EEXIST). */
  async createFile(
    path: string,
    contents: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<number> {
    await this.#before("create", path);
    const handle = await open(path, "wx");
    try {
      let size = 0;
      for await (const piece of contents) {
        await this.#before("write", path);
        await writeFully(handle, piece);
        size += piece.byteLength;
      }
      await this.#before("sync", path);
      await handle.sync();
      return size;
    } finally {
      await handle.close();
    }
  }

  async createTextFile(path: string, text: string): Promise<number> {
    return await this.createFile(path, [new TextEncoder().encode(text)]);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#before("rename", to);
    await rename(from, to);
  }

  /** Removes a file or a whole folder; nothing there is no error. */
  async remove(path: string): Promise<void> {
    await this.#before("remove", path);
    await rm(path, { recursive: true, force: true });
  }

  /** Forces a folder's names to disk. Windows has no such call and needs none. */
  async syncFolder(path: string): Promise<void> {
    await this.#before("sync-folder", path);
    if (process.platform === "win32") return;
    const handle = await open(path, "r");
    try {
      await handle.sync();
    } catch (error) {
      // Some network and user-space file systems refuse fsync on a folder; their rename is all there is.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EINVAL" && code !== "ENOTSUP") throw error;
    } finally {
      await handle.close();
    }
  }
}

async function writeFully(handle: FileHandle, piece: Uint8Array): Promise<void> {
  let done = 0;
  while (done < piece.byteLength) {
    const { bytesWritten } = await handle.write(piece, done, piece.byteLength - done);
    done += bytesWritten;
  }
}
