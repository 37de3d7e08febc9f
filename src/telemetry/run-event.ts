/**
 * What a run tells while it goes on. The same objects go to the terminal, to `events.jsonl` (one a line, these
 * very names) and to TensorBoard. `time` is seconds since 1970; a `step` is the number of updates done.
 */
export type RunEvent = StepEvent | EvalEvent | CheckpointEvent | WarningEvent | DoneEvent;

/** One update of the weights (or the last of a few, where the run reports every n-th). */
export interface StepEvent {
  readonly type: "step";
  readonly time: number;
  readonly step: number;
  readonly total_steps: number;
  /** Weighted sum that the gradients are of. */
  readonly loss: number;
  /** Parts and live metrics by name: `masked_lm_loss`, `disc_loss`, `disc_accuracy`, `grad_norm`, … */
  readonly metrics: Readonly<Record<string, number>>;
  readonly learning_rate: number;
  /** Real tokens (padding not counted) a second since the last report. */
  readonly tokens_per_s: number;
  /** Seconds of this run so far, and to its end at the present pace. */
  readonly elapsed_s: number;
  readonly eta_s: number;
  /** Seconds since the last report in which the step waited for data. */
  readonly data_wait_s?: number;
}

export interface EvalEvent {
  readonly type: "eval";
  readonly time: number;
  readonly step: number;
  /** What was evaluated: "held_out", "train", … */
  readonly split: string;
  readonly metrics: Readonly<Record<string, number>>;
  readonly seconds: number;
}

export interface CheckpointEvent {
  readonly type: "checkpoint";
  readonly time: number;
  readonly step: number;
  readonly path: string;
  readonly bytes: number;
  readonly seconds: number;
}

export interface WarningEvent {
  readonly type: "warning";
  readonly time: number;
  /** Absent for what concerns the run as a whole. */
  readonly step?: number;
  readonly code: string;
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}

export interface DoneEvent {
  readonly type: "done";
  readonly time: number;
  readonly step: number;
  readonly reason: "finished" | "interrupted" | "failed";
  readonly seconds: number;
  /** Mean over the whole run. */
  readonly tokens_per_s?: number;
  /** Of all steps together. */
  readonly data_wait_s?: number;
  readonly message?: string;
}
