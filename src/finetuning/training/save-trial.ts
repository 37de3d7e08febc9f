import { saveCheckpoint } from "../../checkpoint/checkpoint.js";
import { engineParameterStore } from "../../checkpoint/engine-parameter-store.js";
import { FINETUNING_FILE } from "../../checkpoint/model-folder.js";
import type { Fingerprints, JsonValue } from "../../checkpoint/training-state.js";
import type { FinetuningEngine } from "../../engine/finetuning-engine.js";
import { packageVersion } from "../../package-root.js";
import type { EventSink } from "../../telemetry/event-sink.js";
import { type FinetunedFile, formatFinetunedFile } from "../finetuned-file.js";
import { type FinetuningSetup, trialFolder } from "./finetuning-setup.js";

/** The part of an engine that a trial needs. */
export type TrialEngine = Pick<
  FinetuningEngine,
  "info" | "parameters" | "memory" | "trainStep" | "predict" | "readParameter" | "writeParameter" | "dispose"
>;

export interface SaveTrialOptions {
  readonly engine: TrialEngine;
  readonly setup: FinetuningSetup;
  readonly trial: number;
  readonly seed: number;
  readonly step: number;
  readonly cursor: JsonValue;
  readonly fingerprints: Fingerprints;
  /** Save what continuing the training needs. */
  readonly moments: boolean;
  readonly results: FinetunedFile["results"];
  readonly sink: EventSink;
}

export interface SavedTrial {
  readonly path: string;
  readonly step: number;
}

/** Writes the model of a trial, which replaces the one before, and tells of it. */
export async function saveTrial(options: SaveTrialOptions): Promise<SavedTrial> {
  const { engine, setup, trial, seed, step, cursor, fingerprints, moments, results, sink } = options;
  const { hparams, heads, tokenizer, encoder, vocabText } = setup;
  const { lowerCase, stripAccents } = tokenizer.basic;
  const saved = await saveCheckpoint({
    runDir: trialFolder(hparams, trial),
    step,
    seed,
    cursor,
    hparams: hparams as unknown as Record<string, JsonValue>,
    versions: { "electra-native": packageVersion(), node: process.versions.node },
    fingerprints,
    parameters: engineParameterStore(engine),
    configs: { finetuned: encoder },
    tokenizer: { vocabText, doLowerCase: lowerCase, stripAccents },
    partFiles: {
      finetuned: { [FINETUNING_FILE]: formatFinetunedFile({ tasks: heads, hparams, trial, results }) },
    },
    moments,
    keepCheckpointMax: 1,
  });
  const time = Date.now() / 1000;
  const { path, bytes, seconds } = saved;
  sink.emit({ type: "checkpoint", time, step, path, bytes, seconds });
  for (const message of saved.warnings) {
    sink.emit({ type: "warning", time, step, code: "checkpoint_leftovers", message });
  }
  return { path, step };
}
