import { WireError, WireReader, WireType } from "../../data/proto-wire.js";
import { DTYPE_BYTES, type Dtype, elementCount } from "../safetensors-header.js";
import type { StoredTensor } from "../tensor-file.js";

/** A tensor of a TensorFlow checkpoint: what it is, and where its bytes lie. */
export interface BundleEntry extends StoredTensor {
  /** Number of the data file. */
  readonly shard: number;
  readonly offset: number;
  readonly size: number;
  /** Masked CRC-32C of the bytes. */
  readonly crc: number;
}

/** `BundleHeaderProto`, the value of the empty key. */
export interface BundleHeader {
  readonly shards: number;
}

/** Numbers of `tensorflow/core/framework/types.proto` and the names that safetensors has for the same types. */
const TF_DTYPES: Readonly<Record<number, Dtype | "STRING">> = {
  1: "F32",
  2: "F64",
  3: "I32",
  4: "U8",
  5: "I16",
  6: "I8",
  7: "STRING",
  9: "I64",
  10: "BOOL",
  14: "BF16",
  17: "U16",
  19: "F16",
  22: "U32",
  23: "U64",
};

/** The number that TensorFlow has for a type; undefined where it has none that we write. */
export function tensorflowDtype(dtype: Dtype): number | undefined {
  const found = Object.entries(TF_DTYPES).find(([, name]) => name === dtype);
  return found === undefined ? undefined : Number(found[0]);
}

/** @throws WireError with what is wrong */
export function parseBundleHeader(bytes: Uint8Array): BundleHeader {
  let shards = 0;
  eachField(bytes, (field, reader, limit) => {
    if (field === 1) shards = reader.low;
    else if (field === 2 && reader.low !== 0) throw new WireError("its numbers are big-endian", reader.at);
    else if (field === 3) {
      eachFieldWithin(reader, reader.at, limit, (part) => {
        // min_consumer: the oldest reader that may read this; ours is as good as version 1.
        if (part === 2 && reader.low > 1) {
          throw new WireError(`it asks for a reader of version ${reader.low}`, reader.at);
        }
      });
    }
  });
  if (shards < 1) throw new WireError("it names no data files", 0);
  return { shards };
}

/** `BundleEntryProto`. @throws WireError with what is wrong */
export function parseBundleEntry(bytes: Uint8Array): BundleEntry {
  let type = 0;
  let [shard, offset, size, crc, slices] = [0, 0, 0, 0, 0];
  const shape: number[] = [];
  eachField(bytes, (field, reader, limit) => {
    const value = reader.high * 2 ** 32 + reader.low;
    if (field === 1) type = value;
    else if (field === 2) readShape(reader, limit, shape);
    else if (field === 3) shard = value;
    else if (field === 4) offset = value;
    else if (field === 5) size = value;
    else if (field === 6) crc = value;
    else if (field === 7) slices++;
  });
  const dtype = TF_DTYPES[type];
  if (dtype === undefined) throw new WireError(`it has data type ${type}, which is not supported`, 0);
  if (slices > 0) throw new WireError("it is one variable in several slices, which is not supported", 0);
  if (!Number.isSafeInteger(offset + size)) throw new WireError(`it lies at byte ${offset}`, 0);
  const count = elements(shape);
  if (dtype !== "STRING" && count * DTYPE_BYTES[dtype] !== size) {
    throw new WireError(
      `${dtype} [${shape.join(", ")}] takes ${count * DTYPE_BYTES[dtype]} bytes, not ${size}`,
      0,
    );
  }
  // The length of each string takes a byte at least, and a check sum of four follows.
  if (dtype === "STRING" && count + 4 > size) {
    throw new WireError(`${count} strings do not fit into ${size} bytes`, 0);
  }
  return { dtype, shape, shard, offset, size, crc };
}

/** Bytes of a `BundleEntryProto` as TensorFlow writes it: zeros are left out, the shape is there even if empty. */
export function formatBundleEntry({ dtype, shape, shard, offset, size, crc }: BundleEntry): Uint8Array {
  const type = dtype === "STRING" ? undefined : tensorflowDtype(dtype);
  if (type === undefined) throw new RangeError(`TensorFlow has no data type for ${dtype}`);
  const dims = shape.flatMap((dim) => {
    const inner = dim === 0 ? [] : [0x08, ...varint(dim)];
    return [0x12, inner.length, ...inner];
  });
  const numbers = [
    [0x18, shard],
    [0x20, offset],
    [0x28, size],
  ].flatMap(([tag, value]) => (value === 0 ? [] : [tag!, ...varint(value!)]));
  const tail = crc === 0 ? [] : [0x35, crc & 255, (crc >>> 8) & 255, (crc >>> 16) & 255, crc >>> 24];
  return Uint8Array.from([0x08, type, 0x12, ...varint(dims.length), ...dims, ...numbers, ...tail]);
}

/** Bytes of a `BundleHeaderProto` of little-endian data files, version 1. */
export function formatBundleHeader({ shards }: BundleHeader): Uint8Array {
  return Uint8Array.from([0x08, ...varint(shards), 0x1a, 0x02, 0x08, 0x01]);
}

/** A non-negative safe integer in base 128, the low digits first. */
export function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return bytes;
}

function elements(shape: readonly number[]): number {
  try {
    return elementCount(shape);
  } catch (error) {
    throw new WireError((error as Error).message, 0);
  }
}

/** `TensorShapeProto`: repeated field 2 is a dimension, whose field 1 is its size; field 3 says that it is unknown. */
function readShape(reader: WireReader, limit: number, shape: number[]): void {
  eachFieldWithin(reader, reader.at, limit, (field, _, end) => {
    if (field === 3 && reader.low !== 0) throw new WireError("its shape is unknown", reader.at);
    if (field !== 2) return;
    let size = 0;
    eachFieldWithin(reader, reader.at, end, (part) => {
      if (part === 1) size = reader.high * 2 ** 32 + reader.low;
    });
    shape.push(size);
  });
}

type FieldReader = (field: number, reader: WireReader, end: number) => void;

function eachField(bytes: Uint8Array, take: FieldReader): void {
  const reader = new WireReader();
  reader.reset(bytes, 0);
  eachFieldWithin(reader, 0, bytes.length, take);
}

/**
 * Calls `take` for every field of a message. Numbers stand in `low` and `high`; of a sub-message the reader stands at its
 * start, and `end` is where it ends.
 */
function eachFieldWithin(reader: WireReader, start: number, limit: number, take: FieldReader): void {
  reader.at = start;
  while (reader.at < limit) {
    const tag = reader.tag(limit);
    const field = tag >>> 3;
    switch (tag & 7) {
      case WireType.Varint:
        reader.varint(limit);
        take(field, reader, reader.at);
        break;
      case WireType.Fixed32: {
        const at = reader.at;
        reader.advance(4, limit);
        const { bytes } = reader;
        reader.low =
          (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
        reader.high = 0;
        take(field, reader, reader.at);
        break;
      }
      case WireType.Bytes: {
        const end = reader.block(limit);
        take(field, reader, end);
        reader.at = end;
        break;
      }
      default:
        reader.skip(tag, limit);
    }
  }
}
