import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FilePool } from "../../../src/data/file-pool.js";

let folder: string;
let paths: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "file-pool-"));
  paths = ["a", "b", "c"].map((name, file) => {
    const path = join(folder, name);
    writeFileSync(
      path,
      Uint8Array.from({ length: 100 }, (_, i) => 70 * file + i),
    );
    return path;
  });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const read = (pool: FilePool, file: number, offset: number, length: number): Promise<number[]> =>
  new Promise((resolve, reject) => {
    const target = new Uint8Array(length + 2);
    pool.read(file, target, 1, length, offset, (error) =>
      error === undefined ? resolve([...target]) : reject(error),
    );
  });

const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

// Every read counts as slow, or none does.
describe.each([
  ["in the background", -1],
  ["at once", Number.POSITIVE_INFINITY],
])("reading %s", (_, slowRead) => {
  it("gives the bytes of any place, to where they belong", async () => {
    const pool = new FilePool(paths, { limit: 2, slowRead });
    const places = Array.from({ length: 60 }, (_, i) => [(7 * i) % 3, (13 * i) % 90] as const);
    const found = await Promise.all(places.map(([file, offset]) => read(pool, file, offset, 5)));
    for (const [i, [file, offset]] of places.entries()) {
      expect(found[i]).toEqual([0, ...[0, 1, 2, 3, 4].map((k) => 70 * file + offset + k), 0]);
    }
    pool.close();
  });

  it("says which file has become shorter, or went away", async () => {
    const pool = new FilePool(paths, { slowRead });
    expect(await read(pool, 1, 0, 1)).toEqual([0, 70, 0]);
    truncateSync(paths[1]!, 50);
    await expect(read(pool, 1, 48, 5)).rejects.toThrow(`${paths[1]}: it is shorter than when it was opened`);
    rmSync(paths[2]!);
    await expect(read(pool, 2, 0, 5)).rejects.toMatchObject({ code: "ERR_ELECTRA_FILE" });
    pool.close();
    await expect(read(pool, 0, 0, 5)).rejects.toThrow("the data set is closed");
  });

  it.skipIf(process.platform !== "linux")("keeps no more files open than it may", async () => {
    const before = openDescriptors();
    const pool = new FilePool(paths, { limit: 1, slowRead });
    for (let i = 0; i < 9; i++) await read(pool, i % 3, i, 5);
    // Closing takes a moment, in the background.
    await expect.poll(openDescriptors).toBeLessThanOrEqual(before + 1);
    pool.close();
    await expect.poll(openDescriptors).toBeLessThanOrEqual(before);
  });
});
