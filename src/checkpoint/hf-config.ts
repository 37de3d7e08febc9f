import { ElectraError } from "../errors.js";
import type { TransformerConfig } from "../hparams/transformer-config.js";
import type { HalfLayout } from "./hf-layout.js";

/** `model_type` of a generator made of two causal towers, which no Hugging Face class can load. */
export const TWO_TOWER_MODEL_TYPE = "electra-native-two-tower";

const LAYER_NORM_EPS = 1e-12;
const SIZE_FIELDS = [
  "vocab_size",
  "embedding_size",
  "hidden_size",
  "num_hidden_layers",
  "num_attention_heads",
  "intermediate_size",
  "max_position_embeddings",
  "type_vocab_size",
] as const;
const RATE_FIELDS = ["hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"] as const;

/** Contents of `config.json` for one half. Keys are sorted, as `save_pretrained` sorts them. */
export function hfConfigJson(config: TransformerConfig, half: HalfLayout): string {
  const twoTower = half.architecture === "two-tower";
  const fields: Record<string, unknown> = {
    ...(twoTower ? {} : { architectures: [half.architecture] }),
    attention_probs_dropout_prob: config.attention_probs_dropout_prob,
    classifier_dropout: null,
    dtype: "float32",
    embedding_size: config.embedding_size,
    hidden_act: config.hidden_act,
    hidden_dropout_prob: config.hidden_dropout_prob,
    hidden_size: config.hidden_size,
    initializer_range: config.initializer_range,
    intermediate_size: config.intermediate_size,
    layer_norm_eps: LAYER_NORM_EPS,
    max_position_embeddings: config.max_position_embeddings,
    model_type: twoTower ? TWO_TOWER_MODEL_TYPE : "electra",
    num_attention_heads: config.num_attention_heads,
    num_hidden_layers: config.num_hidden_layers,
    pad_token_id: 0,
    summary_activation: "gelu",
    summary_last_dropout: 0.1,
    summary_type: "first",
    summary_use_proj: true,
    tie_word_embeddings: true,
    type_vocab_size: config.type_vocab_size,
    vocab_size: config.vocab_size,
  };
  return `${JSON.stringify(fields, null, 2)}\n`;
}

/** What a folder's `config.json` says, as far as we use it. */
export interface HfConfig extends TransformerConfig {
  readonly model_type: string;
  readonly architectures: readonly string[];
  readonly layer_norm_eps: number;
  readonly pad_token_id: number;
}

/**
 * Reads `config.json`. Fields that Hugging Face leaves out take `ElectraConfig`'s defaults where those are the
 * reference's too; sizes must be there.
 *
 * @throws ElectraError ERR_ELECTRA_HF_CONFIG naming the field
 */
export function parseHfConfig(text: string, path: string): HfConfig {
  const fail = (message: string, cause?: unknown): never => {
    throw new ElectraError("ERR_ELECTRA_HF_CONFIG", `${path}: ${message}`, { cause });
  };
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    return fail(`not valid JSON (${(error as Error).message})`, error);
  }
  if (typeof fields !== "object" || fields === null || Array.isArray(fields))
    return fail("not a JSON object");
  const modelType = fields["model_type"];
  if (modelType !== "electra" && modelType !== TWO_TOWER_MODEL_TYPE) {
    return fail(`model_type is ${JSON.stringify(modelType)}, expected "electra"`);
  }
  const defaults: Record<string, unknown> = {
    type_vocab_size: 2,
    max_position_embeddings: 512,
    hidden_dropout_prob: 0.1,
    attention_probs_dropout_prob: 0.1,
    initializer_range: 0.02,
    hidden_act: "gelu",
    layer_norm_eps: LAYER_NORM_EPS,
    pad_token_id: 0,
    architectures: [],
  };
  const value = (name: string): unknown => fields[name] ?? defaults[name];
  const sizes = Object.fromEntries(
    SIZE_FIELDS.map((name) => {
      const size = value(name);
      if (!Number.isSafeInteger(size) || (size as number) <= 0) {
        fail(`${name} is ${JSON.stringify(size)}, expected a positive whole number`);
      }
      return [name, size as number];
    }),
  ) as Record<(typeof SIZE_FIELDS)[number], number>;
  const rates = Object.fromEntries(
    RATE_FIELDS.map((name) => {
      const rate = value(name);
      if (typeof rate !== "number" || !(rate >= 0 && rate < 1)) {
        fail(`${name} is ${JSON.stringify(rate)}, expected a number in [0, 1)`);
      }
      return [name, rate as number];
    }),
  ) as Record<(typeof RATE_FIELDS)[number], number>;
  const architectures = value("architectures");
  return {
    ...sizes,
    ...rates,
    hidden_act: String(value("hidden_act")),
    model_type: modelType,
    architectures: Array.isArray(architectures) ? architectures.map(String) : [],
    layer_norm_eps: Number(value("layer_norm_eps")),
    pad_token_id: Number(value("pad_token_id")),
  };
}

/**
 * Checks a configuration against the tensors it is to be written beside: a wrong size there would only show
 * when somebody loads the folder.
 */
export function checkConfig(config: TransformerConfig, half: HalfLayout): void {
  const shapeOf = (suffix: string): readonly number[] | undefined =>
    half.entries.find(({ hfName }) => hfName.endsWith(suffix))?.shape;
  const layers = new Set(
    half.entries.flatMap(({ hfName }) => /\.layer\.(\d+)\./.exec(hfName)?.[1] ?? []).map(Number),
  );
  const found: readonly [keyof TransformerConfig, number | undefined][] = [
    ["vocab_size", shapeOf("embeddings.word_embeddings.weight")?.[0]],
    ["embedding_size", shapeOf("embeddings.word_embeddings.weight")?.[1]],
    ["max_position_embeddings", shapeOf("embeddings.position_embeddings.weight")?.[0]],
    ["type_vocab_size", shapeOf("embeddings.token_type_embeddings.weight")?.[0]],
    ["hidden_size", shapeOf("layer.0.attention.self.query.weight")?.[0]],
    ["intermediate_size", shapeOf("layer.0.intermediate.dense.weight")?.[0]],
    ["num_hidden_layers", layers.size],
  ];
  for (const [field, size] of found) {
    if (size !== undefined && size !== config[field]) {
      throw new ElectraError(
        "ERR_ELECTRA_CONFIG_MISMATCH",
        `${half.architecture}: ${field} is ${config[field]} in the configuration, but ${size} in the variables`,
      );
    }
  }
  if (config.hidden_size % config.num_attention_heads !== 0) {
    throw new ElectraError(
      "ERR_ELECTRA_CONFIG_MISMATCH",
      `${half.architecture}: hidden_size ${config.hidden_size} is not a multiple of num_attention_heads ${config.num_attention_heads}`,
    );
  }
}
