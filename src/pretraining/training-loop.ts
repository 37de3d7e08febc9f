import { saveCheckpoint } from "../checkpoint/checkpoint.js";
import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import type { Fingerprints, JsonValue } from "../checkpoint/training-state.js";
import { BatchLoader, type Batch as LoadedBatch } from "../data/batch-loader.js";
import type { Engine } from "../engine/engine.js";
import type { TrainStepResult } from "../engine/types.js";
import { learningRateAt } from "../hparams/learning-rate.js";
import { packageVersion } from "../package-root.js";
import type { EventSink } from "../telemetry/event-sink.js";
import { namesOfRecords, withRecords } from "./batch-records.js";
import { evaluateRecords, numbers } from "./evaluate.js";
import { GeneratorWarmup } from "./generator-warmup.js";
import { HealthMonitor } from "./health-monitor.js";
import type { PretrainResult } from "./pretrain-result.js";
import type { PretrainingData, PretrainingSetup } from "./pretraining-setup.js";
import { stepMetrics } from "./step-metrics.js";

export interface TrainingLoopOptions {
  readonly engine: Engine;
  readonly setup: PretrainingSetup;
  readonly data: PretrainingData;
  readonly fingerprints: Fingerprints;
  readonly sink: EventSink;
  /** Updates done before. */
  readonly step: number;
  /** Examples consumed before. */
  readonly cursor: number;
  /** Newest checkpoint so far. */
  readonly checkpoint: string | undefined;
  /** First steps in which only the generator learns, if there are any left. */
  readonly generatorWarmup?: GeneratorWarmup;
  readonly signal?: AbortSignal;
}

/** Steps under way at once: while the engine works on one, the next is ready, and nothing waits for its numbers. */
const QUEUE_DEPTH = 2;

/** One call of the loop, from the given step to `num_train_steps` or to the signal. */
export async function runTrainingLoop(options: TrainingLoopOptions): Promise<PretrainResult> {
  return await new TrainingLoop(options).run();
}

class TrainingLoop {
  readonly #options: TrainingLoopOptions;
  readonly #loader: BatchLoader;
  readonly #underWay: { promise: Promise<TrainStepResult>; batch: LoadedBatch }[] = [];
  readonly #started = performance.now();
  #health: HealthMonitor;
  /** Undefined when it is over. */
  #warmup: GeneratorWarmup | undefined;
  #step: number;
  #checkpoint: string | undefined;
  #tokens = 0;
  #metrics: Readonly<Record<string, number>> = {};
  #lastReport = performance.now();
  #dataWait = 0;
  #dataWaitTotal = 0;
  /** Seconds of evaluation and checkpoints, which are no part of the training speed. */
  #pause = 0;

  constructor(options: TrainingLoopOptions) {
    const { hparams } = options.setup;
    this.#options = options;
    this.#step = options.step;
    this.#checkpoint = options.checkpoint;
    this.#warmup = options.generatorWarmup;
    this.#health = this.#watch();
    this.#loader = new BatchLoader({
      source: options.data.train,
      batchSize: hparams.train_batch_size,
      order: { kind: "shuffled", seed: hparams.seed },
      cursor: options.cursor,
    });
  }

  async run(): Promise<PretrainResult> {
    const { setup, signal } = this.#options;
    const total = setup.hparams.num_train_steps;
    const firstStep = this.#step;
    if (firstStep >= total) return this.#result("complete");
    try {
      while (this.#step < total && signal?.aborted !== true) {
        await this.#enqueue();
        const saves = this.#step === total || this.#step % setup.hparams.save_checkpoints_steps === 0;
        const evaluates =
          setup.hparams.eval_steps > 0 &&
          (this.#step % setup.hparams.eval_steps === 0 || this.#step === total) &&
          this.#options.data.heldOut !== undefined;
        const warm = this.#step === this.#warmup?.end;
        if (saves || evaluates || warm) await this.#drain();
        if (warm) await this.#endWarmup();
        // Evaluated first, so that a run that continues from the checkpoint has not lost the evaluation.
        if (evaluates) await this.#evaluate();
        if (saves) await this.#save();
      }
      await this.#drain();
      const interrupted = this.#step < total;
      if (interrupted && this.#step > firstStep) await this.#save();
      const status = interrupted ? "interrupted" : "finished";
      this.#done(status);
      return this.#result(status);
    } catch (error) {
      this.#done("failed", (error as Error).message);
      throw error;
    } finally {
      this.#loader.close();
      await Promise.allSettled(this.#underWay.map(({ promise }) => promise));
    }
  }

  #watch(): HealthMonitor {
    const { objective, hparams } = this.#options.setup;
    return new HealthMonitor({
      objective,
      vocabSize: hparams.vocab_size,
      numWarmupSteps: hparams.num_warmup_steps,
      numTrainSteps: hparams.num_train_steps,
    });
  }

  /** From here on everything learns; the loss has one term more, which is no spike. */
  async #endWarmup(): Promise<void> {
    await this.#warmup?.finish();
    this.#warmup = undefined;
    this.#health = this.#watch();
  }

  /** Hands the next step to the engine, and takes the numbers of an older one when two are under way. */
  async #enqueue(): Promise<void> {
    const { engine, setup } = this.#options;
    const { hparams } = setup;
    const waiting = performance.now();
    const batch = await this.#loader.next();
    if (batch === undefined) throw new Error("the stream of training records ended");
    const waited = (performance.now() - waiting) / 1000;
    this.#dataWait += waited;
    this.#dataWaitTotal += waited;
    const promise = engine.trainStep(
      // Random choices count rows within the batch: the step's number tells batches apart.
      { ...batch, length: hparams.max_seq_length, firstRow: 0 },
      {
        step: this.#step,
        seed: hparams.seed,
        learningRate: learningRateAt(
          {
            learningRate: hparams.learning_rate,
            numTrainSteps: hparams.num_train_steps,
            numWarmupSteps: hparams.num_warmup_steps,
            decayPower: hparams.lr_decay_power,
          },
          this.#step,
        ),
        ...(this.#warmup === undefined ? {} : { denominators: GeneratorWarmup.denominators }),
      },
    );
    // A failure here is one of the step before it.
    this.#warmup?.holdShared().catch(() => undefined);
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
    const { setup, data } = this.#options;
    const first = this.#underWay[0];
    if (first === undefined) return;
    let result: TrainStepResult;
    try {
      result = await first.promise;
    } catch (error) {
      throw withRecords(error, first.batch, data);
    }
    this.#underWay.shift();
    this.#tokens += result.tokens;
    this.#metrics = {
      ...stepMetrics(setup.objective, this.#measured(result)),
      grad_norm: result.gradientNorm,
    };
    this.#report(result);
    for (const { code, message, hint } of this.#health.observe(result.step + 1, result.loss, this.#metrics)) {
      // A spike is worth the names of the records that it saw.
      const records = code === "loss_spike" ? `; the batch held ${namesOfRecords(first.batch, data)}` : "";
      const time = Date.now() / 1000;
      this.#options.sink.emit({
        type: "warning",
        time,
        step: result.step + 1,
        code,
        message: message + records,
        hint,
      });
    }
  }

  /** While the discriminator's loss weighs nothing, its mean is still worth knowing. */
  #measured(result: TrainStepResult): TrainStepResult {
    const { loss, weight } = result.discriminator;
    return this.#warmup === undefined ? result : { ...result, discriminatorLoss: loss / weight };
  }

  #report(result: TrainStepResult): void {
    const { setup, sink, step: firstStep } = this.#options;
    const total = setup.hparams.num_train_steps;
    const now = performance.now();
    const seconds = (now - this.#lastReport) / 1000;
    const done = result.step + 1;
    const elapsed = (now - this.#started) / 1000;
    const perStep = (elapsed - this.#pause) / (done - firstStep);
    sink.emit({
      type: "step",
      time: Date.now() / 1000,
      step: done,
      total_steps: total,
      loss: result.loss,
      metrics: this.#metrics,
      learning_rate: result.learningRate,
      tokens_per_s: seconds > 0 ? result.tokens / seconds : 0,
      elapsed_s: elapsed,
      eta_s: perStep * (total - done),
      data_wait_s: this.#dataWait,
    });
    this.#lastReport = now;
    this.#dataWait = 0;
  }

  async #evaluate(): Promise<void> {
    const { engine, setup, data, sink } = this.#options;
    if (data.heldOut === undefined) return;
    await this.#pausing(async () => {
      await this.#warmup?.holdAll();
      const started = performance.now();
      const metrics = await evaluateRecords({
        engine,
        setup,
        records: data.heldOut!,
        batches: setup.hparams.num_eval_steps,
        batchSize: setup.hparams.eval_batch_size,
        order: "ordered",
        // Always the same masks, so that evaluations of one run can be compared.
        step: 0,
      });
      sink.emit({
        type: "eval",
        time: Date.now() / 1000,
        step: this.#step,
        split: "held_out",
        metrics: numbers(metrics.values(this.#step)),
        seconds: (performance.now() - started) / 1000,
      });
    });
  }

  async #save(): Promise<void> {
    const { engine, setup, sink, fingerprints } = this.#options;
    await this.#pausing(async () => {
      await this.#warmup?.holdAll();
      const saved = await saveCheckpoint({
        runDir: setup.hparams.model_dir,
        step: this.#step,
        seed: setup.hparams.seed,
        cursor: this.#loader.cursor,
        hparams: setup.hparams as unknown as Record<string, JsonValue>,
        versions: { "electra-native": packageVersion(), node: process.versions.node },
        fingerprints,
        parameters: engineParameterStore(engine),
        configs: setup.configs,
        tokenizer: setup.tokenizer,
        keepCheckpointMax: setup.hparams.keep_checkpoint_max,
        ...(this.#warmup === undefined ? {} : { generatorWarmupEnd: this.#warmup.end }),
      });
      this.#checkpoint = saved.path;
      const time = Date.now() / 1000;
      sink.emit({
        type: "checkpoint",
        time,
        step: this.#step,
        path: saved.path,
        bytes: saved.bytes,
        seconds: saved.seconds,
      });
      for (const message of saved.warnings) {
        sink.emit({ type: "warning", time, step: this.#step, code: "checkpoint_leftovers", message });
      }
    });
  }

  async #pausing(work: () => Promise<void>): Promise<void> {
    const before = performance.now();
    await work();
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
      data_wait_s: this.#dataWaitTotal,
      ...(message === undefined ? {} : { message }),
    });
  }

  #result(status: PretrainResult["status"]): PretrainResult {
    const { setup, engine } = this.#options;
    return {
      status,
      step: this.#step,
      checkpoint: this.#checkpoint,
      modelDir: setup.hparams.model_dir,
      seconds: (performance.now() - this.#started) / 1000,
      tokens: this.#tokens,
      info: engine.info,
      metrics: this.#metrics,
    };
  }
}

/** A step that failed on its numbers is worth the names of the records that it saw. */
