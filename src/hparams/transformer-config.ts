import { ElectraError } from "../errors.js";
import type { PretrainingHparams } from "./resolved-hparams.js";
import { roundHalfEven } from "./round-half-even.js";

/** Shape of one transformer. Names are those of the reference's and of Hugging Face's configuration. */
export interface TransformerConfig {
  readonly vocab_size: number;
  /** Width of the embedding tables; where it differs from `hidden_size` a projection follows. */
  readonly embedding_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly hidden_act: string;
  readonly hidden_dropout_prob: number;
  readonly attention_probs_dropout_prob: number;
  readonly max_position_embeddings: number;
  readonly type_vocab_size: number;
  readonly initializer_range: number;
}

/** The settings that shape the discriminator. */
export type DiscriminatorHparams = Pick<
  PretrainingHparams,
  "model_size" | "model_hparam_overrides" | "vocab_size" | "embedding_size" | "debug"
>;

/** The settings that shape the generator. */
export type GeneratorHparams = DiscriminatorHparams &
  Pick<PretrainingHparams, "generator_hidden_size" | "generator_layers" | "untied_generator_embeddings">;

const sizes = {
  small: { hidden_size: 256, num_hidden_layers: 12 },
  base: { hidden_size: 768, num_hidden_layers: 12 },
  large: { hidden_size: 1024, num_hidden_layers: 24 },
} as const;

const common = {
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  initializer_range: 0.02,
} as const;

/** Set after everything else, so that overrides of these four have no effect in debug. */
export const debugDiscriminator = {
  hidden_size: 144,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  intermediate_size: 576,
} as const;

/** One head per 64 columns, at least one. */
function headsFor(hiddenSize: number): number {
  return Math.max(1, Math.floor(hiddenSize / 64));
}

/**
 * The discriminator's transformer (also BERT's, under the masked-LM objective). Overrides are applied twice: before
 * heads and feed-forward width are derived from `hidden_size`, and after, so that explicit ones win.
 */
export function discriminatorConfig(hparams: DiscriminatorHparams): TransformerConfig {
  const overrides = Object.fromEntries(
    Object.entries(hparams.model_hparam_overrides).filter(([, value]) => value !== undefined),
  );
  const first = { ...common, vocab_size: hparams.vocab_size, ...sizes[hparams.model_size], ...overrides };
  const config = {
    ...first,
    num_attention_heads: headsFor(first.hidden_size),
    intermediate_size: 4 * first.hidden_size,
    ...overrides,
    ...(hparams.debug ? debugDiscriminator : {}),
  };
  return Object.freeze({ ...config, embedding_size: hparams.embedding_size ?? config.hidden_size });
}

/**
 * The transformer of a generator of its own (and of each of two towers): the discriminator's with width and depth
 * scaled by `generator_hidden_size` and `generator_layers`, rounded half to even; heads and feed-forward width follow
 * from the width. With untied embeddings its tables are as wide as its states.
 */
export function generatorConfig(hparams: GeneratorHparams): TransformerConfig {
  const discriminator = discriminatorConfig(hparams);
  const hiddenSize = roundHalfEven(discriminator.hidden_size * hparams.generator_hidden_size);
  return Object.freeze({
    ...discriminator,
    hidden_size: hiddenSize,
    num_hidden_layers: roundHalfEven(discriminator.num_hidden_layers * hparams.generator_layers),
    num_attention_heads: headsFor(hiddenSize),
    intermediate_size: 4 * hiddenSize,
    embedding_size: hparams.untied_generator_embeddings ? hiddenSize : discriminator.embedding_size,
  });
}

/**
 * Refuses a transformer that cannot be built. Apart from the derivation because derived shapes may be looked at
 * without being built.
 *
 * @param owner `discriminator` or `generator`, for messages
 * @throws ElectraError `ERR_ELECTRA_MODEL_SHAPE`, exit code 2
 */
export function checkTransformerConfig(
  config: TransformerConfig,
  owner: "discriminator" | "generator",
): void {
  const { hidden_size, num_attention_heads, num_hidden_layers } = config;
  const isGenerator = owner === "generator";
  if (hidden_size < 1 || num_hidden_layers < 1) {
    throw shapeError(
      `The ${owner} would have ${num_hidden_layers} layers of width ${hidden_size}: it needs at least one of each.`,
      isGenerator
        ? "Raise generator_layers or generator_hidden_size, the fractions of the discriminator's depth and width."
        : "Raise num_hidden_layers or hidden_size in model_hparam_overrides.",
    );
  }
  if (hidden_size % num_attention_heads !== 0) {
    throw shapeError(
      `The ${owner}'s width ${hidden_size} is not divisible by its ${num_attention_heads} attention heads.`,
      isGenerator
        ? "Choose generator_hidden_size so that the width (rounded) is a multiple of 64, or below 128."
        : "Choose hidden_size and num_attention_heads in model_hparam_overrides so that one divides the other.",
    );
  }
}

function shapeError(message: string, hint: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_MODEL_SHAPE", message, { hint, exitCode: 2 });
}
