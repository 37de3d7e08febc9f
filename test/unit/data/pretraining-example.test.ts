import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeExample, encodeExample, type FeatureInput } from "../../../src/data/example-proto.js";
import { featureNames, PretrainingExampleEncoder } from "../../../src/data/pretraining-example.js";
import { PretrainingExampleDecoder } from "../../../src/data/pretraining-example-decoder.js";
import type { RecordPlace } from "../../../src/data/record-place.js";

const place: RecordPlace = { file: "data/x.tfrecord", record: 17, offset: 4242 };
const L = 8;
const decoder = new PretrainingExampleDecoder({ maxSeqLength: L, vocabSize: 1000 });

function decode(payload: Uint8Array, using = decoder, length = L) {
  const inputIds = new Int32Array(length);
  const segmentIds = new Int32Array(length);
  const tokens = using.decode(payload, 0, payload.length, inputIds, segmentIds, 0, place);
  return { tokens, inputIds: [...inputIds], segmentIds: [...segmentIds] };
}

const good = {
  input_ids: [2, 300, 40, 3, 500, 3, 0, 0],
  input_mask: [1, 1, 1, 1, 1, 1, 0, 0],
  segment_ids: [0, 0, 0, 0, 1, 1, 0, 0],
};
type Change = ArrayLike<number> | BigInt64Array | FeatureInput | undefined;
const isFeature = (value: object): value is FeatureInput => "kind" in value;
/** A record's payload with some features replaced, or left out (undefined). */
const payload = (changes: Readonly<Record<string, Change>> = {}) => {
  const features: [string, FeatureInput][] = [];
  for (const [name, value] of Object.entries<Change>({ ...good, ...changes })) {
    if (value !== undefined)
      features.push([name, isFeature(value) ? value : { kind: "int64", values: value }]);
  }
  return encodeExample(features);
};

test("what the encoder writes has the same features as the general encoder, in every order", () => {
  const ids = fc.array(fc.nat(2 ** 31 - 1), { minLength: 3, maxLength: 40 });
  fc.assert(
    fc.property(
      ids,
      fc.nat(),
      fc.nat(60),
      fc.shuffledSubarray([...featureNames], { minLength: 3 }),
      (list, cut, pad, order) => {
        const length = list.length + pad;
        const first = 3 + (cut % (list.length - 2));
        const record = new PretrainingExampleEncoder(length, order).encode({
          inputIds: list,
          firstSegmentLength: first,
        });
        const general: Record<string, number[]> = {
          input_ids: [...list, ...new Array<number>(pad).fill(0)],
          input_mask: Array.from({ length }, (_, i) => (i < list.length ? 1 : 0)),
          segment_ids: Array.from({ length }, (_, i) => (i >= first && i < list.length ? 1 : 0)),
        };
        const expected = encodeExample(
          order.map((name) => [name, { kind: "int64", values: general[name]! }] as const),
        );
        expect(Buffer.from(record.subarray(12, record.length - 4))).toEqual(Buffer.from(expected));
        const using = new PretrainingExampleDecoder({ maxSeqLength: length, vocabSize: 2 ** 31 });
        expect(decode(expected, using, length)).toEqual({
          tokens: list.length,
          inputIds: general["input_ids"],
          segmentIds: general["segment_ids"],
        });
      },
    ),
    { numRuns: 50 },
  );
});

test("an example longer than the record is refused", () => {
  expect(() =>
    new PretrainingExampleEncoder(2).encode({ inputIds: [1, 2, 3], firstSegmentLength: 3 }),
  ).toThrow(/3 ids does not fit in 2/);
});

test("a good record gives ids, segments and the number of tokens; other features do not disturb", () => {
  const expected = { tokens: 6, inputIds: good.input_ids, segmentIds: good.segment_ids };
  expect(decode(payload())).toEqual(expected);
  expect(
    decode(
      payload({
        more: { kind: "float", values: [1, 2] },
        input_idz: [1],
        text: { kind: "bytes", values: [Uint8Array.of(8, 1)] },
      }),
    ),
  ).toEqual(expected);
});

test("two records in one payload: the last entry of each feature wins, even after a bad one", () => {
  const bad = payload({
    input_ids: { kind: "float", values: [1] },
    input_mask: [7],
    segment_ids: BigInt64Array.of(2n ** 40n),
  });
  const both = Uint8Array.of(...bad, ...payload());
  expect([...decodeExample(both).keys()].length).toBe(3);
  expect(decode(both).inputIds).toEqual(good.input_ids);
});

test("an integer list without packing is read", () => {
  // Feature { int64_list { value: 1 value: 300 … } } by hand: tag 8, varint.
  const unpacked = (values: number[]) =>
    values.flatMap((v) => (v < 128 ? [8, v] : [8, (v & 127) | 128, v >> 7]));
  const block = (field: number, content: number[]) => [(field << 3) | 2, content.length, ...content];
  const entries = Object.entries(good).flatMap(([name, values]) =>
    block(1, [...block(1, [...new TextEncoder().encode(name)]), ...block(2, block(3, unpacked(values)))]),
  );
  const head = [10, (entries.length & 127) | 128, entries.length >> 7];
  expect(decode(Uint8Array.of(...head, ...entries)).inputIds).toEqual(good.input_ids);
});

describe("a record that does not fit is refused with its place and values", () => {
  const withIds = (index: number, value: bigint) => {
    const ids = BigInt64Array.from(good.input_ids, BigInt);
    ids[index] = value;
    return payload({ input_ids: ids });
  };
  const cases: [string, Uint8Array, string, RegExp][] = [
    ["too few ids", payload({ input_ids: [1, 2, 3] }), "LENGTH", /has 3 input_ids, but max_seq_length is 8$/],
    [
      "too many ids",
      payload({ input_ids: new Array(20).fill(1) }),
      "LENGTH",
      /has 20 input_ids, but max_seq_length is 8$/,
    ],
    ["a short mask", payload({ input_mask: [1] }), "LENGTH", /has 1 input_mask, but/],
    [
      "a missing feature",
      payload({ segment_ids: undefined }),
      "INVALID",
      /the feature segment_ids is missing$/,
    ],
    ["no content", new Uint8Array(0), "INVALID", /the feature input_ids is missing$/],
    [
      "floats instead of ids",
      payload({ input_ids: { kind: "float", values: good.input_ids } }),
      "INVALID",
      /the feature input_ids holds floats, not integers$/,
    ],
    [
      "bytes instead of ids",
      payload({ input_ids: { kind: "bytes", values: [] } }),
      "INVALID",
      /the feature input_ids holds byte strings, not integers$/,
    ],
    [
      "an id as large as the vocabulary",
      withIds(4, 1000n),
      "INVALID",
      /input_ids\[4\] is 1000, outside 0 … 999 \(vocab_size is 1000\)$/,
    ],
    ["a negative id", withIds(1, -1n), "INVALID", /input_ids\[1\] is -1, outside/],
    [
      "an id beyond 32 bits whose low half would fit",
      withIds(7, 2n ** 40n + 5n),
      "INVALID",
      /input_ids\[7\] is 1099511627781, outside/,
    ],
    [
      "the smallest 64-bit id",
      withIds(0, -(2n ** 63n)),
      "INVALID",
      /input_ids\[0\] is -9223372036854775808, outside/,
    ],
    [
      "a third segment",
      payload({ segment_ids: [0, 0, 0, 0, 2, 0, 0, 0] }),
      "INVALID",
      /segment_ids\[4\] is 2, outside 0 … 1 \(type_vocab_size is 2\)$/,
    ],
    [
      "a mask that is no bit",
      payload({ input_mask: [1, 1, 2, 0, 0, 0, 0, 0] }),
      "INVALID",
      /input_mask\[2\] is 2, outside 0 … 1$/,
    ],
    [
      "a mask with a hole",
      payload({ input_mask: [1, 1, 0, 0, 1, 0, 0, 0] }),
      "INVALID",
      /ones followed by zeros, but position 4 is 1 after a 0 at position 2$/,
    ],
    [
      "text",
      new TextEncoder().encode("not a proto at all"),
      "INVALID",
      /its content is not a tf\.train\.Example: /,
    ],
    [
      "half a record",
      payload().subarray(0, 60),
      "INVALID",
      /its content is not a tf\.train\.Example: a field says that it has \d+ bytes, but \d+ are left/,
    ],
  ];
  test.each(cases)("%s", (_name, bytes, code, message) => {
    expect(() => decode(bytes)).toThrow(message);
    expect(() => decode(bytes)).toThrow(/^data\/x\.tfrecord: record 17 \(at byte 4242\)/);
    expect(() => decode(bytes)).toThrow(expect.objectContaining({ code: `ERR_ELECTRA_RECORD_${code}` }));
  });
});
