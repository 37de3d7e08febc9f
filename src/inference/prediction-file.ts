import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { fileFailure } from "../data/file-failure.js";

/** Text is gathered up to so many characters before it is written. */
const GATHERED = 1 << 16;

/**
 * A file of results that has its name only when it is complete: until then it is `<path>.partial`, so that nobody takes the
 * half of it for the whole, and a long run that is stopped loses nothing.
 */
export class PredictionFile {
  readonly path: string;
  readonly #file: FileHandle;
  #gathered = "";
  #lines = 0;

  private constructor(path: string, file: FileHandle) {
    this.path = path;
    this.#file = file;
  }

  /** @throws ElectraError `ERR_ELECTRA_FILE` */
  static async create(path: string): Promise<PredictionFile> {
    const file = await open(partialName(path), "w").catch((error: unknown) => {
      throw fileFailure(error, "cannot write", partialName(path));
    });
    return new PredictionFile(path, file);
  }

  async writeLine(line: string): Promise<void> {
    this.#gathered += `${line}\n`;
    this.#lines++;
    if (this.#gathered.length >= GATHERED) await this.#flush();
  }

  /** Gives the file its name; one that has it is replaced. */
  async finish(): Promise<void> {
    await this.#flush();
    try {
      await this.#file.sync();
      await this.#file.close();
      await rename(partialName(this.path), this.path);
    } catch (error) {
      throw fileFailure(error, "cannot write", this.path);
    }
  }

  /** After a failure: the path of what there is, or undefined and no file if there is nothing. */
  async abandon(): Promise<string | undefined> {
    await this.#flush().catch(() => {});
    await this.#file.close().catch(() => {});
    if (this.#lines > 0) return partialName(this.path);
    await rm(partialName(this.path), { force: true });
    return undefined;
  }

  async #flush(): Promise<void> {
    const text = this.#gathered;
    this.#gathered = "";
    if (text === "") return;
    await this.#file.writeFile(text).catch((error: unknown) => {
      throw fileFailure(error, "cannot write", partialName(this.path));
    });
  }
}

function partialName(path: string): string {
  return `${path}.partial`;
}
