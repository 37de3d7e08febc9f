import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listCorpus, readLines } from "../../../src/data/corpus-reader.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "electra-corpus-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function linesOf(path: string, chunkBytes?: number): Promise<string[]> {
  const result: string[] = [];
  for await (const { lines, firstLine } of readLines(path, chunkBytes === undefined ? {} : { chunkBytes })) {
    expect(firstLine).toBe(result.length + 1);
    result.push(...lines);
  }
  return result;
}

test("lines end at LF only; a last line without one counts, an empty rest does not", async () => {
  const text = "a\r\nb\u2028c\u0085d\u000be\n\n\ufefff";
  expect(await linesOf(file("breaks.txt", text))).toEqual(["a\r", "b\u2028c\u0085d\u000be", "", "\ufefff"]);
  expect(await linesOf(file("closed.txt", "a\nb\n"))).toEqual(["a", "b"]);
  expect(await linesOf(file("empty.txt", ""))).toEqual([]);
  expect(await linesOf(file("blank.txt", "\n"))).toEqual([""]);
});

test("chunks of any size give the same lines, characters across borders included", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: "grapheme" })),
      fc.integer({ min: 1, max: 20 }),
      async (list, chunk) => {
        const lines = list.map((line) => line.replaceAll("\n", " "));
        const path = file("chunks.txt", lines.map((line) => `${line}\n`).join(""));
        expect(await linesOf(path, chunk)).toEqual(lines);
      },
    ),
    { numRuns: 30 },
  );
});

test("a file named .gz is unpacked, several gzip members included", async () => {
  const packed = Buffer.concat([gzipSync("one\ntw"), gzipSync("o\nthree")]);
  expect(await linesOf(file("text.txt.gz", packed))).toEqual(["one", "two", "three"]);
});

test.each<[string, number[], RegExp]>([
  [
    "a stray byte",
    [...Buffer.from("good\nab"), 0xff, 0x0a, 0x61],
    /: line 2, byte 3 of the line \(byte 7 of the text\): 0xff is not valid UTF-8 here$/,
  ],
  [
    "a character cut off by the end of the line",
    [0x61, 0xe2, 0x82, 0x0a],
    /: line 1, byte 2 of the line \(byte 1 of the text\): 0xe2 is/,
  ],
  ["a surrogate", [0x0a, 0xed, 0xa0, 0x80], /: line 2, byte 1 of the line \(byte 1 of the text\): 0xed is/],
  [
    "an overlong form",
    [0x61, 0x0a, 0xc0, 0xaf],
    /: line 2, byte 1 of the line \(byte 2 of the text\): 0xc0 is/,
  ],
  [
    "an error far into a long line",
    [...Buffer.from("é".repeat(2500)), 0x80],
    /: line 1, byte 5001 of the line \(byte 5000 of the text\): 0x80 is/,
  ],
])("text that is not UTF-8 is refused with its place: %s", async (_name, bytes, message) => {
  const path = file("invalid.txt", Uint8Array.from(bytes));
  for (const chunkBytes of [5, 1000]) {
    await expect(linesOf(path, chunkBytes)).rejects.toThrow(message);
    await expect(linesOf(path, chunkBytes)).rejects.toMatchObject({
      code: "ERR_ELECTRA_TEXT",
      message: expect.stringContaining(path),
    });
  }
});

test("broken gzip data and missing files are named", async () => {
  const cut = file("cut.gz", gzipSync("text\n".repeat(1000)).subarray(0, 30));
  await expect(linesOf(cut)).rejects.toMatchObject({
    code: "ERR_ELECTRA_TEXT",
    message: expect.stringMatching(/cut\.gz: broken gzip data: unexpected end of file/),
  });
  await expect(linesOf(file("plain.gz", "plain text"))).rejects.toThrow(
    /plain\.gz: broken gzip data: incorrect header check/,
  );
  for (const name of ["gone.txt", "gone.gz"]) {
    await expect(linesOf(join(folder, name))).rejects.toMatchObject({
      code: "ERR_ELECTRA_FILE",
      message: expect.stringContaining(name),
    });
  }
});

test("a corpus is its .txt and .gz files by code point; other names are reported, hidden ones ignored", async () => {
  const corpus = join(folder, "corpus");
  mkdirSync(join(corpus, "sub.txt"), { recursive: true });
  for (const name of [
    "b.txt",
    "a.TXT",
    "B.txt.gz",
    "\u{10000}.txt",
    "\uffee.txt",
    "notes.md",
    ".hidden.txt",
  ]) {
    writeFileSync(join(corpus, name), "x");
  }
  const { files, skipped } = await listCorpus(corpus);
  expect(files.map((entry) => entry.name)).toEqual([
    "B.txt.gz",
    "a.TXT",
    "b.txt",
    "\uffee.txt",
    "\u{10000}.txt",
  ]);
  expect(skipped).toEqual(["notes.md", "sub.txt"]);
});

test("a corpus folder without text is refused", async () => {
  const empty = mkdtempSync(join(folder, "empty-"));
  await expect(listCorpus(empty)).rejects.toThrow(
    `no .txt or .gz file in the corpus folder ${empty}: it is empty`,
  );
  writeFileSync(join(empty, "wiki_00"), "text");
  await expect(listCorpus(empty)).rejects.toMatchObject({
    code: "ERR_ELECTRA_CORPUS",
    exitCode: 2,
    message: expect.stringMatching(/it holds wiki_00$/),
  });
  await expect(listCorpus(join(folder, "nowhere"))).rejects.toThrow(
    /cannot read the corpus folder .*nowhere: ENOENT/,
  );
});
