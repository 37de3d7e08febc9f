import type { HfConfig } from "../../checkpoint/hf-config.js";
import { Engine } from "../../engine/engine.js";
import type { ExportWeights } from "../export-weights.js";
import type { RandomRows } from "./random-rows.js";

export interface EncoderStatesOptions {
  readonly config: HfConfig;
  readonly weights: ExportWeights;
  readonly special: { readonly cls: number; readonly sep: number };
  readonly signal?: AbortSignal;
}

/** States of the last layer by the engine in float32 on the CPU: for each row, one vector for each of its tokens. */
export async function encoderStates(
  rows: RandomRows,
  { config, weights, special, signal }: EncoderStatesOptions,
): Promise<Float32Array[][]> {
  const { model_type, architectures, layer_norm_eps, pad_token_id, ...shape } = config;
  const engine = await Engine.create({
    device: "cpu",
    model: {
      objective: "electra",
      generator_kind: "uniform",
      discriminator: shape,
      mask_prob: 0.15,
      max_seq_length: rows.length,
      max_predictions_per_seq: 1,
      cls_id: special.cls,
      sep_id: special.sep,
      mask_id: special.sep,
    },
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    // The head on top keeps its first random weights: nothing of it is looked at.
    for (const { name: variable } of engine.parameters()) {
      if (!variable.startsWith("electra/")) continue;
      await engine.writeParameter(variable, await weights.read(variable));
    }
    const name = "hidden/electra/sequence_output";
    const outputs = await engine.forward(rows, {
      network: "discriminator",
      outputs: [name],
      ...(signal === undefined ? {} : { signal }),
    });
    const data = outputs[name]!.data as Float32Array;
    const width = config.hidden_size;
    return Array.from(rows.lengths, (count, row) =>
      Array.from({ length: count }, (_, position) => {
        const at = (row * rows.length + position) * width;
        return data.subarray(at, at + width);
      }),
    );
  } finally {
    await engine.dispose();
  }
}
