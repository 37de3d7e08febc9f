import type { HfConfig } from "../../checkpoint/hf-config.js";
import { ElectraError } from "../../errors.js";
import { type ResolveFinetuningOptions, resolveFinetuningHparams } from "../../hparams/finetuning-hparams.js";
import type { TransformerConfig } from "../../hparams/transformer-config.js";
import { Vocabulary } from "../../tokenization/vocabulary.js";
import type { FinetuningSetup } from "./finetuning-setup.js";
import type { InitialModel } from "./initial-model.js";

/** What may differ from the model that training begins with: none of it is in the weights. */
const FREE: readonly string[] = ["hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"];

/**
 * The settings of a run that begins with a model: shape, vocabulary and casing are the model's, and what a person gave
 * beside must say the same. The size, on which defaults depend, follows from the width.
 *
 * @param vocabText of a vocabulary that a person named
 * @throws ElectraError `ERR_ELECTRA_CONFIG_MISMATCH`, exit code 2, for what contradicts the model
 */
export function fitToModel(
  request: ResolveFinetuningOptions,
  initial: InitialModel,
  vocabText: string | undefined,
): Pick<FinetuningSetup, "hparams" | "encoder" | "tokenizer" | "vocabText" | "warnings"> {
  const { config, tokenizer } = initial;
  const given = request.hparams ?? {};
  const { hparams } = resolveFinetuningHparams({
    ...request,
    hparams: { model_size: sizeOf(config), ...given },
  });
  const { model_type, architectures, layer_norm_eps, pad_token_id, ...shape } = config;
  const overrides = Object.entries(hparams.model_hparam_overrides).filter(([, value]) => value !== undefined);
  const asked = [
    ...overrides.filter(([name]) => !FREE.includes(name)),
    ...["vocab_size", "embedding_size"]
      .filter((name) => (given[name] ?? null) !== null)
      .map((name) => [name, given[name]] as const),
  ];
  for (const [name, value] of asked) {
    const own = shape[name as keyof typeof shape];
    if (own !== undefined && own !== value) throw mismatch(name, value, own, initial);
  }
  if (given["model_size"] !== undefined && given["model_size"] !== sizeOf(config) && isPublished(config)) {
    throw mismatch("model_size", given["model_size"], sizeOf(config), initial);
  }
  const { lowerCase } = tokenizer.basic;
  if (given["do_lower_case"] !== undefined && hparams.do_lower_case !== lowerCase) {
    throw mismatch("do_lower_case", hparams.do_lower_case, lowerCase, initial);
  }
  if (vocabText !== undefined) checkVocabulary(vocabText, hparams.vocab_file, initial);
  const free = Object.fromEntries(overrides.filter(([name]) => FREE.includes(name)));
  return {
    hparams: Object.freeze({
      ...hparams,
      vocab_file: tokenizer.vocabulary.source,
      vocab_size: config.vocab_size,
      embedding_size: config.embedding_size,
      do_lower_case: lowerCase,
    }),
    encoder: Object.freeze({ ...shape, ...free }) as TransformerConfig,
    tokenizer,
    vocabText: initial.vocabText,
    warnings: lengthWarnings(hparams.max_seq_length, initial),
  };
}

function sizeOf({ hidden_size: width }: HfConfig): "small" | "base" | "large" {
  if (width >= 1024) return "large";
  return width >= 768 ? "base" : "small";
}

/** Of other shapes the size is only a name for defaults. */
function isPublished({ hidden_size, num_hidden_layers }: HfConfig): boolean {
  return ["256x12", "768x12", "1024x24"].includes(`${hidden_size}x${num_hidden_layers}`);
}

function mismatch(name: string, asked: unknown, own: unknown, { folder }: InitialModel): ElectraError {
  return new ElectraError(
    "ERR_ELECTRA_CONFIG_MISMATCH",
    `${name} is ${JSON.stringify(asked)}, but the model in ${folder} has ${JSON.stringify(own)}.`,
    {
      hint: `Leave ${name} out: it follows from the model. Or name another model with init_checkpoint.`,
      exitCode: 2,
    },
  );
}

function checkVocabulary(text: string, path: string, { tokenizer, folder }: InitialModel): void {
  const given = Vocabulary.parse(text, { source: path }).tokens;
  const own = tokenizer.vocabulary.tokens;
  const first = own.findIndex((token, id) => given[id] !== token);
  if (first < 0 && given.length === own.length) return;
  const id = first < 0 ? own.length : first;
  throw new ElectraError(
    "ERR_ELECTRA_CONFIG_MISMATCH",
    `${path} is not the vocabulary of the model in ${folder}: token ${id} is ${JSON.stringify(given[id] ?? null)}, not ${JSON.stringify(own[id] ?? null)}.`,
    { hint: "Leave vocab_file out: the model's own is used.", exitCode: 2 },
  );
}

function lengthWarnings(length: number, { trainedLength, path }: InitialModel): FinetuningSetup["warnings"] {
  if (trainedLength === undefined || length <= trainedLength) return [];
  return [
    {
      code: "untrained_positions",
      message: `max_seq_length ${length} is longer than the ${trainedLength} tokens that ${path} was trained on: positions behind that are as good as random`,
      hint: `Set max_seq_length to ${trainedLength}, or pre-train on longer rows.`,
    },
  ];
}
