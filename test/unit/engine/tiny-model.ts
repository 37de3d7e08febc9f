import type { Batch, PretrainingModelConfig, TransformerShape } from "../../../src/engine/types.js";

export interface TinyModelOptions {
  readonly hidden?: number;
  readonly layers?: number;
  readonly length?: number;
  readonly vocabulary?: number;
  readonly dropout?: number;
}

/** An ELECTRA model of a size that tests can afford. */
export function tinyModel(options: TinyModelOptions = {}): PretrainingModelConfig {
  const { hidden = 32, layers = 1, length = 16, vocabulary = 60, dropout = 0.1 } = options;
  const shape: TransformerShape = {
    vocab_size: vocabulary,
    embedding_size: hidden,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: 2,
    intermediate_size: 4 * hidden,
    hidden_act: "gelu",
    hidden_dropout_prob: dropout,
    attention_probs_dropout_prob: dropout,
    max_position_embeddings: length,
    type_vocab_size: 2,
    initializer_range: 0.02,
  };
  return {
    objective: "electra",
    generator_kind: "masked",
    discriminator: shape,
    generator: { ...shape, hidden_size: hidden / 2, intermediate_size: 2 * hidden },
    mask_prob: 0.15,
    max_seq_length: length,
    max_predictions_per_seq: Math.max(1, Math.floor(0.155 * length)),
    cls_id: 2,
    sep_id: 3,
    mask_id: 4,
  };
}

/** Rows of falling lengths, ids that only depend on `salt`. */
export function tinyBatch(model: PretrainingModelConfig, rows: number, salt = 0): Batch {
  const length = model.max_seq_length;
  const inputIds = new Int32Array(rows * length);
  const lengths = new Int32Array(rows);
  let state = 12345 + salt;
  for (let row = 0; row < rows; row++) {
    const count = Math.max(4, length - (row % 4));
    lengths[row] = count;
    for (let i = 0; i < count; i++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      inputIds[row * length + i] = 5 + ((state >>> 8) % (model.discriminator.vocab_size - 5));
    }
    inputIds[row * length] = model.cls_id;
    inputIds[row * length + count - 1] = model.sep_id;
  }
  return { inputIds, lengths, rows, length };
}
