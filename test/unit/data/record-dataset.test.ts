import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeExample } from "../../../src/data/example-proto.js";
import { globFiles } from "../../../src/data/glob-files.js";
import { PretrainingExampleEncoder } from "../../../src/data/pretraining-example.js";
import { RecordDataset } from "../../../src/data/record-dataset.js";
import { indexFileName, indexRecordFiles } from "../../../src/data/record-index.js";
import { splitRecords } from "../../../src/data/record-split.js";
import { encodeRecord } from "../../../src/data/tfrecord-writer.js";

const L = 8;
const encoder = new PretrainingExampleEncoder(L);
/** Record `n` holds the id `n` between [CLS] 2 and [SEP] 3, and has 3 to 6 tokens. */
const record = (n: number) =>
  encoder.encode({ inputIds: [2, n, ...new Array<number>(n % 4).fill(9), 3], firstSegmentLength: 2 });
const records = (from: number, to: number) =>
  Buffer.concat(Array.from({ length: to - from }, (_, index) => record(from + index)));

let root: string;
let folders = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "electra-records-"));
});
afterAll(() => rmSync(root, { recursive: true }));

/** A folder with the given files. */
function folderOf(files: Record<string, Uint8Array | string>): string {
  const folder = mkdtempSync(join(root, `${folders++}-`));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

const open = (patterns: string, vocabSize = 1000, maxSeqLength = L) =>
  RecordDataset.open({ patterns, vocabSize, maxSeqLength });

/** Opens, reads all records and closes. */
async function readAll(patterns: string): Promise<number[]> {
  const dataset = await open(patterns);
  try {
    const n = dataset.length;
    const target = {
      inputIds: new Int32Array(n * L),
      segmentIds: new Int32Array(n * L),
      lengths: new Int32Array(n),
    };
    await dataset.readRows(
      Array.from({ length: n }, (_, index) => index),
      target,
    );
    return Array.from({ length: n }, (_, row) => target.inputIds[row * L + 1]!);
  } finally {
    dataset.close();
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

test("records of many files are numbered through in the order of the names; empty files do not disturb", async () => {
  const folder = folderOf({
    "a-0": records(10, 13),
    "a-1": "",
    "a-2": records(20, 150),
    "b-0": records(5, 6),
  });
  expect(await readAll(join(folder, "a-*"))).toEqual([...range(10, 13), ...range(20, 150)]);
  expect(await readAll(`${join(folder, "b-?")}, ${join(folder, "a-0")},${join(folder, "b-0")}`)).toEqual([
    5, 10, 11, 12,
  ]);
});

test("rows are decoded whole and in any order, and a record's place can be told", async () => {
  const folder = folderOf({ x: records(10, 20), y: records(30, 40) });
  const dataset = await open(join(folder, "*"));
  const target = {
    inputIds: new Int32Array(5 * L),
    segmentIds: new Int32Array(5 * L),
    lengths: new Int32Array(5),
  };
  await dataset.readRows([13, 0, 13], target, 1);
  expect([...target.inputIds]).toEqual([
    ...new Array(L).fill(0),
    2,
    33,
    9,
    3,
    0,
    0,
    0,
    0,
    2,
    10,
    9,
    9,
    3,
    0,
    0,
    0,
    2,
    33,
    9,
    3,
    0,
    0,
    0,
    0,
    ...new Array(L).fill(0),
  ]);
  expect([...target.segmentIds.subarray(L, 2 * L)]).toEqual([0, 0, 1, 1, 0, 0, 0, 0]);
  expect([...target.lengths]).toEqual([0, 4, 5, 4, 0]);
  const size = record(0).length;
  expect(dataset.place(13)).toEqual({ file: join(folder, "y"), record: 3, offset: 3 * size });
  expect(() => dataset.place(20)).toThrow(/record 20 does not exist: there are 20/);
  dataset.close();
});

describe("the index beside the records", () => {
  test("is written once, used again, and renewed for files that changed", async () => {
    const folder = folderOf({ a: records(10, 13), b: records(20, 30) });
    const paths = [join(folder, "a"), join(folder, "b")];
    const scans = async (): Promise<number> => {
      let scanned = 0;
      const files = await indexRecordFiles(paths, { onProgress: () => scanned++ });
      expect(files[1]?.lengths.length).toBe(10);
      return scanned;
    };
    expect(await scans()).toBe(2);
    expect(existsSync(join(folder, indexFileName))).toBe(true);
    expect(await scans()).toBe(0);
    utimesSync(join(folder, "b"), 1, 1);
    expect(await scans()).toBe(1);
    writeFileSync(join(folder, "a"), records(10, 15));
    expect(await scans()).toBe(1);
    expect(await readAll(join(folder, "?"))).toEqual([...range(10, 15), ...range(20, 30)]);
  });

  test("keeps entries of other files of the folder", async () => {
    const folder = folderOf({ train: records(10, 13), heldout: records(20, 30) });
    let scanned = 0;
    for (const name of ["train", "heldout", "train", "heldout"]) {
      await indexRecordFiles([join(folder, name)], { onProgress: () => scanned++ });
    }
    expect(scanned).toBe(2);
  });

  test("is made again when it is damaged", async () => {
    const folder = folderOf({ a: records(10, 13) });
    await readAll(join(folder, "a"));
    const index = readFileSync(join(folder, indexFileName));
    for (const at of [0, 6, 20, index.length - 5, index.length - 1]) {
      const broken = Buffer.from(index);
      broken[at]! ^= 4;
      writeFileSync(join(folder, indexFileName), broken);
      expect(await readAll(join(folder, "a"))).toEqual([10, 11, 12]);
    }
    writeFileSync(join(folder, indexFileName), "");
    expect(await readAll(join(folder, "a"))).toEqual([10, 11, 12]);
    expect(readFileSync(join(folder, indexFileName))).toEqual(index);
  });

  test("stays in memory when it cannot be written", async () => {
    const folder = folderOf({ a: records(10, 13) });
    // A folder in its place can be neither read nor replaced, not even by root.
    mkdirSync(join(folder, indexFileName, "full"), { recursive: true });
    expect(await readAll(join(folder, "a"))).toEqual([10, 11, 12]);
    expect(readdirSync(folder).sort()).toEqual([indexFileName, "a"]);
  });

  test("jumps over payloads that are longer than a read", async () => {
    const long = encodeRecord(new Uint8Array(600_000));
    const folder = folderOf({ a: Buffer.concat([long, record(1), long, record(2)]) });
    const [file] = await indexRecordFiles([join(folder, "a")]);
    expect([...file!.lengths]).toEqual([600_000, record(1).length - 16, 600_000, record(2).length - 16]);
  });
});

describe("bad data is refused with file, record and values", () => {
  const good = records(10, 13);
  const size = record(10).length;
  const flip = (at: number) => {
    const bytes = Buffer.from(good);
    bytes[at]! ^= 1;
    return bytes;
  };
  const longer = new PretrainingExampleEncoder(2 * L).encode({ inputIds: [2, 7, 3], firstSegmentLength: 3 });
  const cases: [name: string, content: Uint8Array, code: string, message: RegExp][] = [
    [
      "another length, in the first record",
      longer,
      "RECORD_LENGTH",
      /record 0 \(at byte 0\) has 16 input_ids, but max_seq_length is 8$/,
    ],
    [
      "another length, further on",
      Buffer.concat([good, longer]),
      "RECORD_LENGTH",
      /record 3 \(at byte \d+\) has 16 input_ids, but max_seq_length is 8$/,
    ],
    [
      "an id beyond the vocabulary",
      Buffer.concat([good, record(1000)]),
      "RECORD_INVALID",
      /record 3 \(at byte \d+\): input_ids\[1\] is 1000, outside 0 … 999 \(vocab_size is 1000\)$/,
    ],
    [
      "a record of something else",
      encodeRecord(encodeExample([["image", { kind: "bytes", values: [] }]])),
      "RECORD_INVALID",
      /record 0 \(at byte 0\): the feature input_ids is missing$/,
    ],
    [
      "a damaged length",
      flip(size),
      "RECORD_DAMAGED",
      /record 1 \(at byte \d+\): the check sum of its length/,
    ],
    [
      "a damaged payload",
      flip(size + 40),
      "RECORD_DAMAGED",
      /record 1 \(at byte \d+\): the check sum of its \d+ bytes/,
    ],
    [
      "a file that ends early",
      good.subarray(0, good.length - 3),
      "RECORD_DAMAGED",
      /record 2 \(at byte \d+\): it says that its payload has \d+ bytes, but at most \d+ are left/,
    ],
    [
      "a text file",
      Buffer.from("It is a truth universally acknowledged"),
      "RECORD_DAMAGED",
      /record 0 \(at byte 0\): the check sum of its length/,
    ],
  ];
  test.each(cases)("%s", async (_name, content, code, message) => {
    const path = join(folderOf({ "x.tfrecord": content }), "x.tfrecord");
    const failure = await readAll(path).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: `ERR_ELECTRA_${code}`, message: expect.stringMatching(message) });
    expect((failure as Error).message.startsWith(path)).toBe(true);
  });

  test("no file matches, all files are empty, the build was interrupted", async () => {
    const folder = folderOf({ a: "", b: "" });
    await expect(open(join(folder, "c*"))).rejects.toMatchObject({
      code: "ERR_ELECTRA_NO_RECORDS",
      message: `no file matches "${join(folder, "c*")}"`,
      hint: expect.stringContaining("build-dataset"),
    });
    await expect(open(join(folder, "nowhere/c*"))).rejects.toThrow(/no file matches/);
    await expect(open(join(folder, "*"))).rejects.toThrow(
      /the 2 files that match .* hold no records: all are empty/,
    );
    const half = folderOf({
      x: good,
      "dataset.json": JSON.stringify({ format: "electra-native dataset", status: "building" }),
    });
    await expect(open(join(half, "x"))).rejects.toThrow(/is not complete: dataset\.json says/);
    await expect(open(join(half, "y*"))).rejects.toThrow(/is not complete/);
  });

  test("a file that changes while it is used", async () => {
    const folder = folderOf({ x: records(10, 13) });
    const dataset = await open(join(folder, "x"));
    const target = { inputIds: new Int32Array(L), segmentIds: new Int32Array(L), lengths: new Int32Array(1) };
    writeFileSync(join(folder, "x"), good.subarray(0, size + 5));
    await expect(dataset.readRows([1], target)).rejects.toThrow(
      /cannot read .*x: it is shorter than when it was opened/,
    );
    dataset.close();
    await expect(dataset.readRows([1], target)).rejects.toThrow(/the data set is closed/);
  });
});

test("the fingerprint depends on names, counts and lengths of the records, not on the folder or empty files", async () => {
  const fingerprint = async (files: Record<string, Uint8Array | string>) => {
    const dataset = await open(join(folderOf(files), "x*"));
    dataset.close();
    return dataset.fingerprint;
  };
  const base = await fingerprint({ x0: records(200, 203), x1: records(20, 24) });
  expect(base).toMatchObject({ files: 2, records: 7 });
  expect(await fingerprint({ x0: records(200, 203), x1: records(20, 24), x2: "" })).toEqual(base);
  expect((await fingerprint({ x0: records(200, 203), x3: records(20, 24) })).hash).not.toBe(base.hash);
  // The same size and number, but another order of a long and a short record.
  const swapped = Buffer.concat([record(20), record(200), record(21)]);
  const straight = Buffer.concat([record(200), record(20), record(21)]);
  expect(swapped.length).toBe(straight.length);
  expect((await fingerprint({ x0: swapped })).hash).not.toBe((await fingerprint({ x0: straight })).hash);
});

test("a split by record hash keeps its records when files are added, and the two sides make the whole", async () => {
  const folder = folderOf({ x0: records(0, 400), x1: records(400, 600) });
  const sides = async () => {
    const dataset = await open(join(folder, "x*"));
    const { train, heldOut } = splitRecords(dataset, 0.1);
    const all = (view: typeof train) =>
      Array.from({ length: view.length }, (_, index) => view.recordAt(index));
    const result = { dataset, train: all(train), heldOut: all(heldOut) };
    dataset.close();
    return result;
  };
  const before = await sides();
  expect([...before.train, ...before.heldOut].toSorted((a, b) => a - b)).toEqual(range(0, 600));
  expect(before.train).toEqual(before.train.toSorted((a, b) => a - b));
  expect(Math.abs(before.heldOut.length - 60)).toBeLessThan(5 * Math.sqrt(54));
  copyFileSync(join(folder, "x0"), join(folder, "x2"));
  const after = await sides();
  expect(after.heldOut.filter((n) => n < 600)).toEqual(before.heldOut);
  expect(after.heldOut.filter((n) => n >= 600).map((n) => n - 600)).not.toEqual(
    before.heldOut.filter((n) => n < 400),
  );
  expect(() => splitRecords(before.dataset, 1e-9)).toThrow(/takes 0 of 600 records: both sides need some/);
});

test("globs match names as a shell does", async () => {
  const folder = folderOf({ "a1.x": "", "a2.x": "", "b1.x": "", ".a3.x": "", "a[1].x": "" });
  const names = async (pattern: string) =>
    (await globFiles(join(folder, pattern))).map((path) => path.slice(folder.length + 1));
  expect(await names("*")).toEqual(["a1.x", "a2.x", "a[1].x", "b1.x"]);
  expect(await names("a?.x")).toEqual(["a1.x", "a2.x"]);
  expect(await names("[ab]1.x")).toEqual(["a1.x", "b1.x"]);
  expect(await names("[!a]1.x")).toEqual(["b1.x"]);
  expect(await names("a\\[1].x")).toEqual(["a[1].x"]);
  expect(await names("a1.x")).toEqual(["a1.x"]);
  expect(await names("a1_x")).toEqual([]);
  expect(await names("../*/b1.x")).toEqual(
    [join("..", folder.slice(folder.lastIndexOf("/") + 1), "b1.x")].map((path) =>
      join(folder, path).slice(folder.length + 1),
    ),
  );
  expect(await names("a1.x/b")).toEqual([]);
});
