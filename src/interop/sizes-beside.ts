import { deriveConfig } from "../checkpoint/derived-config.js";
import type { HfConfig } from "../checkpoint/hf-config.js";
import { TWO_TOWER_MODEL_TYPE } from "../checkpoint/hf-config.js";
import type { ModelWeights } from "../checkpoint/model-weights.js";

/** Fields that shapes do not tell. */
const FIELDS = ["num_attention_heads", "hidden_act"] as const;

/**
 * Text of a `config.json` beside a TensorFlow checkpoint, which says what its shapes do not; undefined for models that are
 * what the reference would derive.
 */
export function sizesBeside(weights: ModelWeights): string | undefined {
  const document: Record<string, Partial<HfConfig>> = {};
  for (const [part, config] of Object.entries(weights.configs)) {
    const own = config.model_type === TWO_TOWER_MODEL_TYPE ? "generator_ltr" : "generator";
    const scope =
      part === "generator" && weights.tensors.has(`${own}/encoder/layer_0/output/dense/kernel`)
        ? own
        : "electra";
    // Given what is known, so that a width that 64 does not divide is no obstacle here.
    const derived = deriveConfig(weights.tensors, scope, weights.model.path, {
      num_attention_heads: config.num_attention_heads,
    });
    const usual = { ...derived, num_attention_heads: Math.max(1, Math.floor(derived.hidden_size / 64)) };
    const different = FIELDS.filter((field) => config[field] !== usual[field]);
    if (different.length > 0) {
      document[part === "generator" ? "generator" : "discriminator"] = Object.fromEntries(
        different.map((field) => [field, config[field]]),
      );
    }
  }
  return Object.keys(document).length === 0 ? undefined : `${JSON.stringify(document, null, 2)}\n`;
}
