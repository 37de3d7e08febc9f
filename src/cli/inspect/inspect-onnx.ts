import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { elementCount } from "../../checkpoint/safetensors-header.js";
import { type ReadValue, readOnnx } from "../../interop/onnx/read-onnx.js";
import { EXPORT_FILE } from "../../interop/output-folder.js";
import type { ListingRow } from "../output.js";
import type { Inspection } from "./inspection.js";

/** Where an export for transformers.js has its model. */
export const ONNX_MODEL = join("onnx", "model.onnx");

/**
 * What an ONNX model takes and gives, and its weights.
 *
 * @param folder the export that it belongs to
 */
export async function inspectOnnx(path: string, folder = dirname(dirname(path))): Promise<Inspection> {
  const model = await readOnnx(path);
  const exported = await readFile(join(folder, EXPORT_FILE), "utf8").then(
    (text) => JSON.parse(text) as unknown,
    () => null,
  );
  const tensors = [...model.tensors.values()].map(({ name, type, shape, bytes }) => ({
    name,
    type,
    shape,
    bytes,
  }));
  // Shapes and axes are tensors of the graph too.
  const weights = tensors.filter(({ name }) => !name.startsWith("constant/"));
  const values = weights.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const row = ({ name, type, shape }: Pick<ReadValue, "name" | "type" | "shape">): ListingRow => [
    name,
    `${type} [${shape.join(", ")}]`,
  ];
  return {
    document: {
      kind: "onnx",
      path,
      irVersion: model.irVersion,
      opset: model.opset,
      export: exported,
      nodes: model.nodes.length,
      inputs: model.inputs,
      outputs: model.outputs,
      tensors,
    },
    listing: [
      ["ONNX model", path],
      ["operators", `version ${model.opset}, ${model.nodes.length} nodes`],
      ["inputs", ""],
      ...model.inputs.map(row),
      ["outputs", ""],
      ...model.outputs.map(row),
      ["weights", `${weights.length} of ${values} values`],
      ...weights.map(row),
    ],
    next: ["export", "--help"],
  };
}
