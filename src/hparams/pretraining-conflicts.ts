import { ElectraError } from "../errors.js";
import { generatorKind, pretrainingObjective } from "./generator-kind.js";
import type { PretrainingHparams } from "./resolved-hparams.js";
import { checkTransformerConfig, discriminatorConfig, generatorConfig } from "./transformer-config.js";

/**
 * Refuses combinations that cannot run; the reference dies of most of them with an unrelated traceback.
 *
 * @throws ElectraError `ERR_ELECTRA_HPARAM_CONFLICT` or `ERR_ELECTRA_MODEL_SHAPE`, exit code 2
 */
export function checkPretrainingHparams(hparams: PretrainingHparams): void {
  const objective = pretrainingObjective(hparams);
  if (hparams.do_train === hparams.do_eval) {
    throw conflict(
      `Exactly one of \`do_train\` or \`do_eval\` must be True; both are ${hparams.do_train}.`,
      hparams.do_train
        ? 'To evaluate, give {"do_train": false, "do_eval": true}.'
        : "Set one of them to true.",
    );
  }
  if (hparams.uniform_generator && hparams.two_tower_generator) {
    throw conflict(
      objective === "electric"
        ? "electric_objective cannot be combined with uniform_generator: Electric needs the probabilities of a two-tower generator."
        : "two_tower_generator cannot be combined with uniform_generator: a uniform generator has no network.",
      "Set uniform_generator to false.",
    );
  }
  if (objective === "electric" && !hparams.two_tower_generator) {
    throw conflict(
      "electric_objective needs two_tower_generator, which is set to false.",
      "Leave two_tower_generator out: electric_objective turns it on.",
    );
  }
  if (hparams.two_tower_generator && !hparams.untied_generator) {
    throw conflict(
      "two_tower_generator cannot be combined with untied_generator false: two towers cannot share the discriminator's encoder.",
      "Set untied_generator to true.",
    );
  }
  if (hparams.two_tower_generator && objective === "mlm") {
    throw conflict(
      "two_tower_generator needs electra_objective or electric_objective: BERT's objective trains one full-size model.",
      "Set two_tower_generator to false, or electra_objective to true.",
    );
  }
  if (hparams.uniform_generator && objective === "mlm") {
    throw conflict(
      "uniform_generator with neither electra_objective nor electric_objective leaves nothing to train.",
      "Set uniform_generator to false, or electra_objective to true.",
    );
  }
  if (hparams.heldout_tfrecords !== null && hparams.heldout_fraction > 0) {
    throw conflict(
      `heldout_tfrecords and heldout_fraction ${hparams.heldout_fraction} both say what to evaluate on.`,
      "Give one of the two.",
    );
  }
  checkShapes(hparams);
}

function checkShapes(hparams: PretrainingHparams): void {
  const discriminator = discriminatorConfig(hparams);
  checkTransformerConfig(discriminator, "discriminator");
  const kind = generatorKind(hparams);
  if (kind === "masked" || kind === "two_towers")
    checkTransformerConfig(generatorConfig(hparams), "generator");
  if (hparams.max_seq_length > discriminator.max_position_embeddings) {
    throw new ElectraError(
      "ERR_ELECTRA_MODEL_SHAPE",
      `max_seq_length ${hparams.max_seq_length} exceeds the ${discriminator.max_position_embeddings} rows of the position table.`,
      {
        hint: `Set "model_hparam_overrides": {"max_position_embeddings": ${hparams.max_seq_length}}, or use shorter examples.`,
        exitCode: 2,
      },
    );
  }
  if (hparams.max_predictions_per_seq < 1) {
    throw conflict(
      `mask_prob ${hparams.mask_prob} of max_seq_length ${hparams.max_seq_length} leaves no token to predict.`,
      `Set mask_prob to at least ${Math.ceil(1000 / hparams.max_seq_length) / 1000}.`,
    );
  }
}

function conflict(message: string, hint: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_HPARAM_CONFLICT", message, { hint, exitCode: 2 });
}
