import { spawnSync } from "node:child_process";
import {
  cpSync,
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
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runDatasetJob } from "../../../src/data/dataset-job.js";
import { type BuildOpenWebTextOptions, buildOpenWebText } from "../../../src/data/openwebtext-builder.js";
import { SeededRandomSource } from "../../../src/data/random-source.js";
import { shuffled } from "../../../src/data/seeded-shuffle.js";
import { runCli } from "../cli/run-cli.js";

const has = (tool: string): boolean => spawnSync(tool, ["--version"], { input: "" }).error === undefined;
const hasXz = has("xz");
const hasBzip2 = has("bzip2");

const words = Array.from(
  { length: 60 },
  (_, index) => `word${String.fromCharCode(97 + (index % 26))}${"z".repeat(index / 26)}`,
);
const vocabulary = `${["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ...words].join("\n")}\n`;

/** Texts of archive `a`, by name. Some have blank lines, which do not separate documents here. */
function texts(a: number): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: 12 }, (_, t) => [
      `000${a}-${(7 * t) % 12}.txt`,
      Array.from({ length: 3 + ((a + t) % 9) }, (_, s) =>
        Array.from(
          { length: 3 + ((a + 2 * t + s) % 7) },
          (_, w) => words[(11 * a + 7 * t + 3 * s + w) % 60],
        ).join(" "),
      ).join(t % 3 === 0 ? "\n\n" : "\n"),
    ]),
  );
}

async function tarOf(files: Readonly<Record<string, string | Buffer>>): Promise<Buffer> {
  const tar = pack();
  for (const [name, content] of Object.entries(files)) tar.entry({ name }, content);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function compressWith(tool: string, bytes: Buffer): Buffer {
  return spawnSync(tool, ["-c"], { input: bytes }).stdout;
}

let folder: string;
/** Seven archives; each is a plain tar here, and its name says nothing. */
let tars: Buffer[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "electra-openwebtext-"));
  tars = await Promise.all(Array.from({ length: 7 }, (_, a) => tarOf(texts(a))));
});
afterAll(() => rmSync(folder, { recursive: true }));

let made = 0;
/** A data folder with the archives under the names of OpenWebText, packed by `packer`. */
function makeData(packer: (tar: Buffer, a: number) => Buffer = (tar) => tar): string {
  const dataDir = join(folder, `data-${made++}`);
  mkdirSync(join(dataDir, "openwebtext"), { recursive: true });
  writeFileSync(join(dataDir, "vocab.txt"), vocabulary);
  for (const [a, tar] of tars.entries()) writeFileSync(archivePath(dataDir, a), packer(tar, a));
  return dataDir;
}
const archivePath = (dataDir: string, a: number): string =>
  join(dataDir, "openwebtext", `subset0${a}_data.xz`);

const small = { maxSeqLength: 24, numShards: 6, saveInterval: 0 };
const build = (dataDir: string, options: Partial<BuildOpenWebTextOptions> = {}) =>
  buildOpenWebText({ dataDir, ...small, ...options });

/** Name and content of every record file. */
function content(dataDir: string): Record<string, string> {
  const output = join(dataDir, "pretrain_tfrecords");
  const names = readdirSync(output).filter((name) => /^\w+\.tfrecord-/.test(name));
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(output, name), "base64")]));
}

/** The documents of a job in the documented order, each without blank lines. */
function documentsOf(job: number, jobs: number, seed: number): string[] {
  const archives = Array.from({ length: 7 }, (_, a) => a).filter((a) => a % jobs === job);
  const order = new SeededRandomSource(seed, 4 * job + 3);
  return shuffled(archives, new SeededRandomSource(seed, 4 * job)).flatMap((a) => {
    const own = texts(a);
    return shuffled(Object.keys(own).sort(), order).map((name) => own[name]!.replaceAll("\n\n", "\n"));
  });
}

/** What the plain builder makes of these documents, in this order, in one file with blank lines between. */
async function plain(job: number, jobs: number, seed: number): Promise<Record<string, string>> {
  const home = mkdtempSync(join(folder, "plain-"));
  const path = join(home, "all.txt");
  writeFileSync(path, documentsOf(job, jobs, seed).join("\n\n"));
  const names = Array.from({ length: 6 }, (_, k) => `pretrain_data.tfrecord-${k}-of-6`).filter(
    (_, k) => k % jobs === job,
  );
  await runDatasetJob({
    index: job,
    files: [{ name: "all.txt", path, bytes: 0 }],
    vocabulary: { text: vocabulary, source: "vocab.txt" },
    maxSeqLength: 24,
    lowerCase: true,
    stripAccents: true,
    blanksSeparateDocs: true,
    splitSentences: false,
    seed,
    heldOutFraction: 0,
    shardPaths: names.map((name) => join(home, name)),
    heldOutPaths: [],
  });
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(home, name), "base64")]));
}

describe("the examples are those of the plain builder on the same texts in the same order", () => {
  test.for<[string, boolean, (tar: Buffer, a: number) => Buffer]>([
    ["xz", hasXz, (tar) => compressWith("xz", tar)],
    ["bzip2", hasBzip2, (tar) => compressWith("bzip2", tar)],
    ["gzip", true, (tar) => gzipSync(tar)],
    ["none", true, (tar) => tar],
    ["all mixed", hasXz, (tar, a) => [gzipSync(tar), compressWith("xz", tar), tar][a % 3]!],
  ])("compression %s", async ([name, available, packer], { skip }) => {
    if (!available) skip(`the system has no ${name}`);
    const dataDir = makeData(packer);
    const report = await build(dataDir, { seed: 3 });
    expect(report).toMatchObject({ documents: 84, filesRead: 7, brokenArchives: [], unreadFiles: 0 });
    expect(content(dataDir)).toEqual(await plain(0, 1, 3));
  });

  test.runIf(has("tar") && hasXz)("archives made by the system's tar and xz (needs both)", async () => {
    const dataDir = makeData();
    for (let a = 0; a < 7; a++) {
      const scratch = mkdtempSync(join(folder, "scratch-"));
      for (const [name, text] of Object.entries(texts(a))) writeFileSync(join(scratch, name), text);
      const made = spawnSync("tar", ["-C", scratch, "-cJf", archivePath(dataDir, a), "."]);
      expect(made.status).toBe(0);
    }
    await build(dataDir, { seed: 3 });
    expect(content(dataDir)).toEqual(await plain(0, 1, 3));
  });

  test("with several jobs", async () => {
    const dataDir = makeData();
    await build(dataDir, { seed: 5, numProcesses: 3 });
    const parts = await Promise.all([0, 1, 2].map((job) => plain(job, 3, 5)));
    expect(content(dataDir)).toEqual(Object.assign({}, ...parts));
  });
});

test("nothing but records and their description is left, and another seed gives another order", async () => {
  const dataDir = makeData();
  await build(dataDir, { heldOutFraction: 0.2 });
  const names = readdirSync(join(dataDir, "pretrain_tfrecords")).sort();
  expect(names).toEqual([
    "dataset.json",
    "heldout_data.tfrecord-0-of-1",
    ...Array.from({ length: 6 }, (_, k) => `pretrain_data.tfrecord-${k}-of-6`),
  ]);
  expect(readdirSync(dataDir).sort()).toEqual(["openwebtext", "pretrain_tfrecords", "vocab.txt"]);
  const first = content(dataDir);
  await build(dataDir, { heldOutFraction: 0.2, seed: 1 });
  expect(content(dataDir)).not.toEqual(first);
});

describe("an interrupted build", () => {
  /** Stops after so many archives. */
  async function interrupt(dataDir: string, after: number, options: Partial<BuildOpenWebTextOptions>) {
    const controller = new AbortController();
    const building = build(dataDir, {
      ...options,
      signal: controller.signal,
      onProgress: ({ filesRead }) => {
        if (filesRead === after) controller.abort(new Error("enough"));
      },
    });
    await expect(building).rejects.toThrow("enough");
  }

  test.for([
    [1, 0],
    [1, 3_600_000],
    [3, 3_600_000],
    [3, 20],
  ] as const)(
    "goes on with the same bytes: %i jobs, notes at least %i ms apart",
    async ([numProcesses, saveInterval]) => {
      const options = { numProcesses, heldOutFraction: 0.2, seed: 2, saveInterval };
      const whole = makeData();
      const expected = await build(whole, options);
      const dataDir = makeData();
      for (const after of [2, 3, 6]) await interrupt(dataDir, after, options);
      const report = await build(dataDir, options);
      expect(report.resumedArchives).toBe(6);
      expect(content(dataDir)).toEqual(content(whole));
      const incidental = { outputDir: "", seconds: 0, resumedArchives: 0 };
      expect({ ...report, ...incidental }).toEqual({ ...expected, ...incidental });
    },
  );

  test("takes no notice of what was written after the last note, as after a crash", async () => {
    const whole = makeData();
    await build(whole);
    const dataDir = makeData();
    await interrupt(dataDir, 3, {});
    const shard = join(dataDir, "pretrain_tfrecords", ".partial-pretrain_data.tfrecord-1-of-6");
    writeFileSync(shard, "half a record", { flag: "a" });
    expect((await build(dataDir)).resumedArchives).toBe(3);
    expect(content(dataDir)).toEqual(content(whole));

    const lost = makeData();
    await interrupt(lost, 3, {});
    writeFileSync(join(lost, "pretrain_tfrecords", ".partial-pretrain_data.tfrecord-1-of-6"), "");
    expect((await build(lost)).resumedArchives).toBe(0);
    expect(content(lost)).toEqual(content(whole));
  });

  test("does not go on with other settings, another vocabulary or changed archives, unless told to restart", async () => {
    const dataDir = makeData();
    await interrupt(dataDir, 4, {});
    await expect(build(dataDir, { seed: 8, maxSeqLength: 32 })).rejects.toMatchObject({
      code: "ERR_ELECTRA_UNFINISHED_BUILD",
      message: expect.stringMatching(/other settings: maxSeqLength 24 \(now 32\), seed 0 \(now 8\)$/),
    });
    writeFileSync(join(dataDir, "vocab.txt"), `${vocabulary}more\n`);
    await expect(build(dataDir)).rejects.toThrow(/other settings: another vocabulary$/);
    writeFileSync(join(dataDir, "vocab.txt"), vocabulary);
    for (let a = 0; a < 7; a++) writeFileSync(archivePath(dataDir, a), await tarOf({ "a.txt": words[a]! }));
    await expect(build(dataDir)).rejects.toMatchObject({ code: "ERR_ELECTRA_DATA_CHANGED" });
    const report = await build(dataDir, { restart: true });
    expect(report).toMatchObject({ resumedArchives: 0, documents: 7 });
  });

  test("leaves an earlier dataset whole until it is complete", async () => {
    const dataDir = makeData();
    await build(dataDir);
    const before = content(dataDir);
    await interrupt(dataDir, 4, { seed: 1 });
    expect(content(dataDir)).toEqual(before);
    await build(dataDir, { seed: 1 });
    expect(content(dataDir)).not.toEqual(before);
  });
});

describe("broken archives", () => {
  const flipped = (bytes: Buffer, at: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at]! ^= 0x10;
    return copy;
  };
  test.for<[string, boolean, (tar: Buffer) => Buffer | Promise<Buffer>, RegExp]>([
    ["empty", true, () => Buffer.alloc(0), /: it is empty$/],
    [
      "no archive",
      true,
      () => Buffer.from("plain words ".repeat(100)),
      /: its content is not a tar archive$/,
    ],
    ["short text", true, () => Buffer.from("plain words"), /: the data ends early$/],
    ["tar cut in a file", true, (tar) => tar.subarray(0, 700), /: the data ends early$/],
    ["tar cut between files", true, (tar) => tar.subarray(0, 2048), /its end mark is missing$/],
    ["damaged tar header", true, (tar) => flipped(tar, 1030), /: damaged data: a file's header is invalid$/],
    ["gzip cut", true, (tar) => gzipSync(tar).subarray(0, 300), / \(gzip\): the data ends early$/],
    [
      "gzip check sum",
      true,
      (tar) => flipped(gzipSync(tar), gzipSync(tar).length - 6),
      / \(gzip\): incorrect data check$/,
    ],
    ["gzip of no tar", true, () => gzipSync("x".repeat(2000)), / \(gzip\): its content is not a tar/],
    ["xz cut", hasXz, (tar) => compressWith("xz", tar).subarray(0, 300), / \(xz\): the data ends early$/],
    [
      "xz check sum",
      hasXz,
      (tar) => flipped(compressWith("xz", tar), 400),
      / \(xz\): a wrong check sum or damaged data$/,
    ],
    [
      "bzip2 cut",
      hasBzip2,
      (tar) => compressWith("bzip2", tar).subarray(0, 300),
      / \(bzip2\): the data ends early$/,
    ],
    ["bzip2 damaged", hasBzip2, (tar) => flipped(compressWith("bzip2", tar), 400), / \(bzip2\): ./],
    [
      "not UTF-8",
      true,
      () => tarOf({ "a.txt": Buffer.from("fine\n\xff", "latin1") }),
      /: a\.txt: line 2, byte 1/,
    ],
    [
      "archives inside",
      true,
      (tar) => tarOf({ "a.gz": gzipSync(tar) }),
      /: it holds archives \(a\.gz\): unpack it/,
    ],
  ])(
    "%s: named with the reason, skipped when asked, and the build goes on",
    async ([name, available, breakIt, reason], { skip }) => {
      if (!available) skip(`the system has no ${name.split(" ")[0]}`);
      const dataDir = makeData();
      writeFileSync(archivePath(dataDir, 4), await breakIt(tars[4]!));
      const failure = await build(dataDir).catch((error: unknown) => error);
      expect(failure).toMatchObject({
        code: "ERR_ELECTRA_ARCHIVE",
        message: expect.stringMatching(reason),
        hint: expect.stringContaining("--skip-broken"),
      });
      expect((failure as Error).message).toContain("subset04_data.xz");

      const report = await build(dataDir, { skipBroken: true });
      expect(report.brokenArchives).toEqual([
        { name: "subset04_data.xz", reason: expect.stringMatching(reason) },
      ]);
      expect(report.documents).toBe(72);
      expect(report.filesRead).toBe(7);
      expect(report.warnings.map(({ message }) => message)).toContain(
        "1 of 7 archives are broken and were left out: subset04_data.xz",
      );
    },
  );

  test("a good copy in its place, and the build goes on as if nothing had been", async () => {
    const whole = makeData();
    await build(whole);
    const dataDir = makeData();
    const last = shuffled([0, 1, 2, 3, 4, 5, 6], new SeededRandomSource(0, 0)).at(-1)!;
    writeFileSync(archivePath(dataDir, last), "");
    await expect(build(dataDir)).rejects.toThrow(/it is empty/);
    cpSync(archivePath(whole, last), archivePath(dataDir, last));
    expect((await build(dataDir)).resumedArchives).toBe(6);
    expect(content(dataDir)).toEqual(content(whole));
  });

  test("files in folders are not read but counted; the last of two files with one name counts", async () => {
    const dataDir = makeData((tar) => tar);
    for (let a = 1; a < 7; a++) rmSync(archivePath(dataDir, a));
    const tar = pack();
    tar.entry({ name: "./top.txt" }, words.slice(0, 5).join(" "));
    tar.entry({ name: "top.txt" }, words.slice(0, 9).join(" "));
    tar.entry({ name: "deep", type: "directory" });
    tar.entry({ name: "deep/a.txt" }, words.join(" "));
    tar.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk);
    writeFileSync(archivePath(dataDir, 0), Buffer.concat(chunks));
    expect(await build(dataDir)).toMatchObject({ documents: 1, tokens: 9, unreadFiles: 1 });
  });
});

test("a folder without archives is refused before anything is written", async () => {
  const dataDir = join(folder, "nothing");
  mkdirSync(join(dataDir, "openwebtext"), { recursive: true });
  await expect(build(dataDir)).rejects.toMatchObject({ code: "ERR_ELECTRA_CORPUS", exitCode: 2 });
  await expect(build(join(folder, "nowhere"))).rejects.toThrow(/cannot read the folder of the archives/);
  expect(existsSync(join(dataDir, "pretrain_tfrecords"))).toBe(false);
});

test("the command reports as JSON, names broken archives and the training that finds the records", async () => {
  const dataDir = makeData();
  writeFileSync(archivePath(dataDir, 1), "");
  const run = (...more: string[]) =>
    runCli(
      "build-openwebtext",
      ...["--data-dir", dataDir, "--num-shards", "4", "--num-processes", "2", "--json", ...more],
    );
  const stopped = await run();
  expect(stopped.code).toBe(2);
  expect(JSON.parse(stopped.stdout).error.code).toBe("ERR_ELECTRA_ARCHIVE");
  const { code, stdout, stderr } = await run("--skip-broken");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    archives: 7,
    documents: 72,
    broken_archives: [{ name: "subset01_data.xz" }],
  });
  expect(stderr.trimEnd()).toMatch(/pretrain --data-dir \S+ --model-name electra-small$/);
});
