import {
  blockHead,
  bytesField,
  concatBytes,
  floatField,
  textField,
  varintField,
} from "../../data/proto-writer.js";
import {
  type AttributeValue,
  DATA_TYPES,
  type OnnxConstant,
  type OnnxNode,
  type OnnxType,
  type OnnxValue,
} from "./onnx-types.js";

/** Numbers of the fields of onnx.proto that are written and read. */
export const FIELDS = {
  model: { irVersion: 1, producer: 2, producerVersion: 3, graph: 7, opset: 8, metadata: 14 },
  graph: { node: 1, name: 2, initializer: 5, input: 11, output: 12 },
  node: { input: 1, output: 2, name: 3, op: 4, attribute: 5 },
  attribute: { name: 1, float: 2, int: 3, ints: 8, type: 20 },
  tensor: { dims: 1, type: 2, name: 8, raw: 9, external: 13, location: 14 },
  value: { name: 1, type: 2 },
  entry: { key: 1, value: 2 },
  opset: { version: 2 },
} as const;

/** `TensorProto.DataLocation.EXTERNAL`: the values lie in a file of their own. */
export const EXTERNAL = 1;

/** `AttributeProto.AttributeType` */
export const ATTRIBUTE_TYPES = { float: 1, int: 2, ints: 7 } as const;

export function encodeNode({ op, inputs, outputs, attributes }: OnnxNode): Uint8Array {
  const { node } = FIELDS;
  return concatBytes([
    ...inputs.map((name) => textField(node.input, name)),
    ...outputs.map((name) => textField(node.output, name)),
    textField(node.name, outputs[0]!),
    textField(node.op, op),
    ...Object.entries(attributes).map(([name, value]) =>
      bytesField(node.attribute, encodeAttribute(name, value)),
    ),
  ]);
}

function encodeAttribute(name: string, { kind, value }: AttributeValue): Uint8Array {
  const { attribute } = FIELDS;
  const values =
    kind === "float"
      ? [floatField(attribute.float, value)]
      : kind === "int"
        ? [varintField(attribute.int, value)]
        : value.map((item) => varintField(attribute.ints, item));
  return concatBytes([
    textField(attribute.name, name),
    ...values,
    varintField(attribute.type, ATTRIBUTE_TYPES[kind]),
  ]);
}

/** ValueInfoProto { name, type TypeProto { 1 tensor { 1 elem_type, 2 shape { 1 dim { 1 value | 2 name } } } } } */
export function encodeValue({ name, type, shape }: OnnxValue): Uint8Array {
  const dims = shape.map((size) =>
    bytesField(1, typeof size === "number" ? varintField(1, size) : textField(2, size)),
  );
  const tensor = concatBytes([varintField(1, DATA_TYPES[type]), bytesField(2, concatBytes(dims))]);
  return concatBytes([
    textField(FIELDS.value.name, name),
    bytesField(FIELDS.value.type, bytesField(1, tensor)),
  ]);
}

export function encodeConstant(constant: OnnxConstant): Uint8Array {
  const { name, type, shape } = constant;
  return concatBytes([tensorHead(name, type, shape), bytesField(FIELDS.tensor.raw, constantBytes(constant))]);
}

/** A constant's values as they lie in a file. */
export function constantBytes({ type, values }: OnnxConstant): Uint8Array {
  return type === "float"
    ? new Uint8Array(Float32Array.from(values).buffer)
    : new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
}

/** A TensorProto up to its values, of which there are `bytes`: they follow at once. */
export function weightHead(name: string, shape: readonly number[], bytes: number): Uint8Array {
  return concatBytes([tensorHead(name, "float", shape), blockHead(FIELDS.tensor.raw, bytes)]);
}

/** A TensorProto whose values lie in `file`, from `offset` on. */
export function encodeExternalWeight(
  name: string,
  shape: readonly number[],
  { file, offset, bytes }: { readonly file: string; readonly offset: number; readonly bytes: number },
): Uint8Array {
  const entry = (key: string, value: string) => bytesField(FIELDS.tensor.external, encodeEntry(key, value));
  return concatBytes([
    tensorHead(name, "float", shape),
    entry("location", file),
    entry("offset", String(offset)),
    entry("length", String(bytes)),
    varintField(FIELDS.tensor.location, EXTERNAL),
  ]);
}

/** StringStringEntryProto */
export function encodeEntry(key: string, value: string): Uint8Array {
  return concatBytes([textField(FIELDS.entry.key, key), textField(FIELDS.entry.value, value)]);
}

function tensorHead(name: string, type: OnnxType, shape: readonly number[]): Uint8Array {
  const { tensor } = FIELDS;
  return concatBytes([
    ...shape.map((size) => varintField(tensor.dims, size)),
    varintField(tensor.type, DATA_TYPES[type]),
    textField(tensor.name, name),
  ]);
}
