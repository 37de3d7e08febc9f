import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { TWO_TOWER_MODEL_TYPE } from "../checkpoint/hf-config.js";
import { type ModelWeights, readModelWeights } from "../checkpoint/model-weights.js";
import { findTensorBundle } from "../checkpoint/tensorflow/find-bundle.js";
import { ElectraError } from "../errors.js";
import { generatorKind } from "../hparams/generator-kind.js";
import type { PretrainingHparams, ResolvePretrainingOptions } from "../hparams/pretraining-hparams.js";
import { resolvePretrainingHparams } from "../hparams/pretraining-hparams.js";
import {
  discriminatorConfig,
  generatorConfig,
  type TransformerConfig,
} from "../hparams/transformer-config.js";

/** A model made elsewhere that a run begins with. */
export interface InitialModel {
  /** As it was found. */
  readonly path: string;
  /**
   * Whether its steps count on: a TensorFlow checkpoint in the run's own place, as the reference continues its released
   * models. Otherwise the run has a schedule of its own, from step 0.
   */
  readonly continues: boolean;
  /** Updates that its weights have seen, where the files tell. */
  readonly step: number | undefined;
  /** The vocabulary beside it, if there is one. */
  readonly vocabFile: string | undefined;
}

/** Half of the reference's peak rate for base and large, a fifth of small's: a trained model is not to be thrown off. */
const GENTLE_LEARNING_RATE = 1e-4;

/**
 * Finds the model that a run begins with: the one asked for, else a TensorFlow checkpoint in `<data-dir>/models/<name>` or
 * `<data-dir>/<name>`, where the reference expects its released models.
 */
export async function findInitialModel(
  initFrom: string | undefined,
  hparams: PretrainingHparams,
): Promise<Pick<InitialModel, "path" | "continues"> | undefined> {
  if (initFrom !== undefined) return { path: initFrom, continues: false };
  for (const folder of [hparams.model_dir, join(hparams.data_dir, hparams.model_name)]) {
    // The checkpoint itself, not the folder: the run's own checkpoints come to lie beside it.
    const bundle = await findTensorBundle(folder);
    if (bundle !== undefined) return { path: bundle, continues: true };
  }
  return undefined;
}

/**
 * Takes what an initial model's weights tell of its shape into the hyper-parameters; what a person gives wins, and a
 * contradiction is found when the weights are loaded.
 */
export async function withInitialModel(
  options: ResolvePretrainingOptions,
  found: Pick<InitialModel, "path" | "continues">,
): Promise<{ readonly options: ResolvePretrainingOptions; readonly initial: InitialModel }> {
  const weights = await readModelWeights(found.path);
  try {
    const given = options.hparams ?? {};
    const derived = shapeHparams(weights, options);
    const overrides = {
      ...derived.model_hparam_overrides,
      ...(given["model_hparam_overrides"] as object | undefined),
    };
    const vocabFile = join(
      weights.folderOf(weights.configs.discriminator === undefined ? "generator" : "discriminator"),
      "vocab.txt",
    );
    const vocabulary = await exists(vocabFile);
    const first = resolvePretrainingHparams(options).hparams;
    return {
      initial: { ...found, step: weights.step, vocabFile: vocabulary ? vocabFile : undefined },
      options: {
        ...options,
        hparams: {
          ...(found.continues ? {} : { learning_rate: GENTLE_LEARNING_RATE }),
          ...(vocabulary && !(await exists(first.vocab_file)) ? { vocab_file: vocabFile } : {}),
          ...derived,
          ...given,
          ...(Object.keys(overrides).length === 0 ? {} : { model_hparam_overrides: overrides }),
        },
      },
    };
  } finally {
    await weights.close();
  }
}

/** Warns when records were made with another vocabulary than the weights. */
export async function sameVocabulary(initial: InitialModel, vocabText: string): Promise<boolean> {
  if (initial.vocabFile === undefined) return true;
  const lines = (text: string): string => text.replaceAll("\r\n", "\n").trimEnd();
  return lines(await readFile(initial.vocabFile, "utf8")) === lines(vocabText);
}

const SIZES: Readonly<Record<number, PretrainingHparams["model_size"]>> = { 768: "base", 1024: "large" };

/** Fields of the discriminator that `model_hparam_overrides` can say. */
const FIELDS = [
  "hidden_size",
  "num_hidden_layers",
  "num_attention_heads",
  "intermediate_size",
  "hidden_act",
  "max_position_embeddings",
  "type_vocab_size",
] as const;

/** The hyper-parameters, other than the usual ones, that describe the weights' shapes. */
function shapeHparams(
  weights: ModelWeights,
  options: ResolvePretrainingOptions,
): Record<string, unknown> & { readonly model_hparam_overrides?: object } {
  const { discriminator, generator } = weights.configs;
  const main = discriminator ?? generator;
  if (main === undefined) {
    throw new ElectraError("ERR_ELECTRA_MODEL_FORMAT", `${weights.model.path} holds no pre-trained network`, {
      hint: "Give a pre-trained model: a run, a checkpoint, a Hugging Face folder or a TensorFlow checkpoint.",
      exitCode: 2,
    });
  }
  const size = { model_size: SIZES[main.hidden_size] ?? "small" };
  const usual = resolvePretrainingHparams({
    ...options,
    hparams: { ...size, ...withoutShapes(options.hparams) },
  }).hparams;
  const config = discriminatorConfig({ ...usual, embedding_size: main.embedding_size });
  const overrides = Object.fromEntries(
    FIELDS.filter((field) => main[field] !== config[field]).map((field) => [field, main[field]]),
  );
  return {
    ...size,
    ...(config.embedding_size !== discriminatorConfig(usual).embedding_size
      ? { embedding_size: main.embedding_size }
      : {}),
    ...(Object.keys(overrides).length > 0 ? { model_hparam_overrides: overrides } : {}),
    ...(discriminator !== undefined && generator !== undefined
      ? generatorHparams(discriminator, generator, usual, weights)
      : {}),
  };
}

/** Shapes that a person gave are compared with the weights', not taken as the usual ones. */
function withoutShapes(given: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const { model_hparam_overrides, embedding_size, generator_hidden_size, generator_layers, ...rest } = given;
  return rest;
}

function generatorHparams(
  discriminator: TransformerConfig,
  generator: TransformerConfig & { readonly model_type: string },
  usual: PretrainingHparams,
  weights: ModelWeights,
): Record<string, unknown> {
  const kind = generatorKind(usual);
  if (kind !== "masked" && kind !== "two_towers") return {};
  const towers = generator.model_type === TWO_TOWER_MODEL_TYPE;
  if (towers !== (kind === "two_towers")) {
    throw new ElectraError(
      "ERR_ELECTRA_CHECKPOINT_MISMATCH",
      `${weights.model.path} has ${towers ? "a generator of two towers" : "a masked-LM generator"}, this run ${towers ? "a masked-LM one" : "two towers"}`,
      { hint: `Set electric_objective or two_tower_generator to ${towers}.`, exitCode: 2 },
    );
  }
  const fractions = {
    generator_hidden_size: generator.hidden_size / discriminator.hidden_size,
    generator_layers: generator.num_hidden_layers / discriminator.num_hidden_layers,
  };
  const scope = towers ? "generator_ltr" : "generator";
  const untied = weights.tensors.has(`${scope}/embeddings/word_embeddings`);
  const derived = generatorConfig({
    ...usual,
    ...fractions,
    untied_generator_embeddings: untied,
    embedding_size: discriminator.embedding_size,
    model_hparam_overrides: {
      ...usual.model_hparam_overrides,
      hidden_size: discriminator.hidden_size,
      num_hidden_layers: discriminator.num_hidden_layers,
    },
  });
  for (const field of ["num_attention_heads", "intermediate_size"] as const) {
    if (derived[field] === generator[field]) continue;
    throw new ElectraError(
      "ERR_ELECTRA_CONFIG_MISMATCH",
      `the generator of ${weights.model.path} has ${field} ${generator[field]}; one of width ${generator.hidden_size} is trained with ${derived[field]} here`,
      {
        hint: "A generator has one head for 64 columns and a feed-forward layer four times as wide.",
        exitCode: 2,
      },
    );
  }
  const differing = Object.entries(fractions).filter(
    ([name, value]) => value !== usual[name as keyof typeof fractions],
  );
  return {
    ...Object.fromEntries(differing),
    ...(untied === usual.untied_generator_embeddings ? {} : { untied_generator_embeddings: untied }),
  };
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
