import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { maskedCrc32c } from "../../../src/data/crc32c.js";
import { PretrainingExampleEncoder } from "../../../src/data/pretraining-example.js";
import { readRecordFile, readRecords } from "../../../src/data/tfrecord-reader.js";
import { encodeRecord } from "../../../src/data/tfrecord-writer.js";
import { ElectraError } from "../../../src/errors.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "electra-tfrecord-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const payloads = [Uint8Array.of(), Uint8Array.of(7), new Uint8Array(5000).fill(3), Uint8Array.of(1, 2, 3)];
const whole = Buffer.concat(payloads.map(encodeRecord));
/** Where the third record begins: behind frames of 16 and 17 bytes. */
const third = 33;

/** A header with any 64-bit length and a valid check sum. */
function header(length: bigint): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeBigInt64LE(length);
  bytes.writeUInt32LE(maskedCrc32c(bytes, 0, 8), 8);
  return bytes;
}

function flipped(at: number): Buffer {
  const bytes = Buffer.from(whole);
  bytes[at]! ^= 1;
  return bytes;
}

test("the record of the specification, byte for byte", () => {
  const expected = `4b00000000000000 87099996
    0a490a160a09696e7075745f69647312091a070a0502ac020300
    0a160a0a696e7075745f6d61736b12081a060a0401010100
    0a170a0b7365676d656e745f69647312081a060a0400000000
    297fa417`.replace(/\s/g, "");
  const record = new PretrainingExampleEncoder(4).encode({ inputIds: [2, 300, 3], firstSegmentLength: 3 });
  expect(Buffer.from(record).toString("hex")).toBe(expected);
});

test("records that were written are read back, from memory and from a file in small chunks", async () => {
  expect([...readRecords(whole)].map((record) => Buffer.from(record.payload))).toEqual(
    payloads.map((p) => Buffer.from(p)),
  );
  const file = join(folder, "whole");
  writeFileSync(file, whole);
  for (const chunkBytes of [1, 13, 100, 10_000]) {
    const read: Buffer[] = [];
    const offsets: number[] = [];
    for await (const record of readRecordFile(file, { chunkBytes })) {
      read.push(Buffer.from(record.payload));
      offsets.push(record.offset);
    }
    expect(read).toEqual(payloads.map((p) => Buffer.from(p)));
    expect(offsets).toEqual([0, 16, third, third + 5016]);
  }
});

describe("damage is reported with file, record number, byte offset and what is wrong", () => {
  const end = whole.length;
  const cases: [name: string, bytes: Buffer, records: number, message: RegExp][] = [
    [
      "a flipped bit in a length",
      flipped(third),
      2,
      /record 2 \(at byte 33\): the check sum of its length is 0x\w{8}, but the length gives 0x\w{8}$/,
    ],
    [
      "a flipped bit in a length's check sum",
      flipped(third + 9),
      2,
      /record 2 \(at byte 33\): the check sum of its length/,
    ],
    [
      "a flipped bit in a payload",
      flipped(third + 100),
      2,
      /record 2 \(at byte 33\): the check sum of its 5000 bytes is 0x\w{8}, but 0x\w{8} was stored$/,
    ],
    [
      "a flipped bit in a payload's check sum",
      flipped(third + 5013),
      2,
      /record 2 \(at byte 33\): the check sum of its 5000 bytes/,
    ],
    [
      "an end inside a length",
      whole.subarray(0, third + 5),
      2,
      /record 2 \(at byte 33\): the file ends inside a record's header: 5 of its 12 bytes are there$/,
    ],
    ["an end inside a length's check sum", whole.subarray(0, third + 11), 2, /11 of its 12 bytes/],
    [
      "an end inside a payload",
      whole.subarray(0, third + 500),
      2,
      /record 2 \(at byte 33\): it says that its payload has 5000 bytes, but at most 484 are left in the file$/,
    ],
    [
      "an end inside a payload's check sum",
      whole.subarray(0, end - 1),
      3,
      /record 3 \(at byte 5049\): it says that its payload has 3 bytes, but at most 2 are left/,
    ],
    ["an end right behind a header", whole.subarray(0, third + 12), 2, /at most 0 are left/],
    [
      "garbage behind the last record",
      Buffer.concat([whole, Buffer.from("garbage")]),
      4,
      /record 4 \(at byte 5068\): the file ends inside a record's header: 7 of/,
    ],
    [
      "zeros behind the last record",
      Buffer.concat([whole, Buffer.alloc(16)]),
      4,
      /record 4 \(at byte 5068\): the check sum of its length is 0x00000000/,
    ],
    [
      "a negative length with a valid check sum",
      Buffer.concat([whole, header(-5n), Buffer.alloc(50)]),
      4,
      /it says that its payload has -5 bytes, but at most 46 are left/,
    ],
    [
      "a huge length with a valid check sum",
      Buffer.concat([whole, header(2n ** 40n), Buffer.alloc(50)]),
      4,
      /it says that its payload has 1099511627776 bytes/,
    ],
    [
      "the largest length with a valid check sum",
      Buffer.concat([whole, header(2n ** 63n - 1n), Buffer.alloc(50)]),
      4,
      /payload has 9223372036854775807 bytes/,
    ],
  ];
  test.each(cases)("%s", async (name, bytes, records, message) => {
    let read = 0;
    const reading = (): void => {
      for (const _ of readRecords(bytes, "some.tfrecord")) read++;
    };
    expect(reading).toThrow(message);
    expect(reading).toThrow(expect.objectContaining({ code: "ERR_ELECTRA_RECORD_DAMAGED" }));
    expect(reading).toThrow(/^some\.tfrecord: /);
    expect(read).toBe(3 * records);

    const file = join(folder, name);
    writeFileSync(file, bytes);
    let streamed = 0;
    const streaming = async (): Promise<void> => {
      for await (const _ of readRecordFile(file, { chunkBytes: 64 })) streamed++;
    };
    await expect(streaming()).rejects.toThrow(message);
    expect(streamed).toBe(records);
  });
});

test("an empty file has no records and no damage", async () => {
  expect([...readRecords(new Uint8Array(0))]).toEqual([]);
  writeFileSync(join(folder, "empty"), "");
  for await (const _ of readRecordFile(join(folder, "empty"))) expect.unreachable();
});

test("a file that does not exist is named", async () => {
  const path = join(folder, "missing");
  const failure = await readRecordFile(path)
    .next()
    .catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(ElectraError);
  expect(failure).toMatchObject({
    code: "ERR_ELECTRA_FILE",
    message: expect.stringContaining(`cannot open ${path}`),
  });
});

test("reading a file ends when its signal aborts", async () => {
  writeFileSync(join(folder, "abort"), whole);
  const controller = new AbortController();
  const reading = readRecordFile(join(folder, "abort"), { signal: controller.signal, chunkBytes: 16 });
  await reading.next();
  controller.abort(new Error("enough"));
  await expect(reading.next()).rejects.toThrow("enough");
});
