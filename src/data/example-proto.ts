import { WireError, WireReader, WireType } from "./proto-wire.js";
import { invalidRecord, type RecordPlace } from "./record-place.js";

/** The value of one feature of a tf.train.Example. `none`: a feature without any list (legal, and useless). */
export type Feature =
  | { readonly kind: "bytes"; readonly values: readonly Uint8Array[] }
  | { readonly kind: "float"; readonly values: Float32Array }
  | { readonly kind: "int64"; readonly values: BigInt64Array }
  | { readonly kind: "none" };

/** What {@link encodeExample} takes; integers may be given as safe JavaScript numbers. */
export type FeatureInput =
  | { readonly kind: "bytes"; readonly values: readonly Uint8Array[] }
  | { readonly kind: "float"; readonly values: ArrayLike<number> }
  | { readonly kind: "int64"; readonly values: ArrayLike<number> | BigInt64Array };

const memory: RecordPlace = { file: "(memory)", record: 0, offset: 0 };

// Example { 1: Features { 1: map<string, Feature> } }; Feature { 1: BytesList, 2: FloatList, 3: Int64List };
// each list { 1: repeated value }.  A map entry is a message { 1: key, 2: value }.
const field1Bytes = (1 << 3) | WireType.Bytes;
const field2Bytes = (2 << 3) | WireType.Bytes;
const field3Bytes = (3 << 3) | WireType.Bytes;
const field1Varint = (1 << 3) | WireType.Varint;
const field1Fixed32 = (1 << 3) | WireType.Fixed32;

/**
 * Decodes a serialized tf.train.Example with all its features, lists packed or not, in the order of the file. Unknown
 * fields are skipped; of two entries with the same key the last wins; lists in several pieces are joined (protocol
 * buffers demand that; TensorFlow's own fast parser refuses them).
 *
 * @throws ElectraError `ERR_ELECTRA_RECORD_INVALID` when the bytes are not such a message
 */
export function decodeExample(payload: Uint8Array, place: RecordPlace = memory): Map<string, Feature> {
  const reader = new WireReader();
  reader.reset(payload, 0);
  const features = new Map<string, Feature>();
  try {
    readMessage(reader, payload.length, field1Bytes, () => {
      const featuresEnd = reader.block(payload.length);
      readMessage(reader, featuresEnd, field1Bytes, () => {
        readEntry(reader, reader.block(featuresEnd), features);
      });
    });
  } catch (error) {
    throw exampleFailure(error, place, 0);
  }
  return features;
}

/** The `ElectraError` for what went wrong while decoding; `start` is the offset of the payload in the reader's bytes. */
export function exampleFailure(error: unknown, place: RecordPlace, start: number): unknown {
  return error instanceof WireError
    ? invalidRecord(
        place,
        `its content is not a tf.train.Example: ${error.message} (byte ${error.at - start} of the payload)`,
        "is this a file of training records?",
      )
    : error;
}

/** Calls `found` for every field with the tag `wanted` and skips the others. */
function readMessage(reader: WireReader, end: number, wanted: number, found: () => void): void {
  while (reader.at < end) {
    const tag = reader.tag(end);
    if (tag === wanted) {
      found();
    } else {
      reader.skip(tag, end);
    }
  }
}

function readEntry(reader: WireReader, end: number, features: Map<string, Feature>): void {
  let key = "";
  let lists: FeatureLists = { kind: "none", bytes: [], floats: [], integers: [] };
  while (reader.at < end) {
    const tag = reader.tag(end);
    if (tag === field1Bytes) {
      const keyEnd = reader.block(end);
      key = utf8.decode(reader.bytes.subarray(reader.at, keyEnd));
      reader.at = keyEnd;
    } else if (tag === field2Bytes) {
      lists = readFeature(reader, reader.block(end), lists);
    } else {
      reader.skip(tag, end);
    }
  }
  // A map's later entry replaces an earlier one; deleting first puts it at its own place in the order.
  features.delete(key);
  features.set(key, finish(lists));
}

interface FeatureLists {
  kind: Feature["kind"];
  bytes: Uint8Array[];
  floats: number[];
  integers: bigint[];
}

function finish(lists: FeatureLists): Feature {
  switch (lists.kind) {
    case "bytes":
      return { kind: "bytes", values: lists.bytes };
    case "float":
      return { kind: "float", values: Float32Array.from(lists.floats) };
    case "int64":
      return { kind: "int64", values: BigInt64Array.from(lists.integers) };
    case "none":
      return { kind: "none" };
  }
}

/** Reads a Feature into `before`: the three lists exclude each other, so a list of another kind drops what was there. */
function readFeature(reader: WireReader, end: number, before: FeatureLists): FeatureLists {
  let lists = before;
  const become = (kind: Feature["kind"]): void => {
    if (lists.kind !== kind) {
      lists = { kind, bytes: [], floats: [], integers: [] };
    }
  };
  while (reader.at < end) {
    const tag = reader.tag(end);
    if (tag === field1Bytes) {
      become("bytes");
      const listEnd = reader.block(end);
      readMessage(reader, listEnd, field1Bytes, () => {
        const valueEnd = reader.block(listEnd);
        lists.bytes.push(reader.bytes.slice(reader.at, valueEnd));
        reader.at = valueEnd;
      });
    } else if (tag === field2Bytes) {
      become("float");
      readFloats(reader, reader.block(end), lists.floats);
    } else if (tag === field3Bytes) {
      become("int64");
      readIntegers(reader, reader.block(end), lists.integers);
    } else {
      reader.skip(tag, end);
    }
  }
  return lists;
}

function readFloats(reader: WireReader, end: number, values: number[]): void {
  const view = new DataView(reader.bytes.buffer, reader.bytes.byteOffset, reader.bytes.byteLength);
  const one = (limit: number): void => {
    const at = reader.at;
    reader.advance(4, limit);
    values.push(view.getFloat32(at, true));
  };
  while (reader.at < end) {
    const tag = reader.tag(end);
    if (tag === field1Bytes) {
      const packedEnd = reader.block(end);
      while (reader.at < packedEnd) {
        one(packedEnd);
      }
    } else if (tag === field1Fixed32) {
      one(end);
    } else {
      reader.skip(tag, end);
    }
  }
}

function readIntegers(reader: WireReader, end: number, values: bigint[]): void {
  const one = (limit: number): void => {
    reader.varint(limit);
    values.push(BigInt.asIntN(64, (BigInt(reader.high) << 32n) | BigInt(reader.low)));
  };
  while (reader.at < end) {
    const tag = reader.tag(end);
    if (tag === field1Bytes) {
      const packedEnd = reader.block(end);
      while (reader.at < packedEnd) {
        one(packedEnd);
      }
    } else if (tag === field1Varint) {
      one(end);
    } else {
      reader.skip(tag, end);
    }
  }
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const utf8Encoder = new TextEncoder();

/**
 * Encodes a tf.train.Example, integers and floats packed, features in the order given (the order carries no meaning;
 * TensorFlow writes them in the order of a hash).
 */
export function encodeExample(
  features: Iterable<readonly [name: string, feature: FeatureInput]>,
): Uint8Array {
  const entries: Uint8Array[] = [];
  for (const [name, feature] of features) {
    const value = field(feature.kind === "bytes" ? 1 : feature.kind === "float" ? 2 : 3, encodeList(feature));
    entries.push(field(1, concat([field(1, utf8Encoder.encode(name)), field(2, value)])));
  }
  return field(1, concat(entries));
}

function encodeList(feature: FeatureInput): Uint8Array {
  if (feature.kind === "bytes") {
    return concat(feature.values.map((value) => field(1, value)));
  }
  const { length } = feature.values;
  if (length === 0) {
    return new Uint8Array(0);
  }
  if (feature.kind === "float") {
    const packed = new DataView(new ArrayBuffer(4 * length));
    for (let index = 0; index < length; index++) {
      packed.setFloat32(4 * index, feature.values[index]!, true);
    }
    return field(1, new Uint8Array(packed.buffer));
  }
  const packed: number[] = [];
  for (let index = 0; index < length; index++) {
    pushVarint(packed, BigInt.asUintN(64, BigInt(feature.values[index]!)));
  }
  return field(1, Uint8Array.from(packed));
}

/** A length-delimited field: tag, length, content. */
function field(number: number, content: Uint8Array): Uint8Array {
  const head: number[] = [(number << 3) | WireType.Bytes];
  pushVarint(head, BigInt(content.length));
  return concat([Uint8Array.from(head), content]);
}

function pushVarint(target: number[], value: bigint): void {
  let rest = value;
  while (rest > 127n) {
    target.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  target.push(Number(rest));
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) {
    length += part.length;
  }
  const result = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
