import { generatorKind, pretrainingObjective } from "./generator-kind.js";
import type { PretrainingHparamName } from "./pretraining-schema.js";
import type { HparamSource, PretrainingHparams } from "./resolved-hparams.js";
import { debugDiscriminator } from "./transformer-config.js";

/** Something that is allowed, but probably not meant. */
export interface HparamWarning {
  /** Stable, for filtering. */
  readonly code: string;
  readonly message: string;
  /** What to do about it. */
  readonly hint: string;
}

type Sources = Readonly<Record<PretrainingHparamName, HparamSource>>;

/** Everything worth saying about resolved hparams before a long run starts. */
export function pretrainingWarnings(hparams: PretrainingHparams, sources: Sources): readonly HparamWarning[] {
  return [
    ...scheduleWarnings(hparams),
    ...sizeWarnings(hparams),
    ...evaluationWarnings(hparams),
    ...uselessSettings(hparams, (name) => sources[name] === "hparams"),
  ];
}

function scheduleWarnings(hparams: PretrainingHparams): readonly HparamWarning[] {
  const { num_warmup_steps: warmup, num_train_steps: steps } = hparams;
  if (!hparams.do_train || warmup < steps) return [];
  return [
    {
      code: "warmup_longer_than_training",
      message: `The warm-up (num_warmup_steps ${warmup}) is not shorter than the training (num_train_steps ${steps}): the learning rate never comes near learning_rate ${hparams.learning_rate}.`,
      hint: `Set num_warmup_steps to about a tenth of the steps: "num_warmup_steps": ${Math.round(steps / 10)}.`,
    },
  ];
}

/** The reference evaluates on its training data too, but only when asked to, after training. */
function evaluationWarnings(hparams: PretrainingHparams): readonly HparamWarning[] {
  const { do_train, eval_steps: every, heldout_tfrecords, heldout_fraction } = hparams;
  if (!do_train || every === 0 || heldout_tfrecords !== null || heldout_fraction > 0) return [];
  return [
    {
      code: "nothing_held_out",
      message: `eval_steps is ${every}, but no records are held out: nothing is evaluated during training.`,
      hint: 'Give heldout_tfrecords, or keep some records back: "heldout_fraction": 0.01.',
    },
  ];
}

/** The reference's defaults suit small alone; base and large diverge or learn badly with them. */
function sizeWarnings(hparams: PretrainingHparams): readonly HparamWarning[] {
  const { model_size: size, debug } = hparams;
  if (size === "small" || debug) return [];
  const isElectra = pretrainingObjective(hparams) !== "mlm";
  const kind = generatorKind(hparams);
  const generatorIsSmalls = isElectra && (kind === "masked" || kind === "two_towers") && size === "base";
  const advice: readonly (readonly [
    name: PretrainingHparamName,
    smalls: number,
    paper: number,
    when: boolean,
  ])[] = [
    ["max_seq_length", 128, 512, true],
    ["learning_rate", 5e-4, 2e-4, hparams.do_train],
    ["generator_hidden_size", 0.25, 0.33333, generatorIsSmalls],
  ];
  const found = advice.filter(([name, smalls, , when]) => when && hparams[name] === smalls);
  if (found.length === 0) return [];
  const list = (values: readonly (readonly [string, number])[]) =>
    values.map(([name, value]) => `"${name}": ${value}`).join(", ");
  return [
    {
      code: "settings_of_small",
      message: `model_size "${size}" runs with small's ${list(found.map(([name, smalls]) => [name, smalls]))}.`,
      hint: `Use --preset fixed, or set the paper's values: ${list(found.map(([name, , paper]) => [name, paper]))}.`,
    },
  ];
}

function uselessSettings(
  hparams: PretrainingHparams,
  given: (name: PretrainingHparamName) => boolean,
): readonly HparamWarning[] {
  const warnings: HparamWarning[] = [];
  const ignored = (names: readonly PretrainingHparamName[], why: string, hint: string) => {
    const found = names.filter(given);
    if (found.length === 0) return;
    warnings.push({
      code: "setting_without_effect",
      message: `${found.join(", ")} ${found.length === 1 ? "has" : "have"} no effect: ${why}.`,
      hint,
    });
  };
  ignored(
    [
      "use_tpu",
      "num_tpu_cores",
      "tpu_job_name",
      "tpu_name",
      "tpu_zone",
      "gcp_project",
      "iterations_per_loop",
    ],
    "there is no TPU backend",
    "Choose the device with --device.",
  );
  ignored(
    ["do_lower_case"],
    "the records hold ids already",
    "Choose the case when building the vocabulary and the data.",
  );
  ignored(
    ["results_pkl"],
    "results are written as text and JSON",
    `Set results_json (now ${hparams.results_json}).`,
  );
  const kind = generatorKind(hparams);
  if (kind === "uniform" || kind === "shared") {
    ignored(
      ["generator_hidden_size", "generator_layers", "untied_generator_embeddings"],
      kind === "uniform"
        ? "a uniform generator has no network"
        : "the generator is the discriminator's encoder",
      "Leave them out.",
    );
  }
  if (kind === "uniform")
    ignored(["untied_generator"], "a uniform generator has no network", "Leave it out.");
  if (hparams.debug) {
    const overridden = Object.keys(debugDiscriminator).filter(
      (name) => name in hparams.model_hparam_overrides,
    );
    if (overridden.length > 0) {
      warnings.push({
        code: "setting_without_effect",
        message: `model_hparam_overrides of ${overridden.join(", ")} have no effect: debug fixes the model's size.`,
        hint: "Set debug to false to use them.",
      });
    }
  }
  return warnings;
}
