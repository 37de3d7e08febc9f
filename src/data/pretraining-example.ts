import { WireType } from "./proto-wire.js";
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
 * mask 0, segment 0. Fast: no allocation but the record itself.
 */
export class PretrainingExampleEncoder {
  readonly #maxSeqLength: number;
  readonly #order: readonly FeatureName[];
  readonly #keys: Readonly<Record<FeatureName, Uint8Array>>;

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
  }

  /** The whole TFRecord of one example, frame included. */
  encode(example: PretrainingExample): Uint8Array {
    const length = this.#maxSeqLength;
    const { inputIds } = example;
    if (inputIds.length > length) {
      throw new RangeError(`an example of ${inputIds.length} ids does not fit in ${length}`);
    }
    let idBytes = length - inputIds.length;
    for (let index = 0; index < inputIds.length; index++) {
      idBytes += varintBytes(inputIds[index]!);
    }
    let featuresBytes = 0;
    for (const name of this.#order) {
      featuresBytes += blockBytes(this.#entryBytes(name, name === "input_ids" ? idBytes : length));
    }
    const record = new Uint8Array(recordOverhead + blockBytes(featuresBytes));
    let at = 12;
    at = writeHead(record, at, 1, featuresBytes);
    for (const name of this.#order) {
      const packed = name === "input_ids" ? idBytes : length;
      at = writeHead(record, at, 1, this.#entryBytes(name, packed));
      const key = this.#keys[name];
      at = writeHead(record, at, 1, key.length);
      record.set(key, at);
      at = writeHead(record, at + key.length, 2, blockBytes(blockBytes(packed)));
      at = writeHead(record, at, 3, blockBytes(packed));
      at = writeHead(record, at, 1, packed);
      // Padding is the zeros that are already there.
      if (name === "input_ids") {
        let target = at;
        for (let index = 0; index < inputIds.length; index++) {
          target = writeVarint(record, target, inputIds[index]!);
        }
      } else if (name === "input_mask") {
        record.fill(1, at, at + inputIds.length);
      } else {
        record.fill(1, at + example.firstSegmentLength, at + inputIds.length);
      }
      at += packed;
    }
    frameRecord(record, 0, at - 12);
    return record;
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
