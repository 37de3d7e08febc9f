import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { cutAtLineBreaks } from "../../../src/bench/dataset-benchmark.js";
import { runCli } from "../cli/run-cli.js";

const folder = mkdtempSync(join(tmpdir(), "text-benchmarks-"));
const vocabFile = join(folder, "vocab.txt");
const input = join(folder, "text.txt");
const sentence = "the cat sat .";
const lines = 600;

beforeAll(() => {
  writeFileSync(vocabFile, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\nsat\n.\n");
  writeFileSync(input, `${sentence}\n`.repeat(lines));
  writeFileSync(`${input}.gz`, gzipSync(`${sentence}\n`.repeat(lines)));
  writeFileSync(join(folder, "latin1.txt"), Buffer.from([0x63, 0x61, 0x66, 0xe9]));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function bench(what: string, ...more: readonly string[]) {
  const { code, stdout, stderr } = await runCli("bench", what, "--vocab-file", vocabFile, "--json", ...more);
  return { code, stderr, result: JSON.parse(stdout) };
}

describe("the benchmarks of text", () => {
  it("count tokens and say how fast they came, from bytes and strings, plain or compressed", async () => {
    for (const path of [input, `${input}.gz`]) {
      const { code, stderr, result } = await bench("tokenizer", "--input", path, "--steps", "2");
      expect(code, stderr).toBe(0);
      expect(result).toMatchObject({ tokens: 4 * lines, repeat: 2, input_mb: (14 * lines) / 1e6 });
      expect(result.mb_per_s).toBe(result.bytes_cold_mb_per_s.median);
      for (const kind of ["bytes_cold", "bytes_warm", "strings_cold", "strings_warm"]) {
        const { min, median, max } = result[`${kind}_mb_per_s`];
        expect(min).toBeGreaterThan(0);
        expect(median).toBeGreaterThanOrEqual(min);
        expect(max).toBeGreaterThanOrEqual(median);
      }
    }
  });

  it("build records of all the text, whatever the number of threads", async () => {
    const { code, stderr, result } = await bench(
      "dataset",
      ...["--input", input, "--seq-length", "16", "--threads", "2", "--steps", "1"],
    );
    expect(code, stderr).toBe(0);
    expect(result).toMatchObject({ tokens: 4 * lines, max_seq_length: 16, threads: 2, repeat: 1 });
    // Sixteen tokens are wanted for an example (a few want less), and four sentences have them.
    expect(result.examples).toBeGreaterThanOrEqual(lines / 4);
    expect(result.mb_per_s).toBeCloseTo(result.input_mb / result.seconds.median, 6);
    expect(result.times_tokenizing.median).toBeGreaterThan(0);
  });

  it("refuse what is missing, cannot be read, or is no UTF-8", async () => {
    expect(await bench("tokenizer")).toMatchObject({
      code: 2,
      result: { error: { code: "ERR_ELECTRA_USAGE" } },
    });
    expect(await bench("dataset", "--input", join(folder, "none"))).toMatchObject({
      code: 1,
      result: { error: { code: "ERR_ELECTRA_FILE" } },
    });
    expect(await bench("tokenizer", "--input", join(folder, "latin1.txt"))).toMatchObject({
      code: 2,
      result: { error: { code: "ERR_ELECTRA_TEXT" } },
    });
  });
});

test("a text is cut at line breaks into parts of about the same size", () => {
  const text = Buffer.from("aa\nbb\ncc\ndd\nee\nff");
  const cut = (count: number) => cutAtLineBreaks(text, count).map(String);
  expect(cut(1)).toEqual([String(text)]);
  expect(cut(2)).toEqual(["aa\nbb\ncc\n", "dd\nee\nff"]);
  expect(cut(3)).toEqual(["aa\nbb\n", "cc\ndd\n", "ee\nff"]);
  expect(cut(40).join("")).toBe(String(text));
  expect(cutAtLineBreaks(Buffer.from("one line"), 3)).toHaveLength(1);
});
