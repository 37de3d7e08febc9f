import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type LineBlocksOptions, lineBlocks } from "../../../src/electric/line-blocks.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "electra-blocks-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function blocks(files: readonly string[], options: LineBlocksOptions = {}): Promise<string[][]> {
  const found: string[][] = [];
  for await (const lines of lineBlocks(files, options))
    found.push(lines.map(({ source, line, text }) => `${source}:${line}:${text}`));
  return found;
}

async function* input(...chunks: (string | Uint8Array)[]): AsyncGenerator<string | Uint8Array> {
  yield* chunks;
}

it("whole lines are given as they arrive, blank ones too; characters and lines may be cut between chunks", async () => {
  const bytes = Buffer.from("été\n\n two \r\nthr");
  expect(await blocks([], { input: input(bytes.subarray(0, 1), bytes.subarray(1), "ee\nfour") })).toEqual([
    ["-:1:été", "-:2:", "-:3:two"],
    ["-:4:three"],
    ["-:5:four"],
  ]);
});

it("a block has no more lines than allowed", async () => {
  expect(await blocks(["-"], { input: input("a\nb\nc\n"), maxLines: 2 })).toEqual([
    ["-:1:a", "-:2:b"],
    ["-:3:c"],
  ]);
});

it("an answer comes before the next line is written", async () => {
  let answered = 0;
  const slow = async function* (): AsyncGenerator<string> {
    for (let written = 0; written < 3; written++) {
      expect(answered).toBe(written);
      yield `${written}\n`;
    }
  };
  for await (const lines of lineBlocks([], { input: slow() })) answered += lines.length;
  expect(answered).toBe(3);
});

it("files come one after the other with their own line numbers", async () => {
  const [a, b] = [join(folder, "a"), join(folder, "b")];
  await writeFile(a, "one");
  await writeFile(b, "two\n");
  expect(await blocks([a, b])).toEqual([[`${a}:1:one`], [`${b}:1:two`]]);
});

it("a file that is not there or is not UTF-8 is refused by name", async () => {
  await expect(blocks([join(folder, "none")])).rejects.toMatchObject({ code: "ERR_ELECTRA_FILE" });
  await expect(blocks([], { input: input(Uint8Array.of(0x61, 0xe9)) })).rejects.toThrow(
    "standard input is not valid UTF-8",
  );
});

it("waiting for a line ends when it is aborted", async () => {
  const controller = new AbortController();
  const silent = new Readable({ read: () => {} });
  const waiting = blocks([], { input: silent, signal: controller.signal });
  controller.abort();
  await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
});
