import type { PretrainingHparams } from "./resolved-hparams.js";

/**
 * What pre-training learns: `electra` replaced-token detection, `electric` noise-contrastive estimation of an energy,
 * `mlm` BERT's masked language model alone.
 */
export type PretrainingObjective = "electra" | "electric" | "mlm";

/** Electric wins when both switches are on, as in the reference (its `electra_objective` default is true). */
export function pretrainingObjective(
  hparams: Pick<PretrainingHparams, "electra_objective" | "electric_objective">,
): PretrainingObjective {
  if (hparams.electric_objective) return "electric";
  return hparams.electra_objective ? "electra" : "mlm";
}

/**
 * Which network proposes tokens: `uniform` none, `two_towers` the two-tower cloze model over unmasked input, `masked` a
 * masked-LM transformer of its own, `shared` the discriminator's encoder (tied, or BERT's objective).
 */
export type GeneratorKind = "uniform" | "two_towers" | "masked" | "shared";

type GeneratorSwitches = Pick<
  PretrainingHparams,
  | "electra_objective"
  | "electric_objective"
  | "uniform_generator"
  | "two_tower_generator"
  | "untied_generator"
>;

/** The generator that the reference builds for these switches; the first rule that holds decides. */
export function generatorKind(hparams: GeneratorSwitches): GeneratorKind {
  if (hparams.uniform_generator) return "uniform";
  if (pretrainingObjective(hparams) === "mlm" || !hparams.untied_generator) return "shared";
  return hparams.two_tower_generator ? "two_towers" : "masked";
}
