import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { engineParameterStore } from "../../../src/checkpoint/engine-parameter-store.js";
import { Engine } from "../../../src/engine/engine.js";
import type { PretrainingModelConfig, TransformerShape } from "../../../src/engine/types.js";

/** Words of a tiny vocabulary whose ids are their places. */
export const tinyTokens = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  "[MASK]",
  ..."abcdefghijklmnopqrstuvwxyz.,".split(""),
  ..."abcdefghijklmnopqrstuvwxyz".split("").map((letter) => `##${letter}`),
  "the",
  "cat",
  "sat",
];

const shape: TransformerShape = {
  vocab_size: tinyTokens.length,
  embedding_size: 8,
  hidden_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  intermediate_size: 32,
  hidden_act: "gelu",
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
  max_position_embeddings: 64,
  type_vocab_size: 2,
  initializer_range: 0.5,
};

export const tinyConfig: PretrainingModelConfig = {
  objective: "electra",
  generator_kind: "masked",
  discriminator: shape,
  generator: { ...shape, hidden_size: 8, intermediate_size: 16, num_attention_heads: 1 },
  mask_prob: 0.15,
  max_seq_length: 12,
  max_predictions_per_seq: 3,
  cls_id: 2,
  sep_id: 3,
  mask_id: 4,
};

/** A run folder with one checkpoint of a model with random weights, and the engine that they came from. */
export async function saveTinyModel(): Promise<{ runDir: string; engine: Engine }> {
  const runDir = await mkdtemp(join(tmpdir(), "electra-tiny-"));
  const engine = await Engine.create({ model: tinyConfig, threads: 1, seed: 3 });
  await saveCheckpoint({
    runDir,
    step: 7,
    seed: 3,
    cursor: 0,
    hparams: { max_seq_length: tinyConfig.max_seq_length },
    versions: {},
    fingerprints: {
      data: null,
      package: null,
      isa: null,
      gemm: null,
      precision: null,
      device: null,
      threads: null,
    },
    parameters: engineParameterStore(engine),
    configs: { discriminator: shape, generator: tinyConfig.generator! },
    tokenizer: { vocabText: `${tinyTokens.join("\n")}\n`, doLowerCase: true, stripAccents: true },
    keepCheckpointMax: 1,
  });
  return { runDir, engine };
}
