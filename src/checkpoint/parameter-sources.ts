import { ElectraError } from "../errors.js";
import type { LayoutEntry } from "./hf-layout.js";
import type { ParameterInfo, ParameterKind, ParameterStore } from "./parameter-store.js";
import type { TensorSource } from "./safetensors.js";
import { transposeInStripes } from "./transpose.js";

/** A weight as a Hugging Face file has it: under its name there, linear weights as [out, in]. */
export function weightSource(entry: LayoutEntry, parameters: ParameterStore): TensorSource {
  return {
    name: entry.hfName,
    dtype: "F32",
    shape: entry.shape,
    async *data() {
      const values = await readChecked(parameters, "value", entry.variable, entry.shape);
      if (!entry.transposed) {
        yield* inPieces(values);
        return;
      }
      const [columns, rows] = entry.shape as [number, number];
      for (const stripe of transposeInStripes(values, rows, columns)) yield asBytes(stripe);
    },
  };
}

/** A variable, or one of its moments as `<variable>/adam_m` or `/adam_v`, in the reference's orientation. */
export function variableSource(
  { name, shape }: ParameterInfo,
  kind: ParameterKind,
  parameters: ParameterStore,
): TensorSource {
  return {
    name: kind === "value" ? name : `${name}/${kind}`,
    dtype: "F32",
    shape,
    async *data() {
      yield* inPieces(await readChecked(parameters, kind, name, shape));
    },
  };
}

async function readChecked(
  parameters: ParameterStore,
  kind: ParameterKind,
  name: string,
  shape: readonly number[],
): Promise<Float32Array> {
  const values = await parameters.read(kind, name);
  const expected = shape.reduce((product, size) => product * size, 1);
  if (values.length !== expected) {
    throw new ElectraError(
      "ERR_ELECTRA_TENSOR_SIZE",
      `the engine gave ${values.length} values of "${name}" (${kind}), expected ${expected}`,
    );
  }
  return values;
}

/** One mebibyte at a time: a single huge write could not be interrupted by the event loop's other work. */
function* inPieces(values: Float32Array): Generator<Uint8Array> {
  const bytes = asBytes(values);
  for (let at = 0; at < bytes.length; at += 1 << 20) yield bytes.subarray(at, at + (1 << 20));
}

function asBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
