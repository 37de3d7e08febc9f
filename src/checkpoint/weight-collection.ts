import type { StoredTensor, TensorFile } from "./tensor-file.js";

/** A weight under the reference's name and in its orientation: kernels are [in, out]. */
export interface ModelTensor extends StoredTensor {
  /** File that holds it, and its name there. */
  readonly file: string;
  readonly stored: string;
}

/** A tensor of the files that is no weight of the model. */
export interface IgnoredTensor {
  readonly stored: string;
  readonly file: string;
  readonly shape: readonly number[];
  readonly reason: string;
}

/** Where a weight lies. */
export interface Place {
  readonly file: TensorFile;
  readonly stored: string;
  readonly transposed: boolean;
}

/** Collects tensors of one or more files under the reference's names. */
export class WeightCollection {
  readonly tensors = new Map<string, ModelTensor>();
  readonly places = new Map<string, Place>();
  readonly ignored: IgnoredTensor[] = [];

  add(file: TensorFile, stored: string, variable: string, transposed: boolean): void {
    const { dtype, shape } = file.tensors.get(stored)!;
    this.tensors.set(variable, {
      dtype,
      shape: transposed ? [shape[1]!, shape[0]!] : shape,
      file: file.path,
      stored,
    });
    this.places.set(variable, { file, stored, transposed });
  }

  ignore(file: TensorFile, stored: string, reason: string): void {
    this.ignored.push({ stored, file: file.path, shape: file.tensors.get(stored)!.shape, reason });
  }
}

/** Whether two places hold the same bits. */
export async function sameValues(left: Place, right: Place): Promise<boolean> {
  const a = left.file.tensors.get(left.stored);
  const b = right.file.tensors.get(right.stored);
  if (a === undefined || b === undefined || a.dtype !== b.dtype || String(a.shape) !== String(b.shape))
    return false;
  const others = right.file.chunks(right.stored)[Symbol.asyncIterator]();
  for await (const piece of left.file.chunks(left.stored)) {
    const other = await others.next();
    if (other.done === true || Buffer.compare(piece, other.value) !== 0) return false;
  }
  return true;
}
