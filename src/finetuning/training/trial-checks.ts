import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { VariableOrigin } from "../../checkpoint/load-variables.js";
import { FINETUNING_FILE } from "../../checkpoint/model-folder.js";
import type { JsonValue } from "../../checkpoint/training-state.js";
import { ElectraError } from "../../errors.js";
import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";
import type { FeatureKey } from "../cache/feature-key.js";
import { type FinetunedTask, parseFinetunedFile } from "../finetuned-file.js";
import type { FinetuningSetup } from "./finetuning-setup.js";
import { sameTask } from "./initial-model.js";
import { trainingDifferences } from "./trial-state.js";

/**
 * What models are made of, as trials remember it: the tasks' files by content, the vocabulary and the casing, and the model
 * that training begins with.
 */
export async function trainingData(
  key: FeatureKey | undefined,
  { heads, initial }: Pick<FinetuningSetup, "heads" | "initial">,
): Promise<JsonValue> {
  const model = initial === undefined ? null : await Promise.all(initial.files.map(checkSum));
  if (key === undefined) return { model, tasks: heads.map(({ name }) => name) };
  const { vocabulary, lowerCase, stripAccents, tasks } = key;
  return { model, vocabulary, lowerCase, stripAccents, tasks };
}

async function checkSum(path: string): Promise<JsonValue> {
  let crc = 0;
  let bytes = 0;
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) {
    crc = crc32(piece as Buffer, crc);
    bytes += (piece as Buffer).length;
  }
  return { bytes, crc32: crc };
}

/**
 * A trial is continued, or kept, only as what it is.
 *
 * @throws ElectraError, exit code 2: `ERR_ELECTRA_TRIAL_EXISTS` (other settings), `ERR_ELECTRA_DATA_CHANGED`
 */
export function refuseForeignTrial(
  folder: string,
  saved: { readonly hparams: Readonly<Record<string, JsonValue>>; readonly data: JsonValue },
  now: { readonly hparams: FinetuningHparams; readonly data: JsonValue },
): void {
  const remedy =
    "Choose another model_dir for this run, or begin anew with --overwrite, which deletes the models of these trials.";
  const differences = trainingDifferences(saved.hparams, now.hparams);
  if (differences.length > 0) {
    throw new ElectraError(
      "ERR_ELECTRA_TRIAL_EXISTS",
      `${folder} holds a trial with other settings: ${differences.join("; ")}.`,
      { hint: `Give the settings that it began with to go on. ${remedy}`, exitCode: 2 },
    );
  }
  const modelOf = (data: JsonValue) => JSON.stringify((data as { model?: JsonValue }).model ?? null);
  if (modelOf(saved.data) !== modelOf(now.data)) {
    throw new ElectraError(
      "ERR_ELECTRA_TRIAL_EXISTS",
      `${folder} holds a trial that began with another pre-trained model, or with an older checkpoint of this one.`,
      { hint: `Name that one with init_checkpoint to go on. ${remedy}`, exitCode: 2 },
    );
  }
  if (JSON.stringify(saved.data) !== JSON.stringify(now.data)) {
    throw new ElectraError(
      "ERR_ELECTRA_DATA_CHANGED",
      `${folder} holds a trial that was trained on other data${changedFiles(saved.data, now.data)}.`,
      { hint: `Restore the data to go on. ${remedy}`, exitCode: 2 },
    );
  }
}

/** Names of the files that are not what they were. */
function changedFiles(saved: JsonValue, now: JsonValue): string {
  type Files = readonly { readonly name: string; readonly sha256: string }[];
  const filesOf = (data: JsonValue) =>
    ((data as { tasks?: readonly { files?: Files }[] }).tasks ?? []).flatMap(({ files = [] }) => files);
  const before = new Set(filesOf(saved).map(({ sha256 }) => sha256));
  const changed = filesOf(now).filter(({ sha256 }) => !before.has(sha256));
  return changed.length === 0 ? "" : `: ${changed.map(({ name }) => name).join(", ")} changed`;
}

/**
 * A model that is continued or evaluated must have the heads of the run's tasks.
 *
 * @param folder with `finetuning.json`; undefined: there is no model
 * @throws ElectraError `ERR_ELECTRA_CHECKPOINT_MISMATCH`, `ERR_ELECTRA_NO_MODEL`, exit code 2
 */
export async function requireHeads(
  folder: string | undefined,
  heads: readonly FinetunedTask[],
): Promise<void> {
  const path = folder === undefined ? undefined : join(folder, FINETUNING_FILE);
  const text = path === undefined ? undefined : await readFile(path, "utf8").catch(() => undefined);
  if (path === undefined || text === undefined) {
    throw new ElectraError(
      "ERR_ELECTRA_NO_MODEL",
      `There is no fine-tuned model to evaluate${folder === undefined ? "" : `: ${folder} has no ${FINETUNING_FILE}`}.`,
      { hint: "Train first (do_train true), or name a fine-tuned model with init_checkpoint.", exitCode: 2 },
    );
  }
  const known = parseFinetunedFile(text, path).tasks;
  const same = known.length === heads.length && heads.every((task, i) => sameTask(task, known[i]!));
  if (same) return;
  throw new ElectraError(
    "ERR_ELECTRA_CHECKPOINT_MISMATCH",
    `${folder} was trained for ${known.map(describe).join(", ")}; asked for is ${heads.map(describe).join(", ")}.`,
    { hint: "Give the tasks and labels that the model was trained with.", exitCode: 2 },
  );
}

/**
 * The reference's checkpoints name the variables of their heads, not what they mean: all must be there.
 *
 * @throws ElectraError `ERR_ELECTRA_NO_MODEL`, exit code 2
 */
export function requireAll(origins: readonly VariableOrigin[], path: string): void {
  const missing = origins.find(({ origin }) => origin === "created");
  if (missing === undefined) return;
  throw new ElectraError(
    "ERR_ELECTRA_NO_MODEL",
    `There is no fine-tuned model to evaluate: ${path} has no ${missing.name} of shape [${missing.shape.join(", ")}].`,
    {
      hint: "Train first (do_train true), or name a model of these tasks with init_checkpoint.",
      exitCode: 2,
    },
  );
}

function describe({ name, head }: FinetunedTask): string {
  const labels =
    "labels" in head
      ? ` of ${head.labels.slice(0, 12).join(", ")}${head.labels.length > 12 ? ", …" : ""}`
      : "";
  return `${name} (${head.kind}${labels})`;
}
