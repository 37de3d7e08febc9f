import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, test } from "vitest";
import {
  decodeExample,
  encodeExample,
  type Feature,
  type FeatureInput,
} from "../../../src/data/example-proto.js";

const root = protobuf.parse(
  `syntax = "proto3"; package tensorflow;
  message BytesList { repeated bytes value = 1; }
  message FloatList { repeated float value = 1 [packed = true]; }
  message Int64List { repeated int64 value = 1 [packed = true]; }
  message UnpackedFloats { repeated float value = 1 [packed = false]; }
  message UnpackedInts { repeated int64 value = 1 [packed = false]; }
  message Feature { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }
  message UnpackedFeature { oneof kind { BytesList bytes_list = 1; UnpackedFloats float_list = 2; UnpackedInts int64_list = 3; } }
  message Features { map<string, Feature> feature = 1; }
  message UnpackedFeatures { map<string, UnpackedFeature> feature = 1; }
  message Example { Features features = 1; }
  message UnpackedExample { UnpackedFeatures features = 1; }`,
  { keepCase: true },
).root;
const Example = root.lookupType("tensorflow.Example");
const UnpackedExample = root.lookupType("tensorflow.UnpackedExample");

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const feature: fc.Arbitrary<FeatureInput> = fc.oneof(
  fc.record({
    kind: fc.constant("int64" as const),
    values: fc.array(fc.oneof(int64, fc.bigInt(0n, 40_000n))).map((v) => BigInt64Array.from(v)),
  }),
  fc.record({
    kind: fc.constant("float" as const),
    values: fc.array(fc.float({ noNaN: true })).map((v) => Float32Array.from(v)),
  }),
  fc.record({ kind: fc.constant("bytes" as const), values: fc.array(fc.uint8Array({ maxLength: 200 })) }),
);
const features = fc.uniqueArray(fc.tuple(fc.string({ unit: "grapheme" }), feature), {
  selector: ([name]) => name,
  maxLength: 5,
});

function longs(values: BigInt64Array | ArrayLike<number>): object[] {
  return Array.from(values as ArrayLike<number | bigint>, (value) => {
    const bits = BigInt.asUintN(64, BigInt(value));
    return {
      low: Number(BigInt.asIntN(32, bits)),
      high: Number(BigInt.asIntN(32, bits >> 32n)),
      unsigned: false,
    };
  });
}

/** The oracle's form of the features. */
function oracleMessage(list: readonly (readonly [string, FeatureInput])[]): object {
  const message = ({ kind, values }: FeatureInput): object => {
    if (kind === "bytes") return { bytes_list: { value: values } };
    return kind === "float"
      ? { float_list: { value: Array.from(values) } }
      : { int64_list: { value: longs(values) } };
  };
  return { features: { feature: Object.fromEntries(list.map(([name, input]) => [name, message(input)])) } };
}

function expected(list: readonly (readonly [string, FeatureInput])[]): Map<string, Feature> {
  return new Map(list as readonly (readonly [string, Feature])[]);
}

/** Byte arrays of whatever class, as plain lists; key order does not matter. */
function normal(map: Map<string, Feature>): unknown {
  return Object.fromEntries(
    [...map].map(([name, value]) => [
      name,
      value.kind === "bytes" ? { kind: "bytes", values: value.values.map((v) => [...v]) } : value,
    ]),
  );
}

describe("against an independent protobuf implementation", () => {
  test("what the oracle encodes is decoded, packed and unpacked", () => {
    fc.assert(
      fc.property(features, (list) => {
        const usable = list.filter(([name]) => name !== "__proto__");
        for (const type of [Example, UnpackedExample]) {
          const bytes = type.encode(type.fromObject(oracleMessage(usable))).finish();
          expect(normal(decodeExample(bytes))).toEqual(normal(expected(usable)));
        }
      }),
      { numRuns: 50 },
    );
  });

  test("what is encoded here is decoded by the oracle", () => {
    fc.assert(
      fc.property(features, (list) => {
        const usable = list.filter(([name]) => name !== "__proto__");
        const decoded = Example.toObject(Example.decode(encodeExample(usable)), {
          longs: String,
          arrays: true,
          objects: true,
        });
        for (const [name, input] of usable) {
          const found = decoded["features"].feature[name];
          if (input.kind === "int64")
            expect(found.int64_list.value).toEqual(Array.from(input.values, String));
          else if (input.kind === "float") expect(found.float_list.value).toEqual(Array.from(input.values));
          else
            expect(found.bytes_list.value.map((v: Uint8Array) => [...v])).toEqual(
              input.values.map((v) => [...v]),
            );
        }
        expect(Object.keys(decoded["features"]?.feature ?? {}).length).toBe(usable.length);
      }),
      { numRuns: 50 },
    );
  });
});

/** A length-delimited field. */
const block = (field: number, ...content: number[]) => [(field << 3) | 2, content.length, ...content];
const key = (name: string) => block(1, ...new TextEncoder().encode(name));
const ints = (...content: number[]) => block(3, ...content);
const example = (...entries: number[][]) => Uint8Array.from(block(1, ...entries.flat()));
const a = (map: Map<string, Feature>) => (map.get("a") as { values: BigInt64Array }).values;

describe("corners of the wire format", () => {
  const packed = (...values: number[]) => block(1, ...values);
  const unknown = [
    ...block(15, 1, 2),
    14 << 3,
    0x96,
    0x01,
    (13 << 3) | 5,
    1,
    2,
    3,
    4,
    (12 << 3) | 1,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
  ];
  const group = [(11 << 3) | 3, ...unknown, (10 << 3) | 3, (10 << 3) | 4, (11 << 3) | 4];
  const cases: [string, Uint8Array, bigint[]][] = [
    [
      "the last of two entries with the same key wins",
      example(
        block(1, ...key("a"), ...block(2, ...ints(...packed(1, 2)))),
        block(1, ...key("a"), ...block(2, ...ints(...packed(3)))),
      ),
      [3n],
    ],
    [
      "lists in several pieces are joined",
      example(block(1, ...key("a"), ...block(2, ...ints(...packed(1), 8, 2, ...packed(3, 4))))),
      [1n, 2n, 3n, 4n],
    ],
    [
      "the last list wins over one of another type",
      example(
        block(1, ...key("a"), ...block(2, ...block(2, ...block(1, 0, 0, 0, 0)), ...ints(...packed(9)))),
      ),
      [9n],
    ],
    [
      "the value may stand before the key",
      example(block(1, ...block(2, ...ints(...packed(5))), ...key("a"))),
      [5n],
    ],
    [
      "unknown fields of every wire type are skipped at every level",
      Uint8Array.from([
        ...unknown,
        ...group,
        ...block(
          1,
          ...unknown,
          ...block(1, ...group, ...key("a"), ...block(2, ...unknown, ...ints(...unknown, ...packed(6)))),
        ),
      ]),
      [6n],
    ],
    [
      "features in two pieces are merged",
      Uint8Array.from([
        ...example(block(1, ...key("b"))),
        ...example(block(1, ...key("a"), ...block(2, ...ints(...packed(7))))),
      ]),
      [7n],
    ],
    [
      "a varint may be longer than needed",
      example(block(1, ...key("a"), ...block(2, ...ints(...packed(0x81, 0x80, 0x00))))),
      [1n],
    ],
    [
      "bits beyond the 64th are dropped",
      example(
        block(
          1,
          ...key("a"),
          ...block(2, ...ints(...packed(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f))),
        ),
      ),
      [-1n],
    ],
  ];
  test.each(cases)("%s", (_name, bytes, values) => {
    expect([...a(decodeExample(bytes))]).toEqual(values);
  });

  test("no bytes are an example without features", () => {
    expect(decodeExample(new Uint8Array(0)).size).toBe(0);
  });

  const bad: [string, number[], RegExp][] = [
    [
      "a block that is longer than the rest",
      [0x0a, 5, 1],
      /a field says that it has 5 bytes, but 1 are left \(byte 1 of the payload\)$/,
    ],
    ["a block length that is cut off", [0x0a, 0x80], /a number is cut off/],
    [
      "a varint of eleven bytes",
      [0x08, ...new Array<number>(10).fill(0x80), 0],
      /a number has more than ten bytes/,
    ],
    ["field number 0", [0x02, 0], /field number 0 does not exist/],
    ["a wire type that does not exist", [0x0f], /wire type 7 does not belong here/],
    ["the end of a group that was not begun", [0x0c], /wire type 4 does not belong here/],
    ["a group that is not closed", [0x0b, 0x10, 1], /a group is not closed/],
    ["a group that another field closes", [0x0b, 0x14], /a group is closed by another field/],
    ["groups nested without end", new Array<number>(200).fill(0x0b), /groups are nested too deeply/],
    ["a fixed 32-bit value that is cut off", [0x0d, 1, 2], /a fixed-size value is cut off/],
    [
      "a packed float that is cut off",
      [...example(block(1, ...key("a"), ...block(2, ...block(2, ...block(1, 0, 0, 0)))))],
      /a fixed-size value is cut off/,
    ],
  ];
  test.each(bad)("%s is refused", (_name, bytes, message) => {
    const place = { file: "x.tfrecord", record: 4, offset: 99 };
    const decoding = (): unknown => decodeExample(Uint8Array.from(bytes), place);
    expect(decoding).toThrow(message);
    expect(decoding).toThrow(
      /^x\.tfrecord: record 4 \(at byte 99\): its content is not a tf\.train\.Example: /,
    );
    expect(decoding).toThrow(expect.objectContaining({ code: "ERR_ELECTRA_RECORD_INVALID" }));
  });
});
