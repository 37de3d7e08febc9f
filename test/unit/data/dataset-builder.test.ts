import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BuildDatasetOptions, buildDataset } from "../../../src/data/dataset-builder.js";
import { decodeExample } from "../../../src/data/example-proto.js";
import { readRecords } from "../../../src/data/tfrecord-reader.js";
import { splitWork } from "../../../src/data/work-split.js";

const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const words = Array.from(
  { length: 50 },
  (_, index) => `word${String.fromCharCode(97 + (index % 25))}${index < 25 ? "" : "z"}`,
);
/** A word that stands in one document only. */
const ownWord = (f: number, d: number) => `own${String.fromCharCode(97 + f)}${String.fromCharCode(97 + d)}`;
const ownWords = Array.from({ length: 100 }, (_, index) => ownWord(Math.floor(index / 20), index % 20));
/** Document `d` of file `f`: sentences of 3 to 9 words, deterministic. */
function documentText(f: number, d: number): string {
  return Array.from({ length: 3 + ((f + d) % 4) }, (_, s) =>
    Array.from({ length: 3 + ((f + 2 * d + s) % 7) }, (_, w) => words[(11 * f + 7 * d + 3 * s + w) % 50])
      .concat(ownWord(f, d))
      .join(" "),
  ).join("\n");
}

let folder: string;
let corpusDir: string;
let vocabFile: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "electra-dataset-"));
  corpusDir = join(folder, "corpus");
  mkdirSync(corpusDir);
  vocabFile = join(folder, "vocab.txt");
  writeFileSync(vocabFile, `${[...specials, ...words, ...ownWords].join("\n")}\n`);
  for (let f = 0; f < 5; f++) {
    const text = `${Array.from({ length: 20 }, (_, d) => documentText(f, d)).join("\n\n")}\n`;
    if (f === 3) writeFileSync(join(corpusDir, `part-${f}.txt.gz`), gzipSync(text));
    else writeFileSync(join(corpusDir, `part-${f}.txt`), text);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

let outputs = 0;
const build = (options: Partial<BuildDatasetOptions> = {}) =>
  buildDataset({
    corpusDir,
    vocabFile,
    outputDir: join(folder, `out-${outputs++}`),
    maxSeqLength: 24,
    numShards: 6,
    ...options,
  });

/** Name and content of every record file. */
function content(outputDir: string): Record<string, string> {
  const names = readdirSync(outputDir).filter((name) => name.includes(".tfrecord-"));
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(outputDir, name), "base64")]));
}

function examples(outputDir: string, prefix: string): number[][] {
  return readdirSync(outputDir)
    .filter((name) => name.startsWith(prefix))
    .flatMap((name) => [...readRecords(readFileSync(join(outputDir, name)))])
    .map(({ payload }) => {
      const ids = decodeExample(payload).get("input_ids");
      return ids?.kind === "int64" ? Array.from(ids.values, Number) : [];
    });
}

describe("work split", () => {
  test("files and shards go to the job given by the remainder of their number", () => {
    expect(splitWork(["a", "b", "c", "d", "e"], 7, 3)).toEqual([
      { files: ["a", "d"], shards: [0, 3, 6] },
      { files: ["b", "e"], shards: [1, 4] },
      { files: ["c"], shards: [2, 5] },
    ]);
  });

  test("surplus jobs get no files but own their shards all the same", () => {
    expect(splitWork(["a"], 3, 3)).toEqual([
      { files: ["a"], shards: [0] },
      { files: [], shards: [1] },
      { files: [], shards: [2] },
    ]);
  });
});

test("a build writes all shards round robin under the reference's names and counts what it did", async () => {
  const report = await build();
  const files = Object.keys(content(report.outputDir)).sort();
  expect(files).toEqual(Array.from({ length: 6 }, (_, k) => `pretrain_data.tfrecord-${k}-of-6`));
  const counts = files.map((name) => [...readRecords(readFileSync(join(report.outputDir, name)))].length);
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  expect(report.documents).toBe(100);
  expect(report.filesRead).toBe(5);
  expect(report.examples).toBe(counts.reduce((sum, count) => sum + count));
  expect(report.fingerprint.records).toBe(report.examples);
  const written = examples(report.outputDir, "pretrain")
    .flat()
    .filter((id) => id >= specials.length).length;
  expect(written).toBe(report.tokens - report.discardedTokens);
  expect(report).toMatchObject({
    unknownTokens: 0,
    unknownRate: 0,
    heldOutExamples: 0,
    warnings: [],
    skippedFiles: [],
  });
  const manifest = JSON.parse(readFileSync(join(report.outputDir, "dataset.json"), "utf8"));
  expect(manifest).toMatchObject({
    status: "complete",
    settings: { maxSeqLength: 24, seed: 0, numProcesses: 1, blanksSeparateDocs: true },
    counts: { examples: report.examples },
    fingerprint: report.fingerprint,
  });
  expect(readdirSync(report.outputDir).filter((name) => name.startsWith("."))).toEqual([]);
});

test("same seed and number of processes: same files; another seed or number: others", async () => {
  const base = content((await build({ seed: 5, numProcesses: 2 })).outputDir);
  expect(content((await build({ seed: 5, numProcesses: 2 })).outputDir)).toEqual(base);
  expect(content((await build({ seed: 6, numProcesses: 2 })).outputDir)).not.toEqual(base);
  expect(content((await build({ seed: 5, numProcesses: 3 })).outputDir)).not.toEqual(base);
});

const compiled = new URL("../../../dist/data/dataset-builder.js", import.meta.url);
test.skipIf(!existsSync(compiled))(
  "worker threads of the compiled package write the same files (needs dist)",
  async () => {
    const { buildDataset: buildCompiled } = (await import(
      compiled.href
    )) as typeof import("../../../src/data/dataset-builder.js");
    const options = {
      corpusDir,
      vocabFile,
      maxSeqLength: 24,
      numShards: 6,
      numProcesses: 3,
      heldOutFraction: 0.2,
    };
    const here = await build(options);
    const threads = await buildCompiled({ ...options, outputDir: join(folder, "threads") });
    expect(content(threads.outputDir)).toEqual(content(here.outputDir));
    expect({ ...threads, seconds: 0, outputDir: "" }).toEqual({ ...here, seconds: 0, outputDir: "" });

    const bad = mkdtempSync(join(folder, "threads-bad-"));
    writeFileSync(join(bad, "a.txt"), "fine\n");
    writeFileSync(join(bad, "b.txt"), Buffer.of(0xff));
    const failing = buildCompiled({ ...options, corpusDir: bad, outputDir: join(folder, "threads-failed") });
    await expect(failing).rejects.toMatchObject({
      code: "ERR_ELECTRA_TEXT",
      message: expect.stringMatching(/b\.txt: line 1/),
    });
    const aborted = buildCompiled({
      ...options,
      outputDir: join(folder, "threads-aborted"),
      signal: AbortSignal.timeout(1),
    });
    await expect(aborted).rejects.toThrow(/timeout/);
  },
);

test("without --blanks-separate-docs a file is one document", async () => {
  const apart = await build();
  const whole = await build({ blanksSeparateDocs: false });
  expect(whole.documents).toBe(5);
  expect(whole.tokens).toBe(apart.tokens);
  expect(whole.examples).toBeLessThan(apart.examples);
});

test("held-out documents are whole, apart, and the same for any number of processes", async () => {
  const one = await build({ heldOutFraction: 0.3, seed: 9 });
  const three = await build({ heldOutFraction: 0.3, seed: 9, numProcesses: 3 });
  expect(one.heldOutDocuments).toBeGreaterThan(10);
  expect(one.heldOutDocuments).toBeLessThan(60);
  expect(three.heldOutDocuments).toBe(one.heldOutDocuments);
  expect(Object.keys(content(one.outputDir)).filter((name) => name.startsWith("heldout"))).toEqual([
    "heldout_data.tfrecord-0-of-1",
  ]);
  expect(
    Object.keys(content(three.outputDir))
      .filter((name) => name.startsWith("heldout"))
      .sort(),
  ).toEqual([0, 1, 2].map((k) => `heldout_data.tfrecord-${k}-of-3`));
  expect(one.heldOutFingerprint?.records).toBe(one.heldOutExamples);
  expect(examples(one.outputDir, "heldout").length).toBe(one.heldOutExamples);
  // Every sentence holds a word of its document.
  const ownIds = (prefix: string) =>
    new Set(
      examples(one.outputDir, prefix)
        .flat()
        .filter((id) => id >= specials.length + words.length),
    );
  const held = ownIds("heldout");
  const trained = ownIds("pretrain");
  expect([...held].filter((id) => trained.has(id))).toEqual([]);
  expect(held.size).toBe(one.heldOutDocuments);
  expect(trained.size).toBe(100 - one.heldOutDocuments);
});

test("--split-sentences cuts running text, so that less of it is lost", async () => {
  const running = mkdtempSync(join(folder, "running-"));
  const sentence = (i: number) =>
    `${words[i % 50]} ${words[(i * 7) % 50]} ${words[(i * 3) % 50]}.`.replace(/^w/, "W");
  writeFileSync(join(running, "a.txt"), Array.from({ length: 40 }, (_, i) => sentence(i)).join(" "));
  const whole = await build({ corpusDir: running });
  const split = await build({ corpusDir: running, splitSentences: true });
  expect(whole).toMatchObject({ sentences: 1, examples: 1 });
  expect(whole.warnings).toEqual([
    expect.objectContaining({
      message: expect.stringMatching(/% of the tokens were thrown away because/),
      hint: expect.stringMatching(/--split-sentences/),
    }),
    expect.anything(),
  ]);
  expect(split.sentences).toBe(40);
  expect(split.discardedTokens).toBeLessThan(whole.discardedTokens / 4);
});

test("many [UNK] and files that are not text are worth a warning", async () => {
  const strange = mkdtempSync(join(folder, "strange-"));
  writeFileSync(join(strange, "a.txt"), "completely foreign wordb\n");
  writeFileSync(join(strange, "b.pdf"), "");
  const report = await build({ corpusDir: strange });
  expect(report.unknownRate).toBeCloseTo(2 / 3);
  expect(report.warnings.map((warning) => warning.message)).toEqual([
    "66.7 % of the tokens are [UNK]",
    "not read, because their names end in neither .txt nor .gz: b.pdf",
  ]);
});

describe("output folders", () => {
  test("a folder with anything else in it is refused and left alone", async () => {
    const outputDir = mkdtempSync(join(folder, "other-"));
    writeFileSync(join(outputDir, "thesis.doc"), "years of work");
    await expect(build({ outputDir })).rejects.toMatchObject({
      code: "ERR_ELECTRA_OUTPUT_FOLDER",
      exitCode: 2,
      message: expect.stringMatching(
        /is not empty and was not made by build-dataset .*it holds thesis\.doc$/,
      ),
    });
    writeFileSync(join(outputDir, "dataset.json"), JSON.stringify({ format: "somebody else's" }));
    await expect(build({ outputDir })).rejects.toThrow(/is not empty/);
    expect(readdirSync(outputDir).sort()).toEqual(["dataset.json", "thesis.doc"]);
  });

  test("a dataset of ours is replaced; files that are not of it stay", async () => {
    const outputDir = join(folder, "again");
    await build({ outputDir, numShards: 8, heldOutFraction: 0.3 });
    writeFileSync(join(outputDir, "notes.txt"), "keep");
    const fresh = await build({ outputDir, numShards: 2 });
    expect(readdirSync(outputDir).sort()).toEqual([
      "dataset.json",
      "notes.txt",
      "pretrain_data.tfrecord-0-of-2",
      "pretrain_data.tfrecord-1-of-2",
    ]);
    expect(content(outputDir)).toEqual(content((await build({ numShards: 2 })).outputDir));
    expect(fresh.fingerprint.files).toBe(2);
  });

  test("a failed build leaves nothing behind, and an earlier dataset whole", async () => {
    const bad = mkdtempSync(join(folder, "bad-"));
    writeFileSync(join(bad, "a.txt"), Buffer.of(0x61, 0x0a, 0xff));
    const outputDir = join(folder, "failed");
    await expect(build({ corpusDir: bad, outputDir })).rejects.toThrow(/a\.txt: line 2, byte 1/);
    expect(existsSync(outputDir)).toBe(false);

    await build({ outputDir });
    const before = content(outputDir);
    await expect(build({ corpusDir: bad, outputDir })).rejects.toThrow(/a\.txt: line 2/);
    expect(content(outputDir)).toEqual(before);
    expect(JSON.parse(readFileSync(join(outputDir, "dataset.json"), "utf8")).status).toBe("complete");
  });

  test("an interrupted build can be told and is cleared away by the next one", async () => {
    const outputDir = join(folder, "interrupted");
    mkdirSync(outputDir);
    writeFileSync(
      join(outputDir, "dataset.json"),
      JSON.stringify({ format: "electra-native dataset", version: 1, status: "building", settings: {} }),
    );
    writeFileSync(join(outputDir, ".partial-pretrain_data.tfrecord-9-of-10"), "half");
    await build({ outputDir });
    expect(readdirSync(outputDir).filter((name) => name.startsWith("."))).toEqual([]);
  });
});

test("an aborted build ends with the signal's reason and leaves nothing behind", async () => {
  const controller = new AbortController();
  const outputDir = join(folder, "aborted");
  const building = build({
    outputDir,
    signal: controller.signal,
    onProgress: () => controller.abort(new Error("enough")),
  });
  await expect(building).rejects.toThrow("enough");
  expect(existsSync(outputDir)).toBe(false);
});

test("progress grows to the totals", async () => {
  const seen: number[] = [];
  let last: { filesRead: number; filesTotal: number; bytesRead: number; bytesTotal: number } | undefined;
  await build({
    numProcesses: 2,
    onProgress: (progress) => {
      seen.push(progress.bytesRead);
      last = progress;
    },
  });
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(last?.filesRead).toBe(5);
  expect(last?.bytesRead).toBe(last?.bytesTotal);
  expect(last?.filesTotal).toBe(5);
});

test.each<[string, Partial<BuildDatasetOptions>, RegExp]>([
  [
    "a length that no target fits in",
    { maxSeqLength: 4 },
    /max_seq_length must be an integer of at least 5, not 4/,
  ],
  ["no process", { numProcesses: 0 }, /num_processes must be an integer of at least 1, not 0/],
  ["more processes than shards", { numProcesses: 7 }, /7 processes cannot share 6 record files/],
  ["a held-out fraction of 1", { heldOutFraction: 1 }, /must be at least 0 and below 1, not 1/],
  ["a negative seed", { seed: -1 }, /seed must be an integer of at least 0, not -1/],
])("impossible settings are refused: %s", async (_name, options, message) => {
  await expect(build(options)).rejects.toThrow(message);
  await expect(build(options)).rejects.toMatchObject({ code: "ERR_ELECTRA_DATASET_OPTION", exitCode: 2 });
});

test("bad vocabularies and empty corpora are refused before anything is written", async () => {
  const outputDir = join(folder, "never");
  await expect(build({ outputDir, vocabFile: join(folder, "none.txt") })).rejects.toThrow(
    /cannot read the vocabulary .*none\.txt: ENOENT/,
  );
  const noMask = join(folder, "nomask.txt");
  writeFileSync(noMask, "[PAD]\n[UNK]\n[CLS]\n[SEP]\nword\n");
  await expect(build({ outputDir, vocabFile: noMask })).rejects.toThrow(/\[MASK\]/);
  const binary = join(folder, "binary.txt");
  writeFileSync(binary, Buffer.of(0xff, 0xfe));
  await expect(build({ outputDir, vocabFile: binary })).rejects.toThrow(/binary\.txt is not valid UTF-8/);
  const blank = mkdtempSync(join(folder, "blank-"));
  writeFileSync(join(blank, "a.txt"), "\n \n\n");
  await expect(build({ outputDir, corpusDir: blank })).rejects.toMatchObject({
    code: "ERR_ELECTRA_CORPUS",
    message: expect.stringMatching(/gave no training example/),
  });
  expect(existsSync(outputDir)).toBe(false);
});
