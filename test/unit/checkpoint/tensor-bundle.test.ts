import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemorySource, type OpenByteSource } from "../../../src/checkpoint/byte-source.js";
import { DurableFiles } from "../../../src/checkpoint/durable-files.js";
import { findTensorBundle, parseCheckpointState } from "../../../src/checkpoint/tensorflow/find-bundle.js";
import { decompressSnappy } from "../../../src/checkpoint/tensorflow/snappy.js";
import { readSortedTable } from "../../../src/checkpoint/tensorflow/sorted-table.js";
import { formatSortedTable } from "../../../src/checkpoint/tensorflow/sorted-table-writer.js";
import { TensorBundleReader } from "../../../src/checkpoint/tensorflow/tensor-bundle.js";
import { writeTensorBundle } from "../../../src/checkpoint/tensorflow/write-tensor-bundle.js";
import { maskedCrc32c } from "../../../src/data/crc32c.js";
import { ElectraError } from "../../../src/errors.js";

// Equality with what TensorFlow wrote is checked by the golden checks (`checkpoint`, `checkpoint_micro`); here are the parts
// that its small files do not reach.

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bundle-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const bytesOf = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe("a sorted table", () => {
  it("gives back any keys and values, in blocks of any size", () => {
    const key = fc.uint8Array({ maxLength: 12, max: 3 });
    fc.assert(
      fc.property(
        fc.uniqueArray(key, { selector: (bytes) => Buffer.from(bytes).toString("hex"), maxLength: 60 }),
        fc.integer({ min: 1, max: 300 }),
        (keys, blockBytes) => {
          const entries = keys
            .sort((a, b) => Buffer.compare(a, b))
            .map((each, index) => ({ key: each, value: new Uint8Array(index % 5).fill(index) }));
          const read = [...readSortedTable(formatSortedTable(entries, blockBytes))];
          expect(read.map((entry) => [[...entry.key], [...entry.value]])).toEqual(
            entries.map((entry) => [[...entry.key], [...entry.value]]),
          );
        },
      ),
      { numRuns: 200 },
    );
  });

  const table = formatSortedTable(
    ["a", "ab", "b"].map((key) => ({ key: new TextEncoder().encode(key), value: bytesOf(1, 2, 3) })),
  );

  it("reports every flipped bit of a block and of the magic number", () => {
    for (let at = 0; at < table.length; at++) {
      // The rest of the footer is padding, which nobody reads.
      const footer = table.length - 48;
      if (at >= footer + 4 && at < table.length - 8) continue;
      for (const bit of [1, 128]) {
        const damaged = table.slice();
        damaged[at]! ^= bit;
        expect(() => [...readSortedTable(damaged)], `byte ${at}`).toThrow();
      }
    }
  });

  it("reports keys out of order although every check sum is right", () => {
    const disordered = formatSortedTable([
      { key: bytesOf(2), value: bytesOf() },
      { key: bytesOf(1), value: bytesOf() },
    ]);
    expect(() => [...readSortedTable(disordered)]).toThrow(/not in order/);
  });

  it("does not let shared prefixes blow up the keys", () => {
    const long = new Uint8Array(4000).fill(7);
    const entries = Array.from({ length: 3000 }, (_, index) => ({
      key: Uint8Array.from([...long, index >> 8, index & 255]),
      value: bytesOf(),
    }));
    const file = formatSortedTable(entries);
    // Keys in full at every sixteenth entry keep TensorFlow's own files far from the limit.
    expect(file.length).toBeGreaterThan(700_000);
    expect(() => [...readSortedTable(file)]).toThrow(/times as large as the file/);
  });

  it("reads blocks that Snappy compressed", () => {
    // The block: sizes 0, 1, 40; "A"; 40 nines; one restart point at 0. As literal, literal and a copy of 39.
    const block = bytesOf(52, 4 << 2, 0, 1, 40, 65, 9, (38 << 2) | 2, 1, 0, 7 << 2, 0, 0, 0, 0, 1, 0, 0, 0);
    const file = withOneBlock(block, 1);
    const [read] = readSortedTable(file);
    expect([...read!.key]).toEqual([65]);
    expect([...read!.value]).toEqual(Array(40).fill(9));
    expect(() => [...readSortedTable(withOneBlock(block, 2))]).toThrow(/compression type 2/);
  });
});

/** A table with this data block, stored with this type of compression. */
function withOneBlock(contents: Uint8Array, type: number): Uint8Array {
  const plain = (data: Uint8Array, kind = 0): Uint8Array => {
    const stored = Uint8Array.from([...data, kind, 0, 0, 0, 0]);
    new DataView(stored.buffer).setUint32(data.length + 1, maskedCrc32c(stored, 0, data.length + 1), true);
    return stored;
  };
  const data = plain(contents, type);
  const meta = plain(bytesOf(0, 0, 0, 0, 1, 0, 0, 0));
  const index = plain(bytesOf(0, 1, 2, 66, 0, contents.length, 0, 0, 0, 0, 1, 0, 0, 0));
  const footer = new Uint8Array(48);
  footer.set([data.length, meta.length - 5, data.length + meta.length, index.length - 5]);
  new DataView(footer.buffer).setBigUint64(40, 0xdb4775248b80fb57n, true);
  return Buffer.concat([data, meta, index, footer]);
}

describe("Snappy", () => {
  it.each([
    ["a literal", bytesOf(3, 2 << 2, 97, 98, 99), "abc"],
    ["a run, source and target overlapping", bytesOf(8, 0, 97, (6 << 2) | 2, 1, 0), "aaaaaaaa"],
    ["a copy with an offset of eleven bits", bytesOf(6, 1 << 2, 97, 98, (0 << 2) | 1, 2), "ababab"],
    ["a copy with an offset of 32 bits", bytesOf(6, 1 << 2, 97, 98, (3 << 2) | 3, 2, 0, 0, 0), "ababab"],
    ["a literal whose length takes a byte", bytesOf(61, 60 << 2, 60, ...Array(61).fill(97)), "a".repeat(61)],
    ["nothing", bytesOf(0), ""],
  ])("reads %s", (_, bytes, text) => {
    expect(Buffer.from(decompressSnappy(bytes, 100)).toString()).toBe(text);
  });

  it.each([
    ["a length that is not there", bytesOf(), /cut off/],
    ["more than it may be", bytesOf(101, 0, 97), /more than 100/],
    ["less than it says", bytesOf(5, 0, 97), /says 5 bytes and holds 1/],
    ["more than it says", bytesOf(1, 1 << 2, 97, 98), /holds more/],
    ["a copy from before the start", bytesOf(6, 0, 97, (4 << 2) | 2, 2, 0), /2 bytes back, 1 are there/],
    ["a copy of nothing", bytesOf(6, 0, 97, (4 << 2) | 2, 0, 0), /0 bytes back/],
    ["a literal cut off", bytesOf(5, 4 << 2, 97), /literal is cut off/],
    ["an offset cut off", bytesOf(6, 0, 97, (4 << 2) | 2, 1), /cut off/],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => decompressSnappy(bytes, 100)).toThrow(message);
  });
});

describe("a tensor bundle", () => {
  const tensor = (name: string, values: readonly number[]) => ({
    name,
    dtype: "F32" as const,
    shape: [values.length],
    data: () => [new Uint8Array(Float32Array.from(values).buffer)],
  });

  it("is found by its folder, prefix, index or data file, wherever the folder was moved", async () => {
    const place = join(folder, "found");
    await new DurableFiles().ensureFolder(place);
    for (const step of [1, 2]) {
      await writeTensorBundle(join(place, `model.ckpt-${step}`), [tensor("x", [step])], new DurableFiles());
    }
    const second = join(place, "model.ckpt-2");
    for (const path of [second, `${second}.index`, `${second}.data-00000-of-00001`]) {
      expect(await findTensorBundle(path)).toBe(second);
    }
    await expect(findTensorBundle(place)).rejects.toThrow(/2 TensorFlow checkpoints/);
    await writeFile(join(place, "checkpoint"), 'model_checkpoint_path: "/elsewhere/model.ckpt-2"\n');
    expect(await findTensorBundle(place)).toBe(second);
    await writeFile(join(place, "checkpoint"), 'model_checkpoint_path: "model.ckpt-3"\n');
    await expect(findTensorBundle(place)).rejects.toThrow(/names model.ckpt-3, which is not there/);
    expect(await findTensorBundle(join(folder, "nothing"))).toBeUndefined();
  });

  it("reads the state file's quoting", () => {
    expect(parseCheckpointState('model_checkpoint_path: "a\\"b\\\\c"\nall_model_checkpoint_paths: "x"')).toBe(
      'a"b\\c',
    );
    expect(parseCheckpointState("all_model_checkpoint_paths: 'x'")).toBeUndefined();
  });

  it("refuses entries that say what cannot be", async () => {
    const entry = (value: readonly number[]) =>
      formatSortedTable([
        { key: bytesOf(), value: bytesOf(8, 1, 26, 2, 8, 1) },
        { key: bytesOf(120), value: bytesOf(...value) },
      ]);
    const open = (index: Uint8Array) => {
      const source: OpenByteSource = async (path) =>
        new MemorySource(path, path.endsWith(".index") ? index : bytesOf(1));
      return TensorBundleReader.open("m", source);
    };
    const float4 = [8, 1, 18, 4, 18, 2, 8, 1];
    for (const [value, message] of [
      [[8, 99, 18, 0, 40, 4], /variable "x": it has data type 99/],
      [[...float4, 24, 1, 40, 4], /data file 1 of 1/],
      [[...float4, 40, 5], /takes 4 bytes, not 5/],
      [[...float4, 40, 4, 58, 0], /several slices/],
      [[8, 7, 18, 6, 18, 4, 8, 128, 128, 4, 40, 4], /65536 strings do not fit/],
      [[8, 1, 18, 12, 18, 10, 8, 128, 128, 128, 128, 128, 128, 128, 128, 1, 40, 4], /too large|cannot|takes/],
      [[8, 1, 18], /variable "x"/],
    ] as const) {
      await expect(open(entry(value))).rejects.toThrow(message);
      await expect(open(entry(value))).rejects.toBeInstanceOf(ElectraError);
    }
    // What the entry says is possible, but the data file is too short for it.
    const reader = await open(entry([...float4, 40, 4]));
    await expect(reader.checkFiles()).rejects.toThrow(
      /"x" is said to be the 4 bytes from byte 0 on, but the file has 1/,
    );
  });

  it("writes nothing that TensorFlow could not read", async () => {
    const files = new DurableFiles();
    await expect(
      writeTensorBundle(join(folder, "a"), [tensor("x", [1]), tensor("x", [2])], files),
    ).rejects.toThrow(/used twice/);
    const short = { ...tensor("x", [1]), shape: [2] };
    await expect(writeTensorBundle(join(folder, "b"), [short], files)).rejects.toThrow(
      /needs 8 bytes, got 4/,
    );
    await expect(readFile(join(folder, "b.index"))).rejects.toThrow();
  });
});
