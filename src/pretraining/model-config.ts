import type { PretrainingModelConfig } from "../engine/types.js";
import { generatorKind, pretrainingObjective } from "../hparams/generator-kind.js";
import type { PretrainingHparams } from "../hparams/pretraining-hparams.js";
import { discriminatorConfig, generatorConfig } from "../hparams/transformer-config.js";

/** The special tokens that masking must know; ids of the vocabulary that the records were built with. */
export interface MaskingIds {
  readonly cls: number;
  readonly sep: number;
  readonly mask: number;
}

/**
 * The engine's model for resolved hyper-parameters.
 *
 * @example
 * const engine = await Engine.create({ model: pretrainingModelConfig(hparams, { cls: 101, sep: 102, mask: 103 }) });
 */
export function pretrainingModelConfig(hparams: PretrainingHparams, ids: MaskingIds): PretrainingModelConfig {
  const kind = generatorKind(hparams);
  return {
    objective: pretrainingObjective(hparams),
    generator_kind: kind,
    discriminator: discriminatorConfig(hparams),
    ...(kind === "masked" || kind === "two_towers" ? { generator: generatorConfig(hparams) } : {}),
    untied_generator_embeddings: hparams.untied_generator_embeddings,
    gen_weight: hparams.gen_weight,
    disc_weight: hparams.disc_weight,
    mask_prob: hparams.mask_prob,
    max_seq_length: hparams.max_seq_length,
    max_predictions_per_seq: hparams.max_predictions_per_seq,
    temperature: hparams.temperature,
    disallow_correct: hparams.disallow_correct,
    mask_without_replacement: hparams.mask_without_replacement,
    keep_padding: hparams.row_mode === "keep",
    cls_id: ids.cls,
    sep_id: ids.sep,
    mask_id: ids.mask,
    weight_decay_rate: hparams.weight_decay_rate,
  };
}
