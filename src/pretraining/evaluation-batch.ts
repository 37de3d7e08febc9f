import type { Batch, OutputArray, StepResult } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import type { PretrainingObjective } from "../hparams/generator-kind.js";
import type { PretrainingBatchOutputs, TokenOutputs } from "../metrics/pretraining-metrics.js";
import type { MaskingIds } from "./model-config.js";

const slotOutputs = ["masked/weights", "masked/targets", "mlm/loss", "mlm/predictions"] as const;
const tokenOutputs = [
  "fake/sampled_ids",
  "fake/labels",
  "disc/probabilities",
  "disc/predictions",
  "disc/weights",
  "disc/loss",
] as const;

/** Names of the arrays that the evaluation metrics need of `Engine.evaluate`. */
export function evaluationOutputs(objective: PretrainingObjective): readonly string[] {
  return objective === "mlm" ? slotOutputs : [...slotOutputs, ...tokenOutputs];
}

/**
 * An evaluated batch in the form that `PretrainingMetrics` takes. With the ids of the special tokens, tokens that could
 * have been replaced are marked too.
 */
export function evaluationBatch(batch: Batch, result: StepResult, ids?: MaskingIds): PretrainingBatchOutputs {
  const output = (name: string): OutputArray["data"] => {
    const array = result.outputs[name];
    if (array === undefined) throw new ElectraError("ERR_ELECTRA_OUTPUT", `the engine returned no "${name}"`);
    return array.data;
  };
  const withTokens = result.outputs["disc/probabilities"] !== undefined;
  const withGenerator = result.outputs["mlm/loss"] !== undefined;
  const weights = output("masked/weights");
  const targets = output("masked/targets");
  return {
    totalLoss: result.loss,
    slots: {
      weights,
      targets,
      // A uniform generator has no network: every slot costs the same, and its best guess is id 0.
      losses: withGenerator
        ? output("mlm/loss")
        : new Float32Array(weights.length).fill(result.generator.loss / Math.max(1, result.generator.weight)),
      predictions: withGenerator ? output("mlm/predictions") : new Int32Array(weights.length),
      ...(withTokens ? { sampled: output("fake/sampled_ids") } : {}),
    },
    ...(withTokens ? { tokens: tokens(batch, output, ids) } : {}),
  };
}

function tokens(
  batch: Batch,
  output: (name: string) => OutputArray["data"],
  ids: MaskingIds | undefined,
): TokenOutputs {
  const mask = output("disc/weights");
  // The engine answers in rows of its own padded length, which may exceed the batch's.
  const pitch = mask.length / batch.rows;
  let candidates: Uint8Array | undefined;
  if (ids !== undefined) {
    candidates = new Uint8Array(mask.length);
    for (let row = 0; row < batch.rows; row++) {
      for (let i = 0; i < (batch.lengths[row] ?? 0); i++) {
        const id = batch.inputIds[row * batch.length + i];
        candidates[row * pitch + i] = id !== ids.cls && id !== ids.sep && id !== ids.mask ? 1 : 0;
      }
    }
  }
  return {
    probabilities: output("disc/probabilities"),
    predictions: output("disc/predictions"),
    labels: output("fake/labels"),
    mask,
    exampleLosses: output("disc/loss"),
    ...(candidates === undefined ? {} : { candidates }),
  };
}
