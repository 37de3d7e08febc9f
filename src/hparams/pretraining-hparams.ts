import { join } from "node:path";
import { generatorKind } from "./generator-kind.js";
import { maxPredictionsPerSequence } from "./masking-counts.js";
import { type GivenPretrainingHparams, parseGivenHparams } from "./parse-given-hparams.js";
import { checkPretrainingHparams } from "./pretraining-conflicts.js";
import { type PretrainingPreset, presetValues } from "./pretraining-presets.js";
import {
  type PretrainingHparamName,
  pretrainingHparamNames,
  pretrainingSchema,
} from "./pretraining-schema.js";
import { type HparamWarning, pretrainingWarnings } from "./pretraining-warnings.js";
import type { HparamSource, ParsedHparams, PlaceName, PretrainingHparams } from "./resolved-hparams.js";

export type { HparamSource, PretrainingHparams } from "./resolved-hparams.js";

export interface ResolvePretrainingOptions {
  readonly dataDir: string;
  readonly modelName: string;
  /** What the person gave; wins over everything. */
  readonly hparams?: Readonly<Record<string, unknown>>;
  /** Default `google`. */
  readonly preset?: PretrainingPreset;
  /** Where `hparams` stood, for messages. Default `--hparams`. */
  readonly place?: string;
}

export interface ResolvedPretraining {
  readonly hparams: PretrainingHparams;
  readonly preset: PretrainingPreset;
  /** For every hparam where its value came from. */
  readonly sources: Readonly<Record<PretrainingHparamName, HparamSource>>;
  readonly warnings: readonly HparamWarning[];
}

const debugValues = {
  train_batch_size: 8,
  num_train_steps: 20,
  eval_batch_size: 4,
  iterations_per_loop: 1,
  num_eval_steps: 2,
} as const satisfies GivenPretrainingHparams;

/**
 * Resolves the settings of a pre-training run in the reference's order: defaults (changed by the preset), the person's,
 * `max_predictions_per_seq`, those of `debug`, the embedding size of small, the towers of Electric, and the person's
 * once more, so that they win over everything that was derived.
 *
 * @returns frozen plain data
 * @throws ElectraError, exit code 2: unknown names, wrong types, combinations that cannot run
 *
 * @example
 * const { hparams, warnings } = resolvePretrainingHparams({
 *   dataDir: "data", modelName: "electra_small", hparams: { model_size: "small", num_train_steps: 1000 },
 * });
 */
export function resolvePretrainingHparams(options: ResolvePretrainingOptions): ResolvedPretraining {
  const { dataDir, modelName, preset = "google" } = options;
  const given = parseGivenHparams(options.hparams ?? {}, options.place ?? "--hparams");
  const defaults = pretrainingSchema().parse({});

  const values: Partial<Record<PretrainingHparamName, unknown>> = {};
  const sources: Partial<Record<PretrainingHparamName, HparamSource>> = {};
  const apply = (layer: Readonly<Record<string, unknown>>, source: HparamSource) => {
    for (const [name, value] of Object.entries(layer)) {
      values[name as PretrainingHparamName] = value;
      sources[name as PretrainingHparamName] = source;
    }
  };
  const now = () => values as ParsedHparams;

  apply(defaults, "default");
  apply(presetValues(preset, given.model_size ?? defaults.model_size), "preset");
  apply(given, "hparams");
  const maxPredictions = maxPredictionsPerSequence(now().mask_prob, now().max_seq_length);
  if (now().debug) apply(debugValues, "debug");
  if (now().model_size === "small") apply({ embedding_size: 128 }, "derived");
  if (now().electric_objective) apply({ two_tower_generator: true }, "derived");
  apply(given, "hparams");
  if (now().row_mode === "auto") {
    // The towers wrap around the padded row; only computing the padding reproduces the reference's numbers.
    const keep = preset === "google" && generatorKind(now()) === "two_towers";
    apply({ row_mode: keep ? "keep" : "drop" }, "derived");
  }
  for (const [name, path] of Object.entries(derivedPlaces(dataDir, modelName, given))) {
    if (values[name as PlaceName] === undefined) apply({ [name]: path }, "derived");
  }

  Object.freeze(now().model_hparam_overrides);
  const hparams = Object.freeze({
    ...Object.fromEntries(pretrainingHparamNames().map((name) => [name, values[name]])),
    max_predictions_per_seq: maxPredictions,
    data_dir: dataDir,
    model_name: modelName,
  }) as unknown as PretrainingHparams;
  checkPretrainingHparams(hparams);
  const allSources = Object.freeze(sources) as Readonly<Record<PretrainingHparamName, HparamSource>>;
  return Object.freeze({
    hparams,
    preset,
    sources: allSources,
    warnings: Object.freeze(pretrainingWarnings(hparams, allSources)),
  });
}

/** Results follow `model_dir`, which the reference documents but does not do. */
function derivedPlaces(
  dataDir: string,
  modelName: string,
  given: GivenPretrainingHparams,
): Readonly<Record<PlaceName, string>> {
  const modelDir = given.model_dir ?? join(dataDir, "models", modelName);
  const results = (extension: string) => join(modelDir, "results", `unsup_results.${extension}`);
  return {
    pretrain_tfrecords: join(dataDir, "pretrain_tfrecords", "pretrain_data.tfrecord*"),
    vocab_file: join(dataDir, "vocab.txt"),
    model_dir: modelDir,
    results_txt: results("txt"),
    results_pkl: results("pkl"),
    results_json: results("json"),
  };
}
