import type { VariableOrigin } from "../../checkpoint/load-variables.js";
import type { JsonValue } from "../../checkpoint/training-state.js";
import type { FinetuningEngineCreateOptions } from "../../engine/finetuning-types.js";
import type { BackendSettings, EngineInfo } from "../../engine/types.js";
import type { EventSink } from "../../telemetry/event-sink.js";
import type { TrialResults } from "../results/trial-results.js";
import type { FinetuningSetup } from "./finetuning-setup.js";
import type { RunFeatures } from "./run-features.js";
import type { TrialEngine } from "./save-trial.js";

/** What all trials of a run share. */
export interface TrialContext {
  readonly setup: FinetuningSetup;
  readonly features: RunFeatures;
  readonly machine: BackendSettings;
  readonly createEngine: (options: FinetuningEngineCreateOptions) => Promise<TrialEngine>;
  /** What the models are trained on, for comparing. */
  readonly data: JsonValue;
  readonly sinks: readonly EventSink[];
  readonly signal?: AbortSignal | undefined;
  readonly onTrial: (start: TrialStart) => void;
  readonly onLine: (line: string) => void;
}

/** What a trial is, before its first step. */
export interface TrialStart {
  readonly trial: number;
  readonly info: EngineInfo;
  readonly parameters: number;
  /** Bytes held natively. */
  readonly memory: number;
  /** Where every variable came from; of a trial that begins. */
  readonly tensors: readonly VariableOrigin[];
  /** Checkpoint that the trial continues. */
  readonly resumedFrom: string | undefined;
  readonly step: number;
  /** Steps in all; undefined where nothing is trained. */
  readonly steps: number | undefined;
}

/** What became of a trial. */
export interface TrialOutcome {
  readonly trial: number;
  /** `kept`: it had been finished before. */
  readonly status: "finished" | "kept" | "interrupted";
  readonly steps: number;
  readonly checkpoint: string | undefined;
  readonly results: TrialResults | undefined;
  /** Files written beside results and model. */
  readonly files: readonly string[];
  /** Rows a second of its training, where it was trained now. */
  readonly trainExamplesPerSecond: number | undefined;
  readonly info: EngineInfo | undefined;
}
