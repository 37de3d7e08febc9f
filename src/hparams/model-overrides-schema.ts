import type { z } from "zod";
import { hparamInfo } from "./hparam-field.js";
import { once, zod } from "./lazy-zod.js";

const group = "model_hparam_overrides";
/** Activation names of the reference, and `gelu_new` (Hugging Face's name for the tanh approximation of GELU). */
export const hiddenActivations = ["gelu", "gelu_new", "relu", "tanh", "linear"] as const;

/** `model_hparam_overrides`: changes to the transformer that `model_size` names. */
export const modelOverridesSchema = once(() => {
  const z = zod();
  const size = (help: string) =>
    z
      .int()
      .min(1)
      .optional()
      .describe(help)
      .register(hparamInfo(), { expects: "an integer of at least 1", group });
  const dropout = (help: string) =>
    z
      .number()
      .min(0)
      .lt(1)
      .optional()
      .describe(help)
      .register(hparamInfo(), { expects: "a number of at least 0 and below 1", group });
  return z.strictObject({
    vocab_size: size("Rows of the word-embedding table."),
    hidden_size: size("Width of the discriminator."),
    num_hidden_layers: size("Layers of the discriminator."),
    num_attention_heads: size("Attention heads; default max(1, hidden_size // 64)."),
    intermediate_size: size("Width of the feed-forward layer; default 4 * hidden_size."),
    hidden_act: z
      .enum(hiddenActivations)
      .optional()
      .describe('Activation: "gelu" is exact (erf), "gelu_new" its tanh approximation.')
      .register(hparamInfo(), {
        expects: `one of ${hiddenActivations.map((n) => `"${n}"`).join(", ")}`,
        group,
      }),
    hidden_dropout_prob: dropout("Dropout of embeddings, attention output and feed-forward output."),
    attention_probs_dropout_prob: dropout("Dropout of the attention probabilities."),
    max_position_embeddings: size("Rows of the position table, the longest possible input."),
    type_vocab_size: size("Rows of the segment table."),
    initializer_range: z
      .number()
      .positive()
      .optional()
      .describe("Standard deviation of the truncated normal that weights are drawn from.")
      .register(hparamInfo(), { expects: "a number greater than 0", group }),
  });
});

export type ModelOverrides = z.output<ReturnType<typeof modelOverridesSchema>>;
