import { ElectraError } from "../errors.js";
import type { HfConfig } from "./hf-config.js";
import type { StoredTensor } from "./tensor-file.js";

/**
 * The configuration of a transformer as far as its variables' shapes tell it; the rest is what the reference has: one head
 * for 64 columns, erf GELU, dropout 0.1.
 *
 * @param tensors by the reference's names
 * @param scope of the encoder
 * @param given what is known from elsewhere, such as a `config.json` beside a TensorFlow checkpoint
 * @throws ElectraError `ERR_ELECTRA_MODEL_FORMAT` when the variables make no transformer
 */
export function deriveConfig(
  tensors: ReadonlyMap<string, Pick<StoredTensor, "shape">>,
  scope: string,
  path: string,
  given: Partial<HfConfig> = {},
): HfConfig {
  const fail = (message: string, hint: string): never => {
    throw new ElectraError("ERR_ELECTRA_MODEL_FORMAT", `${path}: ${message}`, { hint, exitCode: 2 });
  };
  const embeddings = tensors.has(`${scope}/embeddings/word_embeddings`) ? scope : "electra";
  const size = (name: string, axis: number): number =>
    tensors.get(name)?.shape[axis] ??
    fail(
      `it has no ${name}, so it is no ELECTRA model`,
      "Give the checkpoint of a pre-trained ELECTRA model.",
    );
  const prefix = `${scope}/encoder/layer_`;
  const layers = new Set<number>();
  for (const name of tensors.keys()) {
    if (name.startsWith(prefix)) layers.add(Number.parseInt(name.slice(prefix.length), 10));
  }
  const hidden = size(`${prefix}0/attention/self/query/kernel`, 0);
  // max(1, hidden_size // 64), as the reference derives it.
  const heads = given.num_attention_heads ?? Math.max(1, Math.floor(hidden / 64));
  if (hidden % heads !== 0) {
    fail(
      `${scope} is ${hidden} wide, which ${heads} attention heads do not divide; shapes do not tell their number`,
      `Put a config.json with "num_attention_heads" beside the checkpoint.`,
    );
  }
  return {
    vocab_size: size(`${embeddings}/embeddings/word_embeddings`, 0),
    embedding_size: size(`${embeddings}/embeddings/word_embeddings`, 1),
    hidden_size: hidden,
    num_hidden_layers: layers.size,
    num_attention_heads: heads,
    intermediate_size: size(`${prefix}0/intermediate/dense/kernel`, 1),
    hidden_act: given.hidden_act ?? "gelu",
    hidden_dropout_prob: given.hidden_dropout_prob ?? 0.1,
    attention_probs_dropout_prob: given.attention_probs_dropout_prob ?? 0.1,
    max_position_embeddings: size(`${embeddings}/embeddings/position_embeddings`, 0),
    type_vocab_size: size(`${embeddings}/embeddings/token_type_embeddings`, 0),
    initializer_range: given.initializer_range ?? 0.02,
    model_type: "electra",
    architectures: [],
    layer_norm_eps: 1e-12,
    pad_token_id: 0,
  };
}
