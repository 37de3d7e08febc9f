import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CheckpointTokenizer } from "../checkpoint/hf-tokenizer.js";
import { readManifest } from "../data/dataset-manifest.js";
import { RecordDataset, type RecordView } from "../data/record-dataset.js";
import { splitRecords } from "../data/record-split.js";
import type { PretrainingModelConfig } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { type PretrainingObjective, pretrainingObjective } from "../hparams/generator-kind.js";
import {
  type PretrainingHparams,
  type ResolvePretrainingOptions,
  resolvePretrainingHparams,
} from "../hparams/pretraining-hparams.js";
import type { HparamWarning } from "../hparams/pretraining-warnings.js";
import type { TransformerConfig } from "../hparams/transformer-config.js";
import { withVocabularySize } from "../hparams/vocabulary-size.js";
import { Vocabulary } from "../tokenization/vocabulary.js";
import { findInitialModel, type InitialModel, sameVocabulary, withInitialModel } from "./initial-model.js";
import { type MaskingIds, pretrainingModelConfig } from "./model-config.js";

/** Settings of a run and, if it does not begin with random weights, the model that it begins with. */
export interface SetUpPretrainingOptions extends ResolvePretrainingOptions {
  /**
   * Run, checkpoint, Hugging Face folder or TensorFlow checkpoint whose weights a new run begins with. A TensorFlow
   * checkpoint in the run's own folder is continued without being named.
   */
  readonly initFrom?: string;
}

/** A run with everything looked up, before an engine exists. */
export interface PretrainingSetup {
  readonly hparams: PretrainingHparams;
  readonly objective: PretrainingObjective;
  readonly vocabulary: Vocabulary;
  readonly ids: MaskingIds;
  readonly tokenizer: CheckpointTokenizer;
  readonly model: PretrainingModelConfig;
  /** Configurations of a checkpoint's halves. */
  readonly configs: Partial<Readonly<Record<"discriminator" | "generator", TransformerConfig>>>;
  readonly warnings: readonly HparamWarning[];
  /** The model that the run begins with, if it was made elsewhere. */
  readonly initial: InitialModel | undefined;
}

/**
 * Resolves hyper-parameters, reads the vocabulary and learns from the records' folder how their text was tokenized.
 *
 * @throws ElectraError for wrong hyper-parameters, a missing vocabulary file, one without `[CLS]`, `[SEP]` or `[MASK]`
 */
export async function setUpPretraining(options: SetUpPretrainingOptions): Promise<PretrainingSetup> {
  const { initFrom, ...asked } = options;
  const found = await findInitialModel(initFrom, resolvePretrainingHparams(asked).hparams);
  const { initial, options: settings } =
    found === undefined ? { initial: undefined, options: asked } : await withInitialModel(asked, found);
  const first = resolvePretrainingHparams(settings);
  const vocabText = await readVocabulary(first.hparams.vocab_file);
  const vocabulary = Vocabulary.parse(vocabText, { source: first.hparams.vocab_file });
  const special = vocabulary.require(["[CLS]", "[SEP]", "[MASK]"] as const);
  const { hparams, warnings } = withVocabularySize(first, vocabulary.size);
  const other = initial !== undefined && !(await sameVocabulary(initial, vocabText));
  const ids: MaskingIds = { cls: special[0], sep: special[1], mask: special[2] };
  const objective = pretrainingObjective(hparams);
  const model = pretrainingModelConfig(hparams, ids);
  const { discriminator, generator } = model;
  // Where the generator shares the discriminator's encoder, a checkpoint holds that encoder twice.
  const generatorShape = model.generator_kind === "uniform" ? undefined : (generator ?? discriminator);
  return {
    hparams,
    objective,
    vocabulary,
    ids,
    tokenizer: { vocabText, ...(await tokenizerSettings(hparams)) },
    model,
    configs: {
      ...(objective === "mlm" ? {} : { discriminator }),
      ...(generatorShape === undefined ? {} : { generator: generatorShape }),
    },
    warnings: other ? [...warnings, otherVocabulary(hparams.vocab_file, initial)] : warnings,
    initial,
  };
}

function otherVocabulary(vocabFile: string, { path, vocabFile: own }: InitialModel): HparamWarning {
  return {
    code: "other_vocabulary",
    message: `${vocabFile} is not the vocabulary of ${path}, which has ${own}: rows of tokens that are in both are kept, the others are new.`,
    hint: `The records have to be built with ${vocabFile}.`,
  };
}

async function readVocabulary(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new ElectraError(
      "ERR_ELECTRA_FILE",
      `cannot read the vocabulary ${path}: ${(error as Error).message}`,
      {
        hint: "Make one with `npx electra-native build-vocab`, or name it with the hparam vocab_file.",
        exitCode: 2,
        cause: error,
      },
    );
  }
}

/** Records know how they were made; without that, `do_lower_case` decides as the reference's builder would. */
async function tokenizerSettings(
  hparams: PretrainingHparams,
): Promise<{ doLowerCase: boolean; stripAccents: boolean }> {
  const folder = dirname(hparams.pretrain_tfrecords.split(",")[0] ?? "");
  const settings = (await readManifest(folder).catch(() => undefined))?.settings ?? {};
  const flag = (name: string, otherwise: boolean): boolean =>
    typeof settings[name] === "boolean" ? settings[name] : otherwise;
  return {
    doLowerCase: flag("lowerCase", hparams.do_lower_case),
    stripAccents: flag("stripAccents", true),
  };
}

/** The records to train on and those held out, if any. */
export interface PretrainingData {
  readonly train: RecordView;
  readonly heldOut: RecordView | undefined;
  close(): void;
}

export async function openPretrainingData(hparams: PretrainingHparams): Promise<PretrainingData> {
  const open = (patterns: string) =>
    RecordDataset.open({
      patterns,
      maxSeqLength: hparams.max_seq_length,
      vocabSize: hparams.vocab_size,
      typeVocabSize: hparams.model_hparam_overrides.type_vocab_size ?? 2,
    });
  const dataset = await open(hparams.pretrain_tfrecords);
  try {
    const heldOutPatterns =
      hparams.heldout_tfrecords ??
      (hparams.heldout_fraction > 0 ? undefined : await builtHeldOut(hparams.pretrain_tfrecords));
    if (heldOutPatterns !== undefined) {
      const heldOut = await open(heldOutPatterns);
      return {
        train: dataset,
        heldOut,
        close: () => {
          dataset.close();
          heldOut.close();
        },
      };
    }
    if (hparams.heldout_fraction > 0) {
      const split = splitRecords(dataset, hparams.heldout_fraction);
      return { train: split.train, heldOut: split.heldOut, close: () => dataset.close() };
    }
    return { train: dataset, heldOut: undefined, close: () => dataset.close() };
  } catch (error) {
    dataset.close();
    throw error;
  }
}

/** Whole documents that `build-dataset` held out lie beside the training records. */
async function builtHeldOut(patterns: string): Promise<string | undefined> {
  const folder = dirname(patterns.split(",")[0] ?? "");
  const manifest = await readManifest(folder).catch(() => undefined);
  return manifest?.heldOutFingerprint === undefined ? undefined : join(folder, "heldout_data.tfrecord*");
}
