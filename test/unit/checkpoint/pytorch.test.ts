import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MemorySource } from "../../../src/checkpoint/byte-source.js";
import { PytorchReader } from "../../../src/checkpoint/pytorch/pytorch-reader.js";
import { unpickle } from "../../../src/checkpoint/pytorch/unpickler.js";
import { ElectraError } from "../../../src/errors.js";

// Files that PyTorch wrote; what is in them is said in the folder's README.
const fixtures = "test/fixtures/pytorch";

describe.each(["tensors", "tensors_legacy", "wrapped"])("%s.bin, which PyTorch wrote", (file) => {
  it("gives every tensor's values, whatever its type, strides and place in its storage", async () => {
    const reader = await PytorchReader.open(join(fixtures, `${file}.bin`));
    try {
      const plain = Float32Array.from({ length: 24 }, (_, index) => Math.fround(index / 7));
      const at = (row: number, column: number): number => plain[row * 6 + column]!;
      const expected: Readonly<Record<string, readonly [readonly number[], readonly number[]]>> = {
        plain: [[4, 6], [...plain]],
        transposed: [[6, 4], Array.from({ length: 24 }, (_, index) => at(index % 4, Math.floor(index / 4)))],
        view: [[2, 3], [1, 2].flatMap((row) => [2, 3, 4].map((column) => at(row, column)))],
        half: [[4], [1.5, -2.25, 65504, 2 ** -24]],
        bf16: [[3], [1.5, -2.25, 3.00405527047391e38]],
        double: [[3], [Math.fround(0.1), 0, 3]],
        scalar: [[], [3.25]],
        empty: [[0, 3], []],
        parameter: [
          [2, 2],
          [1, 1, 1, 1],
        ],
      };
      for (const [name, [shape, values]] of Object.entries(expected)) {
        expect(reader.tensors.get(name)?.shape, name).toEqual(shape);
        expect([...(await reader.readFloat32(name))], name).toEqual(values);
      }
      expect(await reader.readIntegers("long")).toEqual([0, 1, 2, 3, 4]);
      expect(await reader.readIntegers("bool")).toEqual([1, 0]);
      expect(reader.tensors.size).toBe(Object.keys(expected).length + 2);
      await expect(reader.readFloat32("long")).rejects.toThrow(/is I64, expected floating-point/);
    } finally {
      await reader.close();
    }
  });
});

describe("a file of pickles", () => {
  it.each([
    ["namespace", 'GLOBAL at byte 17: the global "argparse.Namespace" is refused'],
    ["system", 'the global "posix.system" is refused'],
    ["system_legacy", 'the global "posix.system" is refused'],
  ])("%s.bin is refused by the name of what it asks for", async (file, message) => {
    const path = join(fixtures, `${file}.bin`);
    await expect(PytorchReader.open(path)).rejects.toMatchObject({
      code: "ERR_ELECTRA_PICKLE_FORBIDDEN",
      message: expect.stringContaining(message) as string,
      hint: expect.stringContaining("model.safetensors") as string,
    });
  });

  it("refuses a tensor that is larger than its storage", async () => {
    await expect(PytorchReader.open(join(fixtures, "expanded.bin"))).rejects.toThrow(
      /shape \[1000000\] at 0 leaves its storage of 1 elements/,
    );
  });

  it("reports any cut, and any flipped bit of a tensor in an archive", async () => {
    for (const file of ["tensors", "tensors_legacy"]) {
      const bytes = await readFile(join(fixtures, `${file}.bin`));
      for (let length = 0; length < bytes.length; length += 7) {
        await expect(readAll(bytes.subarray(0, length)), `${file}, ${length} bytes`).rejects.toBeInstanceOf(
          ElectraError,
        );
      }
    }
    const archive = await readFile(join(fixtures, "tensors.bin"));
    // The storage of the first three tensors: 24 floats, whose second is 1/7.
    const start = archive.indexOf(Buffer.from(Float32Array.of(0, 1 / 7).buffer));
    expect(start).toBeGreaterThan(0);
    for (const at of [start, start + 50, start + 95]) {
      const damaged = Buffer.from(archive);
      damaged[at]! ^= 1;
      await expect(readAll(damaged)).rejects.toThrow(/check sum is 0x/);
    }
  });

  it("says what a foreign file is", async () => {
    const tar = new Uint8Array(600);
    tar.set(new TextEncoder().encode("ustar"), 257);
    await expect(readAll(tar)).rejects.toThrow(/tar archive/);
    await expect(readAll(new TextEncoder().encode("hello"))).rejects.toThrow(
      /neither a ZIP archive nor a pickle/,
    );
    await expect(readAll(Uint8Array.of(0x80, 2, 0x4b, 1, 0x2e))).rejects.toThrow(/not one of torch.save/);
  });

  // (opcode, what is refused): what builds objects, calls or imports, and what state dicts have no use for.
  it.each([
    ["i", "INST"],
    ["o", "OBJ"],
    ["\x81", "NEWOBJ"],
    ["\x92", "NEWOBJ_EX"],
    ["\x93", "STACK_GLOBAL"],
    ["\x82", "EXT1"],
    ["P", "PERSID"],
    ["B", "BINBYTES"],
    ["\xff", "0xff"],
  ])("refuses the opcode %j by its name, %s", (opcode, name) => {
    const bytes = Uint8Array.from([0x80, 2, opcode.charCodeAt(0), 0x2e]);
    expect(() => unpickle(bytes)).toThrow(`${name} at byte 2: no file of weights needs this, it is refused`);
  });

  it("reads numbers, strings, lists and dicts", () => {
    const text = (code: string): Uint8Array => Uint8Array.from(code, (character) => character.charCodeAt(0));
    // Python: pickle.dumps({"a": [1, 300, -5, 1.5, None, True], 2: (2**40,)}, 2)
    const pickle = text(
      "\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01M,\x01J\xfb\xff\xff\xffG?\xf8\x00\x00\x00\x00\x00\x00N\x88eK\x02\x8a\x06\x00\x00\x00\x00\x00\x01\x85q\x03u.",
    );
    const { value, end } = unpickle(pickle);
    expect(end).toBe(pickle.length);
    expect(value).toEqual(
      new Map<string | number, unknown>([
        ["a", [1, 300, -5, 1.5, null, true]],
        [2, { kind: "tuple", items: [2 ** 40] }],
      ]),
    );
  });
});

async function readAll(bytes: Uint8Array): Promise<void> {
  const reader = await PytorchReader.read(new MemorySource("memory.bin", bytes));
  for (const name of reader.tensors.keys()) for await (const _ of reader.chunks(name));
}
