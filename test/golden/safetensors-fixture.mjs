// Reads a whole fixture into memory: name -> { shape, data }. Fixtures are small and trusted; the package's own reader,
// which trusts nothing, has tests of its own.
import { readFile } from "node:fs/promises";

const arrays = { F32: Float32Array, I32: Int32Array, I64: BigInt64Array };

export async function readFixture(path) {
  const file = await readFile(path);
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + headerBytes).toString("utf8"));
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: offsets } = {}] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const bytes = file.subarray(8 + headerBytes + offsets[0], 8 + headerBytes + offsets[1]);
    const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    tensors.set(name, { shape, data: new arrays[dtype](copy) });
  }
  return tensors;
}
