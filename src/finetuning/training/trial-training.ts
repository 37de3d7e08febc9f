import type { Fingerprints, JsonValue } from "../../checkpoint/training-state.js";
import type { FinetuningTrainStepResult } from "../../engine/finetuning-types.js";
import { ElectraError } from "../../errors.js";
import { learningRateAt } from "../../hparams/learning-rate.js";
import type { EventSink } from "../../telemetry/event-sink.js";
import type { FeatureStore } from "../cache/feature-store.js";
import type { FinetuningSetup } from "./finetuning-setup.js";
import { type SavedTrial, saveTrial, type TrialEngine } from "./save-trial.js";
import { type TrainingBatch, trainingBatches } from "./training-batches.js";

export interface TrainTrialOptions {
  readonly engine: TrialEngine;
  readonly setup: FinetuningSetup;
  readonly store: FeatureStore;
  /** Rows of the training data without padding rows. */
  readonly rows: number;
  readonly trial: number;
  /** Of the trial. */
  readonly seed: number;
  /** Steps in all. */
  readonly steps: number;
  /** Steps done before. */
  readonly step: number;
  readonly fingerprints: Fingerprints;
  readonly sink: EventSink;
  readonly signal?: AbortSignal | undefined;
}

export interface TrainedTrial {
  readonly step: number;
  /** Undefined if it was stopped before its first step. */
  readonly checkpoint: string | undefined;
  readonly seconds: number;
  readonly examplesPerSecond: number | undefined;
}

/** Steps under way at once: while the engine works on one, the next is ready, and nothing waits for its numbers. */
const QUEUE_DEPTH = 2;

/** Trains from the given step to the last one or to the signal, and writes a checkpoint there. */
export async function trainTrial(options: TrainTrialOptions): Promise<TrainedTrial> {
  return await new TrialTraining(options).run();
}

class TrialTraining {
  readonly #options: TrainTrialOptions;
  readonly #batches: AsyncGenerator<TrainingBatch, never, undefined>;
  readonly #underWay: { promise: Promise<FinetuningTrainStepResult>; batch: TrainingBatch }[] = [];
  readonly #started = performance.now();
  #step: number;
  #saved: SavedTrial | undefined;
  #tokens = 0;
  #examples = 0;
  #lastReport = performance.now();
  #dataWait = 0;
  /** Seconds of checkpoints, which are no part of the training speed. */
  #pause = 0;

  constructor(options: TrainTrialOptions) {
    const { setup, store, rows, trial, step } = options;
    const { hparams, model } = setup;
    this.#options = options;
    this.#step = step;
    this.#batches = trainingBatches({
      store,
      rows,
      batchSize: hparams.train_batch_size,
      heads: model.tasks.map(({ head }) => head),
      seed: hparams.seed,
      trial,
      reshuffle: hparams.reshuffle_each_epoch,
      skip: step,
    });
  }

  async run(): Promise<TrainedTrial> {
    const { setup, steps, signal, step: first } = this.#options;
    try {
      while (this.#step < steps && signal?.aborted !== true) {
        await this.#enqueue();
        if (this.#step === steps || this.#step % setup.hparams.save_checkpoints_steps === 0) {
          await this.#drain();
          await this.#save();
        }
      }
      await this.#drain();
      const interrupted = this.#step < steps;
      if (interrupted && this.#step > first && this.#saved?.step !== this.#step) await this.#save();
      this.#done(interrupted ? "interrupted" : "finished");
    } catch (error) {
      this.#done("failed", (error as Error).message);
      throw error;
    } finally {
      await Promise.allSettled(this.#underWay.map(({ promise }) => promise));
    }
    const seconds = (performance.now() - this.#started) / 1000;
    const training = seconds - this.#pause;
    return {
      step: this.#step,
      checkpoint: this.#saved?.path,
      seconds,
      examplesPerSecond: training > 0 && this.#examples > 0 ? this.#examples / training : undefined,
    };
  }

  /** Hands the next step to the engine, and takes the numbers of an older one when two are under way. */
  async #enqueue(): Promise<void> {
    const { engine, setup, seed, steps } = this.#options;
    const { hparams } = setup;
    const waiting = performance.now();
    const batch = (await this.#batches.next()).value;
    this.#dataWait += (performance.now() - waiting) / 1000;
    const promise = engine.trainStep(batch.batch, {
      step: this.#step,
      seed,
      learningRate: learningRateAt(
        {
          learningRate: hparams.learning_rate,
          numTrainSteps: steps,
          numWarmupSteps: 0,
          warmupProportion: hparams.warmup_proportion,
        },
        this.#step,
      ),
    });
    // Its failure is met when it is taken from the queue; until then it must not count as unhandled.
    promise.catch(() => undefined);
    this.#underWay.push({ promise, batch });
    this.#step += 1;
    if (this.#underWay.length >= QUEUE_DEPTH) await this.#takeOne();
  }

  async #drain(): Promise<void> {
    while (this.#underWay.length > 0) await this.#takeOne();
  }

  async #takeOne(): Promise<void> {
    const first = this.#underWay[0];
    if (first === undefined) return;
    let result: FinetuningTrainStepResult;
    try {
      result = await first.promise;
    } catch (error) {
      throw withRows(error, first.batch, this.#options.setup);
    }
    this.#underWay.shift();
    this.#tokens += result.tokens;
    this.#examples += first.batch.rows.length;
    this.#report(result);
  }

  #report(result: FinetuningTrainStepResult): void {
    const { sink, steps, step: firstStep, setup } = this.#options;
    const now = performance.now();
    const seconds = (now - this.#lastReport) / 1000;
    const done = result.step + 1;
    const elapsed = (now - this.#started) / 1000;
    const perStep = (elapsed - this.#pause) / (done - firstStep);
    sink.emit({
      type: "step",
      time: Date.now() / 1000,
      step: done,
      total_steps: steps,
      loss: result.loss,
      metrics: { ...meanLosses(result, setup), grad_norm: result.gradientNorm },
      learning_rate: result.learningRate,
      tokens_per_s: seconds > 0 ? result.tokens / seconds : 0,
      elapsed_s: elapsed,
      eta_s: perStep * (steps - done),
      data_wait_s: this.#dataWait,
    });
    this.#lastReport = now;
    this.#dataWait = 0;
  }

  async #save(): Promise<void> {
    const { engine, setup, trial, seed, steps, sink, fingerprints } = this.#options;
    const before = performance.now();
    const cursor: JsonValue = this.#step * setup.hparams.train_batch_size;
    const moments = this.#step < steps;
    this.#saved = await saveTrial({
      engine,
      setup,
      trial,
      seed,
      step: this.#step,
      cursor,
      fingerprints,
      moments,
      results: null,
      sink,
    });
    this.#pause += (performance.now() - before) / 1000;
    this.#lastReport = performance.now();
  }

  #done(reason: "finished" | "interrupted" | "failed", message?: string): void {
    const seconds = (performance.now() - this.#started) / 1000;
    const training = seconds - this.#pause;
    this.#options.sink.emit({
      type: "done",
      time: Date.now() / 1000,
      step: this.#step - this.#underWay.length,
      reason,
      seconds,
      ...(training > 0 ? { tokens_per_s: this.#tokens / training } : {}),
      ...(message === undefined ? {} : { message }),
    });
  }
}

/** Mean losses over the rows of the batch: of all, and of each task where there are several. */
function meanLosses(result: FinetuningTrainStepResult, { heads }: FinetuningSetup): Record<string, number> {
  const { loss, taskLosses, taskRows } = result;
  const rows = taskRows.reduce((sum, count) => sum + count, 0);
  const tasks = heads.flatMap(({ name }, i): [string, number][] =>
    heads.length > 1 && taskRows[i]! > 0 ? [[`${name}_loss`, taskLosses[i]! / taskRows[i]!]] : [],
  );
  return { mean_loss: rows > 0 ? loss / rows : 0, ...Object.fromEntries(tasks) };
}

/** A step that failed on its numbers is worth the names of the examples that it saw. */
function withRows(error: unknown, { rows }: TrainingBatch, { heads }: FinetuningSetup): unknown {
  if (!(error instanceof ElectraError) || error.code !== "ERR_ELECTRA_NOT_FINITE") return error;
  const places = rows.slice(0, 3).map(({ taskId, eid }) => `${heads[taskId]?.name} ${eid}`);
  const more = rows.length > places.length ? `, and ${rows.length - places.length} more` : "";
  return new ElectraError(
    "ERR_ELECTRA_NOT_FINITE",
    `${error.message}; its batch held the examples ${places.join(", ")}${more}`,
    {
      hint:
        error.hint ?? "The last checkpoint is good. Lower learning_rate, then begin anew with --overwrite.",
      cause: error,
    },
  );
}
