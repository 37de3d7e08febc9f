import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DurableFiles } from "../../../src/checkpoint/durable-files.js";
import { SafetensorsReader, writeSafetensors } from "../../../src/checkpoint/safetensors.js";
import { DTYPE_BYTES, type Dtype } from "../../../src/checkpoint/safetensors-header.js";

let folder: string;
let counter = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "safetensors-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const freshPath = (): string => join(folder, `${counter++}.safetensors`);

/** A file with any header text and any number of data bytes. */
async function fileOf(header: string, dataBytes: number, length?: bigint): Promise<string> {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  const path = freshPath();
  await writeFile(path, bytes);
  return path;
}

const tensor = (begin: number, end: number, shape: readonly number[], dtype = "F32") => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe("a safetensors file", () => {
  it("comes back as it was written, whatever the names, types and shapes", async () => {
    const dtypes = Object.keys(DTYPE_BYTES) as Dtype[];
    const tensors = fc.uniqueArray(
      fc.record({
        name: fc.oneof(
          fc.string({ unit: "binary" }),
          fc.constantFrom("__proto__", "1", "a/b.c", "toString", "ü€😀", ""),
        ),
        dtype: fc.constantFrom(...dtypes),
        shape: fc.array(fc.nat(5), { maxLength: 3 }),
        fill: fc.nat(255),
      }),
      { selector: ({ name }) => name, maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(tensors, async (list) => {
        const usable = list.filter(({ name }) => name !== "__metadata__");
        const path = freshPath();
        const bytesOf = ({ dtype, shape, fill }: (typeof list)[number]): Uint8Array =>
          new Uint8Array(shape.reduce((a, b) => a * b, 1) * DTYPE_BYTES[dtype]).map(
            (_, i) => (i * 31 + fill) & 255,
          );
        const size = await writeSafetensors(
          path,
          usable.map((entry) => ({ ...entry, data: () => [bytesOf(entry)] })),
          new DurableFiles(),
        );
        const written = await readFile(path);
        expect(written.length).toBe(size);
        expect(written.readBigUint64LE(0) % 8n).toBe(0n);
        const reader = await SafetensorsReader.open(path);
        try {
          expect(reader.metadata).toEqual({ format: "pt" });
          expect(new Set(reader.tensors.keys())).toEqual(new Set(usable.map(({ name }) => name)));
          for (const entry of usable) {
            const info = reader.tensors.get(entry.name)!;
            expect([info.dtype, info.shape]).toEqual([entry.dtype, entry.shape]);
            expect(info.begin % DTYPE_BYTES[entry.dtype]).toBe(0);
            expect(Buffer.from(await reader.readBytes(entry.name))).toEqual(Buffer.from(bytesOf(entry)));
          }
        } finally {
          await reader.close();
        }
      }),
      { numRuns: 40 },
    );
  });

  it("keeps the values of a tensor larger than one read and one write", async () => {
    const values = Float32Array.from({ length: 700_001 }, (_, i) => Math.fround(i / 7));
    const path = freshPath();
    const bytes = new Uint8Array(values.buffer);
    await writeSafetensors(
      path,
      [{ name: "x", dtype: "F32", shape: [700_001], data: () => [bytes.subarray(0, 5), bytes.subarray(5)] }],
      new DurableFiles(),
    );
    const reader = await SafetensorsReader.open(path);
    expect(Buffer.from((await reader.readFloat32("x")).buffer).equals(bytes)).toBe(true);
    const pieces: Uint8Array[] = [];
    for await (const piece of reader.chunks("x")) pieces.push(piece);
    expect(pieces.length).toBeGreaterThan(1);
    expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
    await reader.close();
  });

  it("is never written with more or fewer bytes than a tensor's shape says", async () => {
    for (const length of [0, 11, 13]) {
      const source = { name: "x", dtype: "F32", shape: [3], data: () => [new Uint8Array(length)] } as const;
      await expect(writeSafetensors(freshPath(), [source], new DurableFiles())).rejects.toMatchObject({
        code: "ERR_ELECTRA_TENSOR_SIZE",
        message: expect.stringContaining(`needs 12 bytes, got ${length}`),
      });
    }
  });

  it("does not replace a file that is there", async () => {
    const path = freshPath();
    await writeFile(path, "precious");
    await expect(writeSafetensors(path, [], new DurableFiles())).rejects.toMatchObject({ code: "EEXIST" });
    expect(await readFile(path, "utf8")).toBe("precious");
  });

  it("widens half precision and bfloat16 exactly", async () => {
    const path = freshPath();
    // 1, -2, 2^-24 (smallest), 65504 (largest), Infinity | 1, -2.5
    const half = new Uint16Array([0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00]);
    const brain = new Uint16Array([0x3f80, 0xc020]);
    await writeSafetensors(
      path,
      [
        { name: "half", dtype: "F16", shape: [5], data: () => [new Uint8Array(half.buffer)] },
        { name: "brain", dtype: "BF16", shape: [2], data: () => [new Uint8Array(brain.buffer)] },
      ],
      new DurableFiles(),
    );
    const reader = await SafetensorsReader.open(path);
    expect([...(await reader.readFloat32("half"))]).toEqual([1, -2, 2 ** -24, 65504, Infinity]);
    expect([...(await reader.readFloat32("brain"))]).toEqual([1, -2.5]);
    await reader.close();
  });
});

describe("a damaged safetensors file", () => {
  const cases: readonly [string, string, number, bigint | undefined, RegExp][] = [
    ["header longer than the file", "{}", 0, 3n, /header length 3 exceeds the file \(10 bytes\)/],
    ["header of 2^63 bytes", "{}", 0, 2n ** 63n, /exceeds the format's/],
    ["header that is no JSON", "{]", 0, undefined, /not valid UTF-8 JSON/],
    ["header that is a list", "[]", 0, undefined, /not a JSON object/],
    ["metadata that is no text", '{"__metadata__":{"a":1}}', 0, undefined, /__metadata__ entry "a"/],
    [
      "unknown dtype",
      JSON.stringify({ a: tensor(0, 4, [1], "F31") }),
      4,
      undefined,
      /"a": unknown dtype "F31"/,
    ],
    [
      "dtype of Object.prototype",
      JSON.stringify({ a: tensor(0, 4, [1], "toString") }),
      4,
      undefined,
      /unknown dtype/,
    ],
    [
      "negative size",
      JSON.stringify({ a: tensor(0, 4, [-1]) }),
      4,
      undefined,
      /shape \[-1\] is not a list of sizes/,
    ],
    ["fraction", JSON.stringify({ a: tensor(0, 4, [0.5]) }), 4, undefined, /is not a list of sizes/],
    [
      "shape too small",
      JSON.stringify({ a: tensor(0, 8, [1]) }),
      8,
      undefined,
      /takes 4 bytes, data_offsets give 8/,
    ],
    [
      "shape too large for a number",
      JSON.stringify({ a: tensor(0, 8, [2 ** 40, 2 ** 40]) }),
      8,
      undefined,
      /too large/,
    ],
    [
      "offset behind the file",
      JSON.stringify({ a: tensor(0, 2 ** 50, [2 ** 48]) }),
      4,
      undefined,
      /leave the 4 data bytes/,
    ],
    ["offsets reversed", JSON.stringify({ a: tensor(4, 0, [1]) }), 4, undefined, /leave the 4 data bytes/],
    [
      "overlap",
      JSON.stringify({ a: tensor(0, 8, [2]), b: tensor(4, 12, [2]) }),
      12,
      undefined,
      /tensor "b": .* overlaps the tensor before it/,
    ],
    ["hole", JSON.stringify({ a: tensor(0, 4, [1]), b: tensor(8, 12, [1]) }), 12, undefined, /leaves a hole/],
    [
      "tail",
      JSON.stringify({ a: tensor(0, 4, [1]) }),
      5,
      undefined,
      /end at byte 4 of the data, but 5 bytes follow/,
    ],
  ];
  it.each(cases)("is refused for a %s", async (_name, header, dataBytes, length, message) => {
    await expect(SafetensorsReader.open(await fileOf(header, dataBytes, length))).rejects.toMatchObject({
      code: "ERR_ELECTRA_SAFETENSORS",
      message: expect.stringMatching(message),
    });
  });

  it("is refused when cut off at any byte", async () => {
    const path = freshPath();
    const data = new Uint8Array(20).fill(1);
    await writeSafetensors(
      path,
      [
        { name: "a", dtype: "F32", shape: [2], data: () => [data.subarray(0, 8)] },
        { name: "b", dtype: "F32", shape: [3], data: () => [data.subarray(0, 12)] },
      ],
      new DurableFiles(),
    );
    const whole = await readFile(path);
    const cut = freshPath();
    for (let length = 0; length < whole.length; length++) {
      await writeFile(cut, whole.subarray(0, length));
      await expect(SafetensorsReader.open(cut)).rejects.toMatchObject({ code: "ERR_ELECTRA_SAFETENSORS" });
    }
  });

  it("never crashes the reader nor makes it allocate more than the file, whatever was changed", async () => {
    const original = JSON.stringify({ a: tensor(0, 8, [2]), b: tensor(8, 16, [2, 1]) });
    const base = await readFile(await fileOf(original, 16));
    const edits = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    const path = freshPath();
    await fc.assert(
      fc.asyncProperty(edits, async (list) => {
        const bytes = Buffer.from(base);
        for (const [at, value] of list) bytes[at] = value;
        await writeFile(path, bytes);
        let reader: SafetensorsReader;
        try {
          reader = await SafetensorsReader.open(path);
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_ELECTRA_SAFETENSORS" });
          return;
        }
        let total = 0;
        for (const name of reader.tensors.keys()) total += (await reader.readBytes(name)).length;
        expect(total).toBeLessThanOrEqual(bytes.length);
        await reader.close();
      }),
      { numRuns: 200 },
    );
  });

  it("that does not exist is reported as missing", async () => {
    await expect(SafetensorsReader.open(join(folder, "none"))).rejects.toMatchObject({
      code: "ERR_ELECTRA_FILE_NOT_FOUND",
    });
  });
});
