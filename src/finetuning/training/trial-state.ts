import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DurableFiles } from "../../checkpoint/durable-files.js";
import type { JsonValue } from "../../checkpoint/training-state.js";
import { ElectraError } from "../../errors.js";
import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";
import { hparamsOfTheEvaluation, hparamsOfTheRun } from "../../hparams/hparam-effects.js";
import type { TrialResults } from "../results/trial-results.js";

/** `trial.json` in the folder of a trial that is done. It stays when the model is deleted. */
export interface TrialState {
  readonly steps: number;
  /** All of them, resolved. */
  readonly hparams: Readonly<Record<string, JsonValue>>;
  /** What the model was trained on. */
  readonly data: JsonValue;
  readonly results: TrialResults;
}

export const TRIAL_FILE = "trial.json";
const FORMAT = "electra-native-trial";

/** The state of a finished trial, or undefined if it is not finished. */
export async function readTrialState(folder: string): Promise<TrialState | undefined> {
  const path = join(folder, TRIAL_FILE);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { format, format_version, ...state } = JSON.parse(text) as TrialState & Record<string, unknown>;
    if (format !== FORMAT || format_version !== 1 || state.results?.tasks === undefined)
      throw new Error("unknown form");
    return state;
  } catch (cause) {
    throw new ElectraError("ERR_ELECTRA_TRIAL", `${path} cannot be read: ${(cause as Error).message}.`, {
      hint: "It was damaged or written by another version. Remove it to evaluate the trial again.",
      cause,
    });
  }
}

/** Replaces the state; it is on the disk when this returns. */
export async function writeTrialState(folder: string, state: TrialState): Promise<void> {
  const files = new DurableFiles();
  const temporary = join(folder, `${TRIAL_FILE}.tmp-${process.pid}`);
  await files.remove(temporary);
  const document = { format: FORMAT, format_version: 1, ...state };
  await files.createTextFile(temporary, `${JSON.stringify(document, null, 2)}\n`);
  await files.rename(temporary, join(folder, TRIAL_FILE));
  await files.syncFolder(folder);
}

/** Hparams that change nothing about a trained model. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([...hparamsOfTheRun, ...hparamsOfTheEvaluation]);

/** How the settings that a model was trained with differ from others: `learning_rate 0.0001 -> 0.0003`. */
export function trainingDifferences(
  saved: Readonly<Record<string, JsonValue>>,
  now: FinetuningHparams,
): readonly string[] {
  return Object.entries(now).flatMap(([name, value]) =>
    WITHOUT_EFFECT.has(name) ? [] : difference(name, saved[name], value as JsonValue),
  );
}

/** Whether a finished trial has been evaluated as is wanted now. */
export function evaluatedAlike(saved: Readonly<Record<string, JsonValue>>, now: FinetuningHparams): boolean {
  return hparamsOfTheEvaluation.every(
    (name) => difference(name, saved[name], now[name] as JsonValue).length === 0,
  );
}

function difference(name: string, saved: JsonValue | undefined, now: JsonValue): readonly string[] {
  const [before, after] = [JSON.stringify(saved ?? null), JSON.stringify(now ?? null)];
  return before === after ? [] : [`${name} ${before} -> ${after}`];
}
