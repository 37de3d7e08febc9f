import { dirname } from "node:path";
import { readCompleteCheckpoint } from "../checkpoint/checkpoint-folders.js";
import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import { type HfConfig, TWO_TOWER_MODEL_TYPE } from "../checkpoint/hf-config.js";
import type { PretrainingHalf } from "../checkpoint/hf-layout.js";
import { loadVariables } from "../checkpoint/load-variables.js";
import type { ModelFolder } from "../checkpoint/model-folder.js";
import { type ModelWeights, readModelWeights } from "../checkpoint/model-weights.js";
import type { JsonValue } from "../checkpoint/training-state.js";
import { Engine } from "../engine/engine.js";
import type { PretrainingModelConfig } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";
import { readModelTokenizer } from "./model-tokenizer.js";
import type { OpenHalfOptions, PretrainedParts, SpecialIds } from "./pretrained-model.js";

/** What a half without the other can do, for messages. */
const abilities: Readonly<Record<PretrainingHalf, string>> = {
  discriminator: "tell replaced words",
  generator: "fill in masked words",
};

/** The work of `PretrainedModel.open`, which see. */
export async function openPretrained(
  path: string,
  half: PretrainingHalf,
  options: OpenHalfOptions,
): Promise<PretrainedParts> {
  const weights = await readModelWeights(path);
  try {
    return await openFrom(weights, half, options);
  } finally {
    await weights.close();
  }
}

async function openFrom(
  weights: ModelWeights,
  half: PretrainingHalf,
  options: OpenHalfOptions,
): Promise<PretrainedParts> {
  const { slots: wantedSlots, vocabFile, ...machine } = options;
  const config = halfConfig(weights, half);
  const folder = weights.folderOf(half);
  checkConfig(config, folder, half);
  const tokenizer = await readModelTokenizer(folder, config.vocab_size, vocabFile);
  const special = specialIds(tokenizer);
  const hparams = await trainingHparams(weights.model, folder);
  const trained = trainedLength(hparams);
  const maxLength = Math.min(trained ?? config.max_position_embeddings, config.max_position_embeddings);
  const engine = await Engine.create({
    ...machine,
    model: modelConfig(config, half, special, maxLength, wantedSlots ?? maxLength),
  });
  try {
    const origins = await loadVariables({ weights, parameters: engineParameterStore(engine), part: half });
    const { step } = weights;
    return {
      half,
      engine,
      tokenizer,
      config,
      special,
      folder,
      origins,
      step,
      hparams,
      maxLength,
    };
  } catch (error) {
    await engine.dispose();
    throw error;
  }
}

function halfConfig({ model: found, configs }: ModelWeights, half: PretrainingHalf): HfConfig {
  const config = configs[half];
  if (config !== undefined) return config;
  if (configs.finetuned !== undefined) {
    throw new ElectraError(
      "ERR_ELECTRA_MODEL_HALF",
      `${found.path} is a fine-tuned model: it has the heads of its tasks instead of a ${half}`,
      { hint: "Give the pre-trained model that it was made of.", exitCode: 2 },
    );
  }
  const other: PretrainingHalf = half === "generator" ? "discriminator" : "generator";
  throw new ElectraError(
    "ERR_ELECTRA_MODEL_HALF",
    `${found.path} holds no ${half}, only a ${other}: it can ${abilities[other]}, but not ${abilities[half]}`,
    {
      hint: `Give a run or checkpoint with a ${half}, or the Hugging Face folder of one.`,
      exitCode: 2,
    },
  );
}

function checkConfig(config: HfConfig, folder: string, half: PretrainingHalf): void {
  const refuse = (message: string, hint: string): never => {
    throw new ElectraError("ERR_ELECTRA_MODEL_FORMAT", `${folder}: ${message}`, { hint, exitCode: 2 });
  };
  if (half === "generator" && config.model_type === TWO_TOWER_MODEL_TYPE) {
    refuse(
      "a generator of two towers reads each side of a word apart and has no [MASK] to fill",
      "Give a model with a masked-language-model generator.",
    );
  }
  // The weights mean what they were trained with; another epsilon would give slightly other numbers without a word.
  if (config.layer_norm_eps !== 1e-12) {
    refuse(
      `layer_norm_eps is ${config.layer_norm_eps}, the engine computes with 1e-12`,
      "ELECTRA models have 1e-12.",
    );
  }
}

/** A half given by its own folder may lie in a checkpoint, which says how it was trained. */
async function trainingHparams(
  found: ModelFolder,
  folder: string,
): Promise<Readonly<Record<string, JsonValue>> | undefined> {
  const training =
    found.checkpoint?.training ?? (await readCompleteCheckpoint(dirname(folder)).catch(() => undefined));
  return training?.hparams;
}

/** `max_seq_length` of the training run: positions behind it have a table row, but were never trained. */
function trainedLength(hparams: Readonly<Record<string, JsonValue>> | undefined): number | undefined {
  const length = hparams?.["max_seq_length"];
  return typeof length === "number" && length >= 3 ? length : undefined;
}

function specialIds({ vocabulary }: Tokenizer): SpecialIds {
  const [unknown, cls, sep, mask] = vocabulary.require(["[UNK]", "[CLS]", "[SEP]", "[MASK]"]);
  return { unknown, cls, sep, mask };
}

/** The smallest model of the engine that has this half's variables and no others. */
function modelConfig(
  config: HfConfig,
  half: PretrainingHalf,
  special: SpecialIds,
  maxLength: number,
  slots: number,
): PretrainingModelConfig {
  const { model_type, architectures, layer_norm_eps, pad_token_id, ...shape } = config;
  return {
    ...(half === "generator"
      ? { objective: "mlm", generator_kind: "shared" }
      : { objective: "electra", generator_kind: "uniform" }),
    discriminator: shape,
    mask_prob: 0.15,
    max_seq_length: maxLength,
    max_predictions_per_seq: slots,
    cls_id: special.cls,
    sep_id: special.sep,
    mask_id: special.mask,
  };
}
