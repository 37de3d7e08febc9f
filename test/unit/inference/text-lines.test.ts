import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readTextLines } from "../../../src/inference/text-lines.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "electra-lines-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function* input(...chunks: (string | Uint8Array)[]): AsyncGenerator<string | Uint8Array> {
  yield* chunks;
}

it("standard input is read where no file is given; characters may be cut between chunks", async () => {
  const bytes = Buffer.from("été\n\n  two \r\n");
  expect(await readTextLines([], undefined, input(bytes.subarray(0, 1), bytes.subarray(1)))).toEqual([
    { text: "été", source: "-", line: 1 },
    { text: "two", source: "-", line: 3 },
  ]);
});

it("files and standard input are read in the order given", async () => {
  const file = join(folder, "a.txt");
  await writeFile(file, "one");
  const lines = await readTextLines([file, "-"], undefined, input("two"));
  expect(lines.map(({ source, text }) => [source, text])).toEqual([
    [file, "one"],
    ["-", "two"],
  ]);
});

it("a file that is not there, is not UTF-8 or holds nothing is refused by name", async () => {
  await expect(readTextLines([join(folder, "none.txt")])).rejects.toMatchObject({ code: "ERR_ELECTRA_FILE" });
  const latin = join(folder, "latin.txt");
  await writeFile(latin, Uint8Array.of(0xe9));
  await expect(readTextLines([latin])).rejects.toThrow(`${latin} is not valid UTF-8`);
  await expect(readTextLines([], undefined, input(" \n"))).rejects.toThrow("there is no text");
});
