import type { HfConfig } from "../checkpoint/hf-config.js";
import type { PretrainingHalf } from "../checkpoint/hf-layout.js";
import type { VariableOrigin } from "../checkpoint/load-variables.js";
import type { JsonValue } from "../checkpoint/training-state.js";
import type { Engine } from "../engine/engine.js";
import type { BackendSettings } from "../engine/types.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";

/** Options common to everything that runs a trained model. */
export interface OpenModelOptions extends BackendSettings {
  /** The model's vocabulary, where it does not lie beside its weights as `vocab.txt`. */
  readonly vocabFile?: string;
  readonly signal?: AbortSignal;
}

export interface OpenHalfOptions extends OpenModelOptions {
  /**
   * Positions of a text whose logits a generator can be asked for at once. They come back in arrays of so many slots a row,
   * a vocabulary wide each, whether used or not. Default: as many as the model reads tokens.
   */
  readonly slots?: number;
}

/** Ids of the special tokens. */
export interface SpecialIds {
  readonly unknown: number;
  readonly cls: number;
  readonly sep: number;
  readonly mask: number;
}

/** What a {@link PretrainedModel} is made of. */
export type PretrainedParts = Omit<PretrainedModel, "dispose" | typeof Symbol.asyncDispose>;

/**
 * One half of a pre-trained model in an engine, with the tokenizer it was trained with. Only the half that is needed is
 * loaded, so a Hugging Face folder with that half alone is enough. Dispose it when done.
 */
export class PretrainedModel {
  readonly half: PretrainingHalf;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly config: HfConfig;
  readonly special: SpecialIds;
  /** Folder that the weights come from. */
  readonly folder: string;
  /** What became of every tensor of the files. */
  readonly origins: readonly VariableOrigin[];
  /** Step of the checkpoint, where it is one of ours. */
  readonly step: number | undefined;
  /** Resolved hyper-parameters of the training run, where the folder is of a checkpoint that says them. */
  readonly hparams: Readonly<Record<string, JsonValue>> | undefined;
  /** Tokens that the model reads at once, [CLS] and [SEP] included: the length it was trained with, if that is known. */
  readonly maxLength: number;

  private constructor(parts: PretrainedParts) {
    this.half = parts.half;
    this.engine = parts.engine;
    this.tokenizer = parts.tokenizer;
    this.config = parts.config;
    this.special = parts.special;
    this.folder = parts.folder;
    this.origins = parts.origins;
    this.step = parts.step;
    this.hparams = parts.hparams;
    this.maxLength = parts.maxLength;
  }

  /**
   * Opens a run folder (`models/<name>`, its newest complete checkpoint), a checkpoint, a Hugging Face folder with
   * `config.json` and weights, or a TensorFlow checkpoint of the reference; `vocab.txt` lies beside the weights.
   *
   * @throws ElectraError `ERR_ELECTRA_NO_MODEL`, `ERR_ELECTRA_MODEL_HALF` when the half is not there,
   *   `ERR_ELECTRA_MODEL_FORMAT`, `ERR_ELECTRA_VOCABULARY_…`, `ERR_ELECTRA_CHECKPOINT_MISMATCH`
   */
  static async open(
    path: string,
    half: PretrainingHalf,
    options: OpenHalfOptions = {},
  ): Promise<PretrainedModel> {
    // Reading files takes much more code than using the model: it is loaded with the first one.
    const { openPretrained } = await import("./open-pretrained-model.js");
    return new PretrainedModel(await openPretrained(path, half, options));
  }

  async dispose(): Promise<void> {
    await this.engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
