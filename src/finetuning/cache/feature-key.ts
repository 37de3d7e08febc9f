import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { basename, isAbsolute } from "node:path";
import type { JsonValue } from "../../checkpoint/training-state.js";
import { fileFailure } from "../../data/file-failure.js";
import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";
import { hparamsOfTheEvaluation, hparamsOfTheRun } from "../../hparams/hparam-effects.js";
import { packageVersion } from "../../package-root.js";
import type { Tokenizer } from "../../tokenization/tokenizer.js";
import type { Vocabulary } from "../../tokenization/vocabulary.js";
import type { Split, Task } from "../task.js";
import { ROW_FORMAT } from "./row-codec.js";

/**
 * Hparams that no row depends on. All others are part of the key, also those that nobody has thought of: a cache that is
 * made again needlessly costs seconds, one that is used wrongly a result.
 */
const WITHOUT_EFFECT = [
  ...hparamsOfTheRun,
  ...hparamsOfTheEvaluation,
  "model_hparam_overrides",
  "embedding_size",
  "vocab_size",
  "learning_rate",
  "weight_decay_rate",
  "layerwise_lr_decay",
  "num_train_epochs",
  "warmup_proportion",
  "train_batch_size",
  "answerable_classifier",
  "answerable_uses_start_logits",
  "answerable_weight",
  "joint_prediction",
  "beam_size",
  "seed",
  "close_layerwise_gap",
  "reshuffle_each_epoch",
  // The tokenizer's own settings stand in the key; the tasks are its main part.
  "do_lower_case",
  "task_names",
] as const satisfies readonly (keyof FinetuningHparams)[];

/** What the rows of a split of some tasks are made of. Equal keys, equal rows. */
export interface FeatureKey {
  readonly format: number;
  readonly package: string;
  readonly split: string;
  readonly vocabulary: string;
  readonly lowerCase: boolean;
  readonly stripAccents: boolean;
  readonly tasks: readonly JsonValue[];
  readonly hparams: Readonly<Record<string, JsonValue>>;
}

export interface FeatureKeyOptions {
  readonly tasks: readonly Task[];
  /** Place of each among the tasks of the run, which the rows carry. */
  readonly taskIds: readonly number[];
  readonly split: Split;
  readonly tokenizer: Tokenizer;
  readonly hparams: FinetuningHparams;
}

/**
 * The key of a split, or undefined if one of the tasks does not say what it is made of, as a program's own may.
 *
 * @throws ElectraError when a file of the tasks is missing
 */
export async function featureKey(options: FeatureKeyOptions): Promise<FeatureKey | undefined> {
  const { tasks, taskIds, split, tokenizer, hparams } = options;
  if (tasks.some(({ origin }) => origin === undefined)) return undefined;
  const ignored = new Set<string>(WITHOUT_EFFECT);
  const { vocabulary, basic } = tokenizer;
  return {
    format: ROW_FORMAT,
    package: packageVersion(),
    split,
    vocabulary: vocabularyHash(vocabulary),
    lowerCase: basic.lowerCase,
    stripAccents: basic.stripAccents,
    tasks: await Promise.all(
      tasks.map(async (task, i) => {
        const { files, description } = await task.origin!(split);
        const head = await task.head();
        return {
          name: task.name,
          id: taskIds[i]!,
          // Targets are their numbers.
          labels: "labels" in head ? head.labels : null,
          description: withoutFolders(description),
          files: await Promise.all(files.map(fingerprintOf)),
        };
      }),
    ),
    hparams: Object.fromEntries(
      Object.entries(hparams)
        .filter(([name]) => !ignored.has(name))
        .map(([name, value]) => [name, value as JsonValue]),
    ),
  };
}

function vocabularyHash({ tokens }: Vocabulary): string {
  return createHash("sha256").update(tokens.join("\n")).digest("hex").slice(0, 16);
}

/** Files count by their content, so that a folder can be moved. */
function withoutFolders(description: JsonValue): JsonValue {
  const text = JSON.stringify(description, (_, value: unknown) =>
    typeof value === "string" && isAbsolute(value) ? basename(value) : value,
  );
  return JSON.parse(text) as JsonValue;
}

/** A short name of a key, for a file's name. */
export function keyName(key: FeatureKey): string {
  return createHash("sha256").update(JSON.stringify(key)).digest("hex").slice(0, 16);
}

/** By content: a copy of a folder is the same data, whatever its times say. */
async function fingerprintOf(path: string): Promise<JsonValue> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) {
      hash.update(piece as Buffer);
      bytes += (piece as Buffer).length;
    }
  } catch (error) {
    throw fileFailure(error, "cannot read", path);
  }
  return { name: basename(path), bytes, sha256: hash.digest("hex").slice(0, 32) };
}
