import { ElectraError } from "../errors.js";
import type { PretrainingHparams, ResolvedPretraining } from "./pretraining-hparams.js";

/**
 * Takes the number of tokens of the vocabulary file into account: when `vocab_size` was not given it becomes that
 * number; a given one must not be smaller, and rows without a token are worth a warning.
 *
 * @param tokens lines of the vocabulary file
 * @throws ElectraError `ERR_ELECTRA_VOCAB_SIZE`, exit code 2
 */
export function withVocabularySize(resolved: ResolvedPretraining, tokens: number): ResolvedPretraining {
  const { hparams, sources } = resolved;
  const override = hparams.model_hparam_overrides.vocab_size;
  const size = override ?? (sources.vocab_size === "hparams" ? hparams.vocab_size : undefined);
  if (size === undefined) {
    const sized: PretrainingHparams = Object.freeze({ ...hparams, vocab_size: tokens });
    return Object.freeze({
      ...resolved,
      hparams: sized,
      sources: Object.freeze({ ...sources, vocab_size: "derived" as const }),
    });
  }
  const name = override === undefined ? "vocab_size" : "model_hparam_overrides.vocab_size";
  if (size < tokens) {
    throw new ElectraError(
      "ERR_ELECTRA_VOCAB_SIZE",
      `${name} ${size} is smaller than the vocabulary: ${hparams.vocab_file} has ${tokens} tokens.`,
      { hint: `Leave ${name} out, or set it to ${tokens}.`, exitCode: 2 },
    );
  }
  if (size === tokens) return resolved;
  return Object.freeze({
    ...resolved,
    warnings: Object.freeze([
      ...resolved.warnings,
      {
        code: "vocabulary_smaller_than_model",
        message: `${name} ${size} exceeds the ${tokens} tokens of ${hparams.vocab_file}: ${size - tokens} rows of the embedding table stand for no token, yet may be sampled.`,
        hint: `Leave ${name} out to use the size of the file.`,
      },
    ]),
  });
}
