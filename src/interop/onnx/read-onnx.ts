import { dirname, join } from "node:path";
import { type ByteSource, FileSource } from "../../checkpoint/byte-source.js";
import { WireError, WireReader, WireType } from "../../data/proto-wire.js";
import { ElectraError } from "../../errors.js";
import { ATTRIBUTE_TYPES, EXTERNAL, FIELDS } from "./onnx-proto.js";
import {
  type AttributeValue,
  DATA_TYPES,
  type OnnxNode,
  type OnnxType,
  type OnnxValue,
} from "./onnx-types.js";

/** A node as it stands in a file. */
export interface ReadNode extends OnnxNode {
  readonly name: string;
}

/** A tensor of the file and where its values lie. */
export interface ReadTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: ReadType;
  readonly file: string;
  readonly begin: number;
  /** 0 where they are stored in another way than as raw bytes. */
  readonly bytes: number;
}

/** A type that this package writes, or the number of another one in `TensorProto.DataType`. */
export type ReadType = OnnxType | `type ${number}`;

/** An input or output of the file's graph. */
export type ReadValue = Omit<OnnxValue, "type"> & { readonly type: ReadType };

/** What a file says, without the values of its weights. */
export interface ReadOnnx {
  readonly irVersion: number;
  readonly opset: number;
  readonly name: string;
  readonly nodes: readonly ReadNode[];
  readonly tensors: ReadonlyMap<string, ReadTensor>;
  readonly inputs: readonly ReadValue[];
  readonly outputs: readonly ReadValue[];
}

/** As much as is read at a time; the values of weights are left where they are. */
const BLOCK_BYTES = 1 << 16;

/**
 * Reads an ONNX model with a second piece of code beside the writer, for checking what was written and for looking into it:
 * every field at its place in the file, weights by their places alone. Of other programs' models what this package does not
 * write is left out: subgraphs, functions, attributes of further types.
 *
 * @throws ElectraError `ERR_ELECTRA_ONNX` with the byte at which a file breaks the format
 */
export async function readOnnx(path: string): Promise<ReadOnnx> {
  return await readOnnxFrom(await FileSource.open(path));
}

/** The same for any source of bytes, which is closed at the end. */
export async function readOnnxFrom(source: ByteSource): Promise<ReadOnnx> {
  try {
    return await new OnnxFile(source).model();
  } finally {
    await source.close();
  }
}

/** A field: its number, its value if it is a number, or where its bytes are. */
interface Field {
  readonly number: number;
  readonly value: number;
  readonly begin: number;
  readonly end: number;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function typeOf(code: number): ReadType {
  return (Object.keys(DATA_TYPES) as OnnxType[]).find((name) => DATA_TYPES[name] === code) ?? `type ${code}`;
}

class OnnxFile {
  readonly #source: ByteSource;
  #block = new Uint8Array(0);
  #blockStart = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  async model(): Promise<ReadOnnx> {
    const { size } = this.#source;
    let irVersion = 0;
    let opset = 0;
    let graph: Field | undefined;
    for await (const field of this.#fields(0, size)) {
      if (field.number === FIELDS.model.irVersion) irVersion = field.value;
      if (field.number === FIELDS.model.graph) graph = field;
      if (field.number === FIELDS.model.opset) {
        for await (const inner of this.#fields(field.begin, field.end)) {
          if (inner.number === FIELDS.opset.version) opset = inner.value;
        }
      }
    }
    if (graph === undefined) throw this.#broken("has no graph", size);
    return { irVersion, opset, ...(await this.#graph(graph)) };
  }

  async #graph({ begin, end }: Field): Promise<Omit<ReadOnnx, "irVersion" | "opset">> {
    const nodes: ReadNode[] = [];
    const tensors = new Map<string, ReadTensor>();
    const inputs: ReadValue[] = [];
    const outputs: ReadValue[] = [];
    let name = "";
    for await (const field of this.#fields(begin, end)) {
      if (field.number === FIELDS.graph.node) nodes.push(await this.#node(field));
      if (field.number === FIELDS.graph.initializer) {
        const tensor = await this.#tensor(field);
        if (tensors.has(tensor.name)) throw this.#broken(`has two tensors "${tensor.name}"`, field.begin);
        tensors.set(tensor.name, tensor);
      }
      if (field.number === FIELDS.graph.name) name = await this.#text(field);
      if (field.number === FIELDS.graph.input) inputs.push(await this.#value(field));
      if (field.number === FIELDS.graph.output) outputs.push(await this.#value(field));
    }
    return { name, nodes, tensors, inputs, outputs };
  }

  async #node({ begin, end }: Field): Promise<ReadNode> {
    const inputs: string[] = [];
    const outputs: string[] = [];
    const attributes: Record<string, AttributeValue> = {};
    let op = "";
    let name = "";
    for await (const field of this.#fields(begin, end)) {
      if (field.number === FIELDS.node.input) inputs.push(await this.#text(field));
      if (field.number === FIELDS.node.output) outputs.push(await this.#text(field));
      if (field.number === FIELDS.node.op) op = await this.#text(field);
      if (field.number === FIELDS.node.name) name = await this.#text(field);
      if (field.number === FIELDS.node.attribute) Object.assign(attributes, await this.#attribute(field));
    }
    return { op, name, inputs, outputs, attributes };
  }

  async #attribute({ begin, end }: Field): Promise<Record<string, AttributeValue>> {
    let name = "";
    let type = 0;
    let float = 0;
    let int = 0;
    const ints: number[] = [];
    for await (const field of this.#fields(begin, end)) {
      if (field.number === FIELDS.attribute.name) name = await this.#text(field);
      if (field.number === FIELDS.attribute.type) type = field.value;
      if (field.number === FIELDS.attribute.int) int = field.value;
      if (field.number === FIELDS.attribute.ints) ints.push(field.value);
      if (field.number === FIELDS.attribute.float) {
        const bytes = await this.#read(field.begin, field.end - field.begin);
        float = new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
      }
    }
    if (type === ATTRIBUTE_TYPES.float) return { [name]: { kind: "float", value: float } };
    if (type === ATTRIBUTE_TYPES.int) return { [name]: { kind: "int", value: int } };
    if (type === ATTRIBUTE_TYPES.ints) return { [name]: { kind: "ints", value: ints } };
    // Of a type that this package does not write.
    return {};
  }

  async #tensor(outer: Field): Promise<ReadTensor> {
    const shape: number[] = [];
    const external = new Map<string, string>();
    let name = "";
    let code = 0;
    let location = 0;
    let raw: Field | undefined;
    for await (const field of this.#fields(outer.begin, outer.end)) {
      if (field.number === FIELDS.tensor.dims) shape.push(field.value);
      if (field.number === FIELDS.tensor.type) code = field.value;
      if (field.number === FIELDS.tensor.name) name = await this.#text(field);
      if (field.number === FIELDS.tensor.raw) raw = field;
      if (field.number === FIELDS.tensor.location) location = field.value;
      if (field.number === FIELDS.tensor.external) {
        const entry: string[] = [];
        for await (const part of this.#fields(field.begin, field.end)) entry.push(await this.#text(part));
        external.set(entry[0] ?? "", entry[1] ?? "");
      }
    }
    // Their product is a number of bytes to others.
    if (
      !(shape.reduce((product, size) => product * size, 1) <= Number.MAX_SAFE_INTEGER) ||
      shape.some((size) => size < 0)
    ) {
      throw this.#broken(`has "${name}" with the shape [${shape.join(", ")}]`, outer.begin);
    }
    const type = typeOf(code);
    if (location === EXTERNAL) {
      const file = join(dirname(this.#source.path), external.get("location") ?? "");
      const begin = Number(external.get("offset"));
      return { name, shape, type, file, begin, bytes: Number(external.get("length")) };
    }
    const { begin, end } = raw ?? { begin: outer.begin, end: outer.begin };
    return { name, shape, type, file: this.#source.path, begin, bytes: end - begin };
  }

  async #value(outer: Field): Promise<ReadValue> {
    const shape: (number | string)[] = [];
    let name = "";
    let code = 0;
    for await (const field of this.#fields(outer.begin, outer.end)) {
      if (field.number === FIELDS.value.name) name = await this.#text(field);
      if (field.number !== FIELDS.value.type) continue;
      for await (const tensor of this.#fields(field.begin, field.end)) {
        for await (const part of this.#fields(tensor.begin, tensor.end)) {
          if (part.number === 1) code = part.value;
          if (part.number === 2) shape.push(...(await this.#sizes(part)));
        }
      }
    }
    return { name, type: typeOf(code), shape };
  }

  /** TensorShapeProto { 1 dim { 1 value | 2 name } } */
  async #sizes({ begin, end }: Field): Promise<(number | string)[]> {
    const sizes: (number | string)[] = [];
    for await (const dim of this.#fields(begin, end)) {
      for await (const size of this.#fields(dim.begin, dim.end)) {
        sizes.push(size.number === 1 ? size.value : await this.#text(size));
      }
    }
    return sizes;
  }

  async #text({ begin, end }: Field): Promise<string> {
    const bytes = await this.#read(begin, end - begin);
    try {
      return utf8.decode(bytes);
    } catch {
      throw this.#broken("has a text that is no UTF-8", begin);
    }
  }

  /** The fields of the message that lies in [begin, end). Blocks are not read, but by who wants them. */
  async *#fields(begin: number, end: number): AsyncGenerator<Field> {
    const reader = new WireReader();
    let at = begin;
    while (at < end) {
      // As much as a tag and a number need.
      const window = await this.#read(at, Math.min(end - at, 20));
      reader.reset(window, 0);
      const origin = at;
      const limit = window.length;
      try {
        const tag = reader.tag(limit);
        const number = tag >>> 3;
        if ((tag & 7) === WireType.Bytes) {
          reader.varint(limit);
          const start = origin + reader.at;
          const stop = start + reader.high * 2 ** 32 + reader.low;
          if (stop > end) throw new WireError("a field is longer than what holds it", reader.at);
          yield { number, value: 0, begin: start, end: stop };
          at = stop;
        } else {
          const start = origin + reader.at;
          if ((tag & 7) === WireType.Varint) reader.varint(limit);
          else reader.skip(tag, limit);
          at = origin + reader.at;
          // As an int64, of which the writer's are within the exact integers.
          yield { number, value: (reader.high | 0) * 2 ** 32 + reader.low, begin: start, end: at };
        }
      } catch (error) {
        if (error instanceof WireError) throw this.#broken(error.message, origin + error.at);
        throw error;
      }
    }
  }

  /** Most of what is read is small and lies side by side, so a block of the file is kept. */
  async #read(position: number, length: number): Promise<Uint8Array> {
    const inside = (): boolean =>
      position >= this.#blockStart && position + length <= this.#blockStart + this.#block.length;
    if (!inside()) {
      const size = Math.min(Math.max(length, BLOCK_BYTES), this.#source.size - position);
      this.#block = await this.#source.read(position, size);
      this.#blockStart = position;
      if (!inside()) throw this.#broken("it ends too early", position);
    }
    return this.#block.subarray(position - this.#blockStart, position - this.#blockStart + length);
  }

  #broken(what: string, at: number): ElectraError {
    return new ElectraError("ERR_ELECTRA_ONNX", `${this.#source.path}: ${what} (byte ${at})`, {
      hint: "The file is damaged or no ONNX model: export it again.",
    });
  }
}
