import { ElectraError } from "../errors.js";

/** Layer-wise learning-rate decay of fine-tuning. */
export interface LayerwiseDecay {
  /** Factor per level, e.g. 0.8; 0 or less switches the decay off (every factor 1). */
  readonly decay: number;
  readonly numHiddenLayers: number;
  /**
   * The reference skips a level between the heads (factor 1) and the top encoder layer (factor decay²), left over
   * from a pooler that was removed. `true` closes the gap: the top layer gets `decay`. Default false.
   */
  readonly closeGap?: boolean;
}

const LAYER = /encoder\/layer_(\d+)\//;

/**
 * Factor of the learning rate for one variable, by its name: heads (`task_specific/…`) 1, encoder layer `i`
 * `decay^(n + 1 − i)`, embeddings and their projection `decay^(n + 2)`; one power less below the heads with `closeGap`.
 *
 * @returns a double; the update multiplies the float32 rate with its float32 value
 * @throws ElectraError `ERR_ELECTRA_LAYERWISE_VARIABLE` for a name that belongs to no level
 */
export function layerwiseMultiplier(variableName: string, options: LayerwiseDecay): number {
  const { decay, numHiddenLayers, closeGap = false } = options;
  if (decay <= 0) return 1;
  // Heads first: a task called "embeddings" must not count as the embeddings.
  if (variableName.includes("task_specific/")) return 1;
  const depth = depthBelowHeads(variableName);
  if (depth === undefined || depth > numHiddenLayers) {
    throw new ElectraError(
      "ERR_ELECTRA_LAYERWISE_VARIABLE",
      `Variable "${variableName}" belongs to no level of a ${numHiddenLayers}-layer model, so layer-wise decay ${decay} cannot be applied to it.`,
      { hint: "Set layerwise_lr_decay to 0 to train all variables with one rate.", exitCode: 2 },
    );
  }
  return decay ** (numHiddenLayers + (closeGap ? 1 : 2) - depth);
}

/** Embeddings and projection 0, encoder layer i: i + 1. */
function depthBelowHeads(variableName: string): number | undefined {
  const layer = LAYER.exec(variableName)?.[1];
  if (layer !== undefined) return Number(layer) + 1;
  return /\/embeddings(_project)?\//.test(variableName) ? 0 : undefined;
}
