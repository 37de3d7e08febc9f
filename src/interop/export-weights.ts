import type { HalfName } from "../checkpoint/hf-layout.js";
import type { ModelWeights } from "../checkpoint/model-weights.js";

/**
 * The weights of one part of a model under the reference's names, kernels as [in, out]. The encoder is always `electra/…`,
 * a generator's too.
 */
export interface ExportWeights {
  /** Named in messages. */
  readonly path: string;
  /** Undefined for a variable that is not there. */
  shapeOf(variable: string): readonly number[] | undefined;
  /** Values, row-major. */
  read(variable: string): Promise<Float32Array>;
}

export function weightsOfPart(weights: ModelWeights, part: HalfName): ExportWeights {
  return {
    path: weights.model.path,
    shapeOf: (variable) => weights.tensors.get(weights.nameIn(part, variable))?.shape,
    read: (variable) => weights.readFloat32(weights.nameIn(part, variable)),
  };
}
