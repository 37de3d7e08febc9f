import type { PretrainingHparams } from "./resolved-hparams.js";

/**
 * `google`: the reference as it is, quirks included, numerically equal. `fixed`: masks without replacement, and the
 * settings of the paper for base and large, which the reference leaves at those of small.
 */
export type PretrainingPreset = "google" | "fixed";

export const pretrainingPresets = ["google", "fixed"] as const satisfies readonly PretrainingPreset[];

type PresetValues = Partial<Omit<PretrainingHparams, "model_hparam_overrides">>;

/** Clark et al. 2020, table 6; steps as in the released FLOPs computation. Small's are the schema's defaults. */
const paper: Readonly<Record<PretrainingHparams["model_size"], PresetValues>> = {
  small: {},
  base: {
    max_seq_length: 512,
    learning_rate: 2e-4,
    generator_hidden_size: 1 / 3,
    train_batch_size: 256,
    num_train_steps: 766_000,
  },
  large: {
    max_seq_length: 512,
    learning_rate: 2e-4,
    generator_hidden_size: 0.25,
    mask_prob: 0.25,
    train_batch_size: 2048,
    num_train_steps: 400_000,
  },
};

/** Defaults that a preset changes; everything that a person gives still wins. */
export function presetValues(
  preset: PretrainingPreset,
  modelSize: PretrainingHparams["model_size"],
): PresetValues {
  return preset === "google" ? {} : { mask_without_replacement: true, ...paper[modelSize] };
}
