import { isDeepStrictEqual } from "node:util";
import { FileSource } from "../../checkpoint/byte-source.js";
import { elementCount } from "../../checkpoint/safetensors-header.js";
import { ElectraError } from "../../errors.js";
import type { ExportWeights } from "../export-weights.js";
import { constantBytes } from "./onnx-proto.js";
import { IR_VERSION, type OnnxGraph, type OnnxNode, type OnnxType, OPSET_VERSION } from "./onnx-types.js";
import { type ReadOnnx, type ReadTensor, readOnnx } from "./read-onnx.js";
import { weightBytes } from "./weight-bytes.js";

export interface StructureCheck {
  readonly nodes: number;
  readonly weights: number;
  /** Values that were compared, each bit for bit. */
  readonly values: number;
}

/**
 * Reads a written model back and compares it with the graph it was made from and the model that its weights came from:
 * versions, inputs, outputs, nodes, constants, that every value is made before it is used, and every weight bit for bit.
 *
 * @throws ElectraError `ERR_ELECTRA_ONNX` saying what differs
 */
export async function checkStructure(
  path: string,
  graph: OnnxGraph,
  source: ExportWeights,
): Promise<StructureCheck> {
  const model = await readOnnx(path);
  const refuse = (what: string): never => {
    throw new ElectraError("ERR_ELECTRA_ONNX", `${path}: ${what}`, {
      hint: "The disk gave back other than what was written: export the model again.",
    });
  };
  if (model.irVersion !== IR_VERSION || model.opset !== OPSET_VERSION) {
    refuse(`is of version ${model.irVersion} with operators ${model.opset}`);
  }
  if (model.name !== graph.name) refuse(`has the graph "${model.name}"`);
  if (!isDeepStrictEqual(model.inputs, graph.inputs)) refuse("has other inputs than were written");
  if (!isDeepStrictEqual(model.outputs, graph.outputs)) refuse("has other outputs than were written");
  const nodes = graph.nodes.map((node) => ({ ...node, name: node.outputs[0], attributes: asRead(node) }));
  if (!isDeepStrictEqual(model.nodes, nodes)) refuse("has other nodes than were written");
  const gap = firstGap(model);
  if (gap !== undefined) refuse(gap);

  const tensorOf = (name: string, type: OnnxType, shape: readonly number[]): ReadTensor => {
    const tensor = model.tensors.get(name);
    if (tensor === undefined) return refuse(`has no tensor "${name}"`);
    if (tensor.type !== type || !isDeepStrictEqual(tensor.shape, shape)) {
      refuse(`has "${name}" as ${tensor.type} [${tensor.shape.join(", ")}]`);
    }
    return tensor;
  };
  for (const constant of graph.constants) {
    const tensor = tensorOf(constant.name, constant.type, constant.shape);
    if (!(await sameBytes(tensor, [constantBytes(constant)]))) refuse(`"${constant.name}" has another value`);
  }
  let values = 0;
  for (const weight of graph.weights) {
    const tensor = tensorOf(weight.name, "float", weight.shape);
    if (!(await sameBytes(tensor, weightBytes(weight, source)))) {
      refuse(`"${weight.name}" differs from ${weight.variable} of ${source.path}`);
    }
    values += elementCount(weight.shape);
  }
  return { nodes: model.nodes.length, weights: graph.weights.length, values };
}

/** The first value that is read before it is made, or made twice, in words. */
function firstGap({ nodes, tensors, inputs, outputs }: ReadOnnx): string | undefined {
  const known = new Set([...inputs.map(({ name }) => name), ...tensors.keys()]);
  for (const node of nodes) {
    const missing = node.inputs.find((name) => !known.has(name));
    if (missing !== undefined) return `${node.op} "${node.name}" reads "${missing}", which nothing made`;
    for (const name of node.outputs) {
      if (known.has(name)) return `"${name}" is made twice`;
      known.add(name);
    }
  }
  const unmade = outputs.find(({ name }) => !known.has(name));
  return unmade === undefined ? undefined : `the output "${unmade.name}" is never made`;
}

/** A node's attributes with floats as the file holds them. */
function asRead({ attributes }: OnnxNode): OnnxNode["attributes"] {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, attribute]) => [
      name,
      attribute.kind === "float" ? { ...attribute, value: Math.fround(attribute.value) } : attribute,
    ]),
  );
}

async function sameBytes(
  tensor: ReadTensor,
  expected: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<boolean> {
  const file = await FileSource.open(tensor.file);
  try {
    let at = 0;
    for await (const piece of expected) {
      if (at + piece.length > tensor.bytes) return false;
      const found = await file.read(tensor.begin + at, piece.length);
      if (Buffer.compare(found, piece) !== 0) return false;
      at += piece.length;
    }
    return at === tensor.bytes;
  } finally {
    await file.close();
  }
}
