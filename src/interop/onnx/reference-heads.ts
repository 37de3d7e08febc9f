import type { HfConfig } from "../../checkpoint/hf-config.js";
import type { ExportHead } from "../export-head.js";
import type { ExportWeights } from "../export-weights.js";
import { activate, Dense, normalize, rowProducts, type Vector } from "./reference-layers.js";
import { spanOutputs } from "./reference-span.js";

/** One row of a batch without its padding. */
export interface ReferenceRow {
  readonly inputIds: Int32Array;
  readonly segmentIds: Uint8Array;
  /** States of the last layer, a vector for each token. */
  readonly hidden: readonly Vector[];
}

/** The outputs of one row, by their names in the graph: numbers, row-major, without padding. */
export type ReferenceOutputs = Readonly<Record<string, readonly number[]>>;

/** Computes what a head says about a row. */
export type ReferenceHead = (row: ReferenceRow) => ReferenceOutputs;

/**
 * A head's formulas once more, in float64 and without any of the graph's tricks, to compare an exported model with. The encoder's
 * states come from the engine.
 */
export async function referenceHead(
  head: ExportHead,
  config: HfConfig,
  weights: ExportWeights,
): Promise<ReferenceHead> {
  const dense = (layer: string): Promise<Dense> => Dense.read(weights, layer);
  switch (head.kind) {
    case "encoder":
      return ({ hidden }) => ({ last_hidden_state: hidden.flatMap((state) => [...state]) });
    case "replaced-tokens": {
      const inner = await dense("discriminator_predictions/dense");
      const outer = await dense("discriminator_predictions/dense_1");
      const logit = (state: Vector): number =>
        outer.apply(activate(inner.apply(state), config.hidden_act))[0]!;
      return ({ hidden }) => ({ logits: hidden.map(logit) });
    }
    case "masked-lm": {
      const inner = await dense("generator_predictions/dense");
      const scale = await weights.read("generator_predictions/LayerNorm/gamma");
      const shift = await weights.read("generator_predictions/LayerNorm/beta");
      const table = await weights.read("electra/embeddings/word_embeddings");
      const bias = await weights.read("generator_predictions/output_bias");
      const logits = (state: Vector): Vector => {
        const activated = activate(inner.apply(state), config.hidden_act);
        return rowProducts(table, bias, normalize(activated, scale, shift, config.layer_norm_eps));
      };
      return ({ hidden }) => ({ logits: hidden.flatMap((state) => [...logits(state)]) });
    }
    case "hf-sequence": {
      const inner = await dense("classifier/dense");
      const outer = await dense("classifier/out_proj");
      return ({ hidden }) => ({ logits: [...outer.apply(activate(inner.apply(hidden[0]!), "gelu"))] });
    }
    case "hf-token": {
      const layer = await dense("classifier");
      return ({ hidden }) => ({ logits: hidden.flatMap((state) => [...layer.apply(state)]) });
    }
    case "hf-span": {
      const layer = await dense("qa_outputs");
      return ({ hidden }) => {
        const both = hidden.map((state) => layer.apply(state));
        return {
          start_logits: both.map(([start]) => start!),
          end_logits: both.map(([, end]) => end!),
        };
      };
    }
    case "task":
      return await taskHead(head, weights);
  }
}

async function taskHead(
  { task, head }: Extract<ExportHead, { kind: "task" }>,
  weights: ExportWeights,
): Promise<ReferenceHead> {
  const scope = `task_specific/${task}`;
  if (head.kind === "span") return await spanOutputs(scope, head, weights);
  const layer = await Dense.read(weights, `${scope}/dense`);
  switch (head.kind) {
    case "classification":
    case "multi-label":
      return ({ hidden }) => ({ logits: [...layer.apply(hidden[0]!)] });
    case "regression":
      return ({ hidden }) => {
        const [value] = layer.apply(hidden[0]!);
        return { logits: [value!], predictions: [value! * head.maximum + head.minimum] };
      };
    case "tagging":
      return ({ hidden }) => ({ logits: hidden.flatMap((state) => [...layer.apply(state)]) });
  }
}
