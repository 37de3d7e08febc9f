import { type ModelWeights, readModelWeights } from "../checkpoint/model-weights.js";
import { ElectraError } from "../errors.js";

/** How what was written compares with what it was written from. */
export interface ExportComparison {
  readonly tensors: number;
  readonly values: number;
  /** Largest absolute difference of any value; 0 means bit for bit, NaN and signed zeros included. */
  readonly largestDifference: number;
}

/**
 * Reads an exported model again and compares it, value by value.
 *
 * @throws ElectraError `ERR_ELECTRA_EXPORT` when a tensor is missing or anything differs
 */
export async function compareExported(
  original: ModelWeights,
  folder: string,
  variables: readonly string[],
  moments: boolean,
): Promise<ExportComparison> {
  const written = await readModelWeights(folder);
  const fail = (message: string): never => {
    throw new ElectraError("ERR_ELECTRA_EXPORT", `what was written differs from the model: ${message}`, {
      hint: "This is a fault of this package or of the disk: nothing was kept. Please report it.",
    });
  };
  let [tensors, values, largest] = [0, 0, 0];
  const compare = (name: string, a: Float32Array, b: Float32Array): void => {
    tensors++;
    values += a.length;
    const [left, right] = [a, b].map(
      (array) => new Uint32Array(array.buffer, array.byteOffset, array.length),
    ) as [Uint32Array, Uint32Array];
    if (a.length !== b.length) fail(`${name} has ${b.length} values instead of ${a.length}`);
    for (let i = 0; i < a.length; i++) {
      if (left[i] === right[i]) continue;
      const difference = Math.abs(a[i]! - b[i]!);
      largest = Math.max(
        largest,
        Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(difference, Number.MIN_VALUE),
      );
    }
  };
  try {
    for (const name of variables) {
      // Alone, without the other half, an encoder that both share comes back as the generator's.
      const found = written.tensors.has(name) ? name : written.nameIn("generator", name);
      if (!written.tensors.has(found)) fail(`${name} is missing`);
      compare(name, await original.readFloat32(name), await written.readFloat32(found));
      if (!moments) continue;
      for (const kind of ["adam_m", "adam_v"]) {
        const moment = `${name}/${kind}`;
        compare(
          moment,
          await original.moments!.readFloat32(moment),
          await written.moments!.readFloat32(moment),
        );
      }
    }
    if (moments && written.step !== (original.step ?? 0))
      fail(`the step is ${written.step}, not ${original.step}`);
  } finally {
    await written.close();
  }
  if (largest > 0) fail(`the largest difference is ${largest}`);
  return { tensors, values, largestDifference: largest };
}
