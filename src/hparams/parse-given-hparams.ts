import type { z } from "zod";
import { checkGivenHparams, type HparamFamily } from "./check-given-hparams.js";
import { type PretrainingSchema, pretrainingSchema } from "./pretraining-schema.js";

const pretraining: HparamFamily<PretrainingSchema> = {
  schema: pretrainingSchema,
  command: "pretrain",
  notHparams: {
    model_name: "Give it on the command line: --model-name <name>.",
    data_dir: "Give it on the command line: --data-dir <folder>.",
    max_predictions_per_seq:
      "It follows from the others, as int((mask_prob + 0.005) * max_seq_length); set mask_prob or max_seq_length.",
    preset: "Give it on the command line: --preset google|fixed.",
  },
};

/** Values a person gave, checked and converted, and only those. */
export type GivenPretrainingHparams = Partial<z.output<PretrainingSchema>>;

/**
 * Checks names and types of given hparams of pre-training.
 *
 * @param place where they stood, for messages: `--hparams` or a path
 * @throws ElectraError as {@link checkGivenHparams}
 */
export function parseGivenHparams(
  hparams: Readonly<Record<string, unknown>>,
  place: string,
): GivenPretrainingHparams {
  return checkGivenHparams(hparams, place, pretraining);
}
