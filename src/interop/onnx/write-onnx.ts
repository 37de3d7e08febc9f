import { basename } from "node:path";
import type { DurableFiles } from "../../checkpoint/durable-files.js";
import { elementCount } from "../../checkpoint/safetensors-header.js";
import { blockHead, bytesField, concatBytes, textField, varintField } from "../../data/proto-writer.js";
import { ElectraError } from "../../errors.js";
import {
  encodeConstant,
  encodeEntry,
  encodeExternalWeight,
  encodeNode,
  encodeValue,
  FIELDS,
  weightHead,
} from "./onnx-proto.js";
import { IR_VERSION, type OnnxGraph, type OnnxWeight, OPSET_VERSION } from "./onnx-types.js";

export interface WriteOnnxOptions {
  readonly graph: OnnxGraph;
  /** Float32 values of a weight, little-endian, in as many pieces as it likes. */
  readonly weightData: (weight: OnnxWeight) => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Version of the program that writes. */
  readonly producerVersion: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly files: DurableFiles;
  /** Weights of more bytes than this in all get a file of their own. Default {@link EMBEDDED_BYTES}. */
  readonly embeddedBytes?: number;
}

export interface WrittenOnnx {
  /** Of all files together. */
  readonly bytes: number;
  /** The weights' file, where they have one: the model's name with `_data` behind it, as transformers.js looks for it. */
  readonly dataFile: string | undefined;
}

/** Protocol buffers end at 2 GiB; below that the weights lie in the model. Sixteen megabytes are left for the graph. */
export const EMBEDDED_BYTES = 2 ** 31 - 2 ** 24;

/** Where a weight begins in a file of weights: at a page, so that it can be mapped. */
const PAGE = 4096;

/**
 * Writes an ONNX model that must not exist yet, weight by weight: no more of them is in memory than `weightData` gives at
 * a time.
 *
 * @throws ElectraError `ERR_ELECTRA_TENSOR_SIZE` when a weight has other than its shape's number of bytes
 */
export async function writeOnnx(path: string, options: WriteOnnxOptions): Promise<WrittenOnnx> {
  const { graph, files, embeddedBytes = EMBEDDED_BYTES } = options;
  const weightBytes = graph.weights.reduce((sum, weight) => sum + bytesOf(weight), 0);
  if (weightBytes <= embeddedBytes) {
    const heads = graph.weights.map((weight) => initializerHead(weight));
    const bytes = await files.createFile(path, modelBytes(options, heads, weightBytes));
    return { bytes, dataFile: undefined };
  }

  const dataFile = `${path}_data`;
  let offset = 0;
  const initializers = graph.weights.map((weight) => {
    const bytes = bytesOf(weight);
    const place = { file: basename(dataFile), offset, bytes };
    offset = Math.ceil((offset + bytes) / PAGE) * PAGE;
    return bytesField(FIELDS.graph.initializer, encodeExternalWeight(weight.name, weight.shape, place));
  });
  const dataBytes = await files.createFile(dataFile, externalBytes(options));
  const bytes = await files.createFile(path, modelBytes(options, initializers, 0));
  return { bytes: bytes + dataBytes, dataFile };
}

/**
 * @param initializers of each weight: all of it, or what stands before its values
 * @param embedded bytes of the values that follow the heads
 */
async function* modelBytes(
  options: WriteOnnxOptions,
  initializers: readonly Uint8Array[],
  embedded: number,
): AsyncGenerator<Uint8Array> {
  const { graph, producerVersion, metadata = {}, weightData } = options;
  const fields = FIELDS.graph;
  const start = concatBytes([
    ...graph.nodes.map((node) => bytesField(fields.node, encodeNode(node))),
    textField(fields.name, graph.name),
    ...graph.constants.map((constant) => bytesField(fields.initializer, encodeConstant(constant))),
  ]);
  const end = concatBytes([
    ...graph.inputs.map((value) => bytesField(fields.input, encodeValue(value))),
    ...graph.outputs.map((value) => bytesField(fields.output, encodeValue(value))),
  ]);
  const heads = initializers.reduce((sum, { length }) => sum + length, 0);
  yield concatBytes([
    varintField(FIELDS.model.irVersion, IR_VERSION),
    textField(FIELDS.model.producer, "electra-native"),
    textField(FIELDS.model.producerVersion, producerVersion),
    bytesField(FIELDS.model.opset, varintField(FIELDS.opset.version, OPSET_VERSION)),
    ...Object.entries(metadata).map(([key, value]) =>
      bytesField(FIELDS.model.metadata, encodeEntry(key, value)),
    ),
    blockHead(FIELDS.model.graph, start.length + heads + embedded + end.length),
    start,
  ]);
  for (const [index, head] of initializers.entries()) {
    yield head;
    if (embedded > 0) yield* checkedBytes(graph.weights[index]!, weightData);
  }
  yield end;
}

async function* externalBytes({ graph, weightData }: WriteOnnxOptions): AsyncGenerator<Uint8Array> {
  for (const [index, weight] of graph.weights.entries()) {
    yield* checkedBytes(weight, weightData);
    const rest = bytesOf(weight) % PAGE;
    if (rest > 0 && index < graph.weights.length - 1) yield new Uint8Array(PAGE - rest);
  }
}

async function* checkedBytes(
  weight: OnnxWeight,
  weightData: WriteOnnxOptions["weightData"],
): AsyncGenerator<Uint8Array> {
  const expected = bytesOf(weight);
  let found = 0;
  for await (const piece of weightData(weight)) {
    found += piece.length;
    if (found <= expected) yield piece;
  }
  if (found !== expected) {
    throw new ElectraError(
      "ERR_ELECTRA_TENSOR_SIZE",
      `"${weight.variable}" gave ${found} bytes, float [${weight.shape.join(", ")}] needs ${expected}`,
    );
  }
}

function initializerHead(weight: OnnxWeight): Uint8Array {
  const bytes = bytesOf(weight);
  const head = weightHead(weight.name, weight.shape, bytes);
  return concatBytes([blockHead(FIELDS.graph.initializer, head.length + bytes), head]);
}

function bytesOf({ shape }: OnnxWeight): number {
  return 4 * elementCount(shape);
}
