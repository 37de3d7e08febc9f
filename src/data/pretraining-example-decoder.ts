import { ElectraError } from "../errors.js";
import { exampleFailure } from "./example-proto.js";
import type { FeatureName } from "./pretraining-example.js";
import { WireReader, WireType } from "./proto-wire.js";
import { invalidRecord, type RecordPlace } from "./record-place.js";

/** What a {@link PretrainingExampleDecoder} accepts. */
export interface PretrainingExampleLimits {
  /** Every feature must have exactly this many values. */
  readonly maxSeqLength: number;
  /** Ids must be below this. */
  readonly vocabSize: number;
  /** Segment ids must be below this (default 2). */
  readonly typeVocabSize?: number;
}

const Kind = { none: 0, bytes: 1, float: 2, int64: 3 } as const;
const kindNames = ["no values", "byte strings", "floats", "integers"] as const;

/** The values of a feature must lie in 0 … bound − 1; `name`: the setting the bound comes from. */
interface Limit {
  readonly bound: number;
  readonly name?: string;
}

/** State of one feature while a record is read. */
class Column {
  readonly name: FeatureName;
  readonly values: Int32Array;
  present = false;
  kind = 0;
  count = 0;
  /** Position of the first value outside int32, or -1; its value is kept for the message. */
  oddAt = -1;
  odd = 0n;

  constructor(name: FeatureName, length: number) {
    this.name = name;
    this.values = new Int32Array(length);
  }

  clear(): void {
    this.present = false;
    this.kind = Kind.none;
    this.count = 0;
    this.oddAt = -1;
  }
}

/**
 * Decodes pre-training records straight into a batch and checks them: lists packed or not, in one piece or several, unknown
 * fields and other features skipped, the last of two entries with the same key wins.
 */
export class PretrainingExampleDecoder {
  readonly #limits: Required<PretrainingExampleLimits>;
  readonly #reader = new WireReader();
  readonly #columns: readonly [ids: Column, mask: Column, segments: Column];
  /** Takes the values of features that nobody asked for. */
  readonly #other: Column;

  constructor(limits: PretrainingExampleLimits) {
    this.#limits = { typeVocabSize: 2, ...limits };
    const length = limits.maxSeqLength;
    this.#columns = [
      new Column("input_ids", length),
      new Column("input_mask", length),
      new Column("segment_ids", length),
    ];
    this.#other = new Column("input_ids", 0);
  }

  /**
   * Decodes the payload `bytes[start, end)` into `inputIds[row, row + L)` and `segmentIds[row, row + L)`.
   *
   * @returns the number of real tokens (ones at the front of `input_mask`)
   * @throws ElectraError `ERR_ELECTRA_RECORD_INVALID` when the bytes are no tf.train.Example, a feature is missing or of
   *   another type, ids lie outside the vocabulary, or the mask is not ones followed by zeros;
   *   `ERR_ELECTRA_RECORD_LENGTH` when a feature has not `maxSeqLength` values
   */
  decode(
    bytes: Uint8Array,
    start: number,
    end: number,
    inputIds: Int32Array,
    segmentIds: Int32Array,
    row: number,
    place: RecordPlace,
  ): number {
    const [ids, mask, segments] = this.#columns;
    for (const column of this.#columns) {
      column.clear();
    }
    try {
      this.#readExample(bytes, start, end);
    } catch (error) {
      throw exampleFailure(error, place, start);
    }
    this.#checkColumn(ids, { bound: this.#limits.vocabSize, name: "vocab_size" }, place);
    this.#checkColumn(mask, { bound: 2 }, place);
    this.#checkColumn(segments, { bound: this.#limits.typeVocabSize, name: "type_vocab_size" }, place);
    const length = this.#limits.maxSeqLength;
    let tokens = 0;
    while (tokens < length && mask.values[tokens] === 1) {
      tokens++;
    }
    for (let index = tokens; index < length; index++) {
      if (mask.values[index] !== 0) {
        throw invalidRecord(
          place,
          `input_mask must be ones followed by zeros, but position ${index} is 1 after a 0 at position ${tokens}`,
        );
      }
    }
    inputIds.set(ids.values, row);
    segmentIds.set(segments.values, row);
    return tokens;
  }

  #checkColumn(column: Column, limit: Limit, place: RecordPlace): void {
    const length = this.#limits.maxSeqLength;
    if (!column.present) {
      throw invalidRecord(
        place,
        `the feature ${column.name} is missing`,
        "is this a file of pre-training records?",
      );
    }
    if (column.kind !== Kind.int64) {
      throw invalidRecord(place, `the feature ${column.name} holds ${kindNames[column.kind]}, not integers`);
    }
    if (column.count !== length) {
      throw new ElectraError(
        "ERR_ELECTRA_RECORD_LENGTH",
        `${place.file}: record ${place.record} (at byte ${place.offset}) has ${column.count} ${column.name}, but max_seq_length is ${length}`,
        {
          hint: `set max_seq_length to ${column.count} or build the data with --max-seq-length ${length}`,
          exitCode: 2,
        },
      );
    }
    if (column.oddAt >= 0) {
      throw outOfRange(place, column, column.oddAt, column.odd, limit);
    }
    const { values } = column;
    for (let index = 0; index < length; index++) {
      // One unsigned comparison catches negative values as well.
      if (values[index]! >>> 0 >= limit.bound) {
        throw outOfRange(place, column, index, BigInt(values[index]!), limit);
      }
    }
  }

  #readExample(bytes: Uint8Array, start: number, end: number): void {
    const reader = this.#reader;
    reader.reset(bytes, start);
    while (reader.at < end) {
      const tag = reader.tag(end);
      if (tag !== ((1 << 3) | WireType.Bytes)) {
        reader.skip(tag, end);
        continue;
      }
      const featuresEnd = reader.block(end);
      while (reader.at < featuresEnd) {
        const inner = reader.tag(featuresEnd);
        if (inner === ((1 << 3) | WireType.Bytes)) {
          this.#readEntry(reader.block(featuresEnd));
        } else {
          reader.skip(inner, featuresEnd);
        }
      }
    }
  }

  #readEntry(end: number): void {
    const reader = this.#reader;
    const entryStart = reader.at;
    // The key decides where the values go; it stands first in practice, but need not, and the last one counts.
    let column = this.#other;
    while (reader.at < end) {
      const tag = reader.tag(end);
      if (tag === ((1 << 3) | WireType.Bytes)) {
        const keyEnd = reader.block(end);
        column = this.#columnOf(reader.at, keyEnd);
        reader.at = keyEnd;
      } else {
        reader.skip(tag, end);
      }
    }
    column.clear();
    column.present = true;
    reader.at = entryStart;
    while (reader.at < end) {
      const tag = reader.tag(end);
      if (tag === ((2 << 3) | WireType.Bytes)) {
        this.#readFeature(reader.block(end), column);
      } else {
        reader.skip(tag, end);
      }
    }
  }

  #columnOf(start: number, end: number): Column {
    const { bytes } = this.#reader;
    for (const column of this.#columns) {
      const { name } = column;
      if (end - start === name.length) {
        let index = 0;
        while (index < name.length && bytes[start + index] === name.charCodeAt(index)) {
          index++;
        }
        if (index === name.length) {
          return column;
        }
      }
    }
    return this.#other;
  }

  #readFeature(end: number, column: Column): void {
    const reader = this.#reader;
    while (reader.at < end) {
      const tag = reader.tag(end);
      const kind = (tag & 7) === WireType.Bytes && tag >>> 3 <= 3 ? tag >>> 3 : Kind.none;
      if (kind === Kind.none) {
        reader.skip(tag, end);
        continue;
      }
      const listEnd = reader.block(end);
      if (column.kind !== kind) {
        // The three lists exclude each other: the last one counts.
        column.kind = kind;
        column.count = 0;
        column.oddAt = -1;
      }
      while (reader.at < listEnd) {
        const inner = reader.tag(listEnd);
        if (kind === Kind.int64 && inner === ((1 << 3) | WireType.Bytes)) {
          this.#readPacked(reader.block(listEnd), column);
        } else if (kind === Kind.int64 && inner === ((1 << 3) | WireType.Varint)) {
          this.#readValue(listEnd, column);
        } else {
          reader.skip(inner, listEnd);
        }
      }
    }
  }

  #readPacked(end: number, column: Column): void {
    const reader = this.#reader;
    const { bytes } = reader;
    const { values } = column;
    const length = values.length;
    let at = reader.at;
    let count = column.count;
    while (at < end && count < length) {
      const first = bytes[at]!;
      if (first < 128) {
        values[count++] = first;
        at++;
        continue;
      }
      // Ids below 2^14 and 2^21 cover every vocabulary in use.
      if (at + 1 < end) {
        const second = bytes[at + 1]!;
        if (second < 128) {
          values[count++] = (first & 127) | (second << 7);
          at += 2;
          continue;
        }
        if (at + 2 < end) {
          const third = bytes[at + 2]!;
          if (third < 128) {
            values[count++] = (first & 127) | ((second & 127) << 7) | (third << 14);
            at += 3;
            continue;
          }
        }
      }
      reader.at = at;
      column.count = count;
      this.#readValue(end, column);
      at = reader.at;
      count = column.count;
    }
    reader.at = at;
    column.count = count;
    while (reader.at < end) {
      this.#readValue(end, column);
    }
  }

  #readValue(end: number, column: Column): void {
    const reader = this.#reader;
    reader.varint(end);
    const index = column.count++;
    const value = reader.low | 0;
    if (index < column.values.length) {
      column.values[index] = value;
      if (reader.high !== (value < 0 ? 0xffffffff : 0) && column.oddAt < 0) {
        column.oddAt = index;
        column.odd = BigInt.asIntN(64, (BigInt(reader.high) << 32n) | BigInt(reader.low));
      }
    }
  }
}

function outOfRange(
  place: RecordPlace,
  column: Column,
  position: number,
  value: bigint,
  limit: Limit,
): ElectraError {
  const source = limit.name === undefined ? "" : ` (${limit.name} is ${limit.bound})`;
  return invalidRecord(
    place,
    `${column.name}[${position}] is ${value}, outside 0 … ${limit.bound - 1}${source}`,
    column.name === "input_ids" ? "were the records built with another vocabulary?" : undefined,
  );
}
