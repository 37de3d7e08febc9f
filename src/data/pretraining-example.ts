import { WireType } from "./proto-wire.js";
import { recordHeaderBytes } from "./tfrecord-reader.js";
import { frameRecord, recordOverhead } from "./tfrecord-writer.js";

/** The three features of a pre-training record, in the order in which this package writes them. */
export const featureNames = ["input_ids", "input_mask", "segment_ids"] as const;
export type FeatureName = (typeof featureNames)[number];

/** One pre-training example without its padding. */
export interface PretrainingExample {
  /** `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`; at most `maxSeqLength` ids. */
  readonly inputIds: ArrayLike<number>;
  /** Number of leading positions with segment id 0; the rest of the example has segment id 1. */
  readonly firstSegmentLength: number;
}

/**
 * Writes pre-training examples as complete TFRecords: three int64 features of `maxSeqLength` values each, padded with id 0,
 * mask 0, segment 0.
 */
export class PretrainingExampleEncoder {
  readonly #maxSeqLength: number;
  readonly #order: readonly FeatureName[];
  readonly #keys: Readonly<Record<FeatureName, Uint8Array>>;
  readonly #scratch: Uint8Array;

  /** @param order the order of the features inside a record; it carries no meaning (TensorFlow's is that of a hash) */
  constructor(maxSeqLength: number, order: readonly FeatureName[] = featureNames) {
    this.#maxSeqLength = maxSeqLength;
    this.#order = order;
    const encoder = new TextEncoder();
    this.#keys = {
      input_ids: encoder.encode("input_ids"),
      input_mask: encoder.encode("input_mask"),
      segment_ids: encoder.encode("segment_ids"),
    };
    this.#scratch = new Uint8Array(this.maxRecordBytes);
  }

  /** Bytes of the longest record, frame included. */
  get maxRecordBytes(): number {
    // Of each feature: five bytes a value at most, the key, and six heads of at most six bytes around it all.
    return recordOverhead + this.#order.length * (5 * this.#maxSeqLength + 64);
  }

  /** The whole TFRecord of one example, frame included. */
  encode(example: PretrainingExample): Uint8Array {
    return this.#scratch.slice(0, this.encodeInto(example, this.#scratch, 0));
  }

  /**
   * Writes the whole TFRecord of one example to `target` from `at` on, where {@link maxRecordBytes} must be free; nothing is
   * allocated.
   *
   * @returns the offset behind the record
   */
  encodeInto(example: PretrainingExample, target: Uint8Array, at: number): number {
    const length = this.#maxSeqLength;
    const { inputIds, firstSegmentLength } = example;
    const tokens = inputIds.length;
    if (tokens > length) {
      throw new RangeError(`an example of ${tokens} ids does not fit in ${length}`);
    }
    let idBytes = length - tokens;
    for (let index = 0; index < tokens; index++) {
      idBytes += varintBytes(inputIds[index]!);
    }
    let featuresBytes = 0;
    for (const name of this.#order) {
      featuresBytes += blockBytes(this.#entryBytes(name, name === "input_ids" ? idBytes : length));
    }
    const payload = at + recordHeaderBytes;
    let next = writeHead(target, payload, 1, featuresBytes);
    for (const name of this.#order) {
      const packed = name === "input_ids" ? idBytes : length;
      const key = this.#keys[name];
      next = writeHead(target, next, 1, this.#entryBytes(name, packed));
      next = writeHead(target, next, 1, key.length);
      for (let index = 0; index < key.length; index++) {
        target[next++] = key[index]!;
      }
      next = writeHead(target, next, 2, blockBytes(blockBytes(packed)));
      next = writeHead(target, next, 3, blockBytes(packed));
      next = writeHead(target, next, 1, packed);
      const end = next + packed;
      if (name === "input_ids") {
        target.fill(0, writeIds(inputIds, target, next), end);
      } else if (name === "input_mask") {
        target.fill(1, next, next + tokens).fill(0, next + tokens, end);
      } else {
        target.fill(0, next, end).fill(1, next + firstSegmentLength, next + tokens);
      }
      next = end;
    }
    return frameRecord(target, at, next - payload);
  }

  #entryBytes(name: FeatureName, packed: number): number {
    return blockBytes(this.#keys[name].length) + blockBytes(blockBytes(blockBytes(packed)));
  }
}

function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}

/** Bytes of a length-delimited field with a number below 16. */
function blockBytes(content: number): number {
  return 1 + varintBytes(content) + content;
}

/** Writes ids as varints; those of two bytes, most of any vocabulary, by the shortest way. */
function writeIds(ids: ArrayLike<number>, target: Uint8Array, at: number): number {
  let next = at;
  for (let index = 0; index < ids.length; index++) {
    const id = ids[index]!;
    if (id >= 0x80 && id < 0x4000) {
      target[next] = (id & 127) | 128;
      target[next + 1] = id >>> 7;
      next += 2;
    } else {
      next = writeVarint(target, next, id);
    }
  }
  return next;
}

function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value;
  let next = at;
  while (rest > 127) {
    target[next++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  target[next++] = rest;
  return next;
}

function writeHead(target: Uint8Array, at: number, field: number, length: number): number {
  target[at] = (field << 3) | WireType.Bytes;
  return writeVarint(target, at + 1, length);
}
