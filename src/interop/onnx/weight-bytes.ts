import { ElectraError } from "../../errors.js";
import type { ExportWeights } from "../export-weights.js";
import type { OnnxWeight } from "./onnx-types.js";

/** As much as is written at a time. */
const PIECE = 1 << 20;

/**
 * Checks that a model has all weights of a graph, with the shapes that it needs.
 *
 * @throws ElectraError `ERR_ELECTRA_CHECKPOINT_MISMATCH` naming the first that differs
 */
export function checkWeights(wanted: readonly OnnxWeight[], weights: ExportWeights): void {
  const differing = wanted.flatMap(({ variable, shape }) => {
    const found = weights.shapeOf(variable);
    if (found?.join() === shape.join()) return [];
    const what = found === undefined ? "is missing" : `is [${found.join(", ")}]`;
    return [`"${variable}" ${what}, expected [${shape.join(", ")}]`];
  });
  if (differing.length === 0) return;
  const more = differing.length > 1 ? ` (and ${differing.length - 1} more)` : "";
  throw new ElectraError("ERR_ELECTRA_CHECKPOINT_MISMATCH", `${weights.path}: ${differing[0]}${more}`, {
    hint: "The files of this model do not belong together: its configuration is of another one than its weights.",
  });
}

/** A weight's values, little-endian; no other tensor of the model is in memory. */
export async function* weightBytes(
  { variable }: OnnxWeight,
  weights: ExportWeights,
): AsyncGenerator<Uint8Array> {
  const values = await weights.read(variable);
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
}
