import { ElectraError } from "../errors.js";
import { checkFinetuningBatch } from "./check-finetuning-batch.js";
import { checkLearningRate, checkStep } from "./check-options.js";
import type {
  FinetuningBatch,
  FinetuningEngineCreateOptions,
  FinetuningModelConfig,
  FinetuningStepOptions,
  FinetuningStepResult,
  FinetuningTrainStepOptions,
  FinetuningTrainStepResult,
  PredictOptions,
  PredictResult,
} from "./finetuning-types.js";
import { ModelEngine, type OpenedModel, openModel } from "./model-engine.js";
import type { NativeFinetuningSession } from "./native-types.js";

/**
 * An encoder with the heads of one or several tasks, and the thread that computes it. Works as {@link Engine} does: calls
 * are asynchronous and run in their order; a step that fails takes the weight-changing calls queued behind it along
 * (`ERR_ELECTRA_STEP_DROPPED`); every method rejects with an ElectraError, or with the signal's reason after an abort.
 *
 * @example
 * ```ts
 * const tasks = [{ name: "cola", head: { kind: "classification", classes: 2 } }] as const;
 * const engine = await FinetuningEngine.create({ model: { encoder, tasks, max_seq_length: 128 } });
 * await engine.trainStep({ ...batch, targets: { classes } }, { step: 0, learningRate: 1e-4 });
 * const { outputs } = await engine.predict(batch, { outputs: ["cola/logits"] });
 * await engine.dispose();
 * ```
 */
export class FinetuningEngine extends ModelEngine<NativeFinetuningSession> {
  /** The model as it was asked for. */
  readonly model: FinetuningModelConfig;

  private constructor(model: FinetuningModelConfig, opened: OpenedModel<NativeFinetuningSession>) {
    super(opened);
    this.model = model;
  }

  /**
   * Makes the model and fills it with initial weights by `seed`; `writeParameter` replaces those of the encoder.
   *
   * @throws ElectraError as {@link Engine.create}; `ERR_ELECTRA_ARGUMENT` for a `learningRateScale` that gives no number, or
   * different ones for query, key and value of a layer
   */
  static async create(options: FinetuningEngineCreateOptions): Promise<FinetuningEngine> {
    const { model, learningRateScale, signal } = options;
    const opened = await openModel(
      options,
      (binding, native) => new binding.FinetuningSession(model, native),
    );
    const engine = new FinetuningEngine(model, opened);
    if (learningRateScale === undefined) return engine;
    try {
      const scales = Float32Array.from(engine.parameters(), ({ name }) =>
        checkScale(name, learningRateScale(name)),
      );
      await engine.jobs.run((session, id) => session.scaleLearningRates(id, scales), signal);
      return engine;
    } catch (error) {
      void engine.dispose();
      throw error;
    }
  }

  /**
   * One whole step: forward, backward, clip, Adam. The loss that is followed downhill is the sum over the rows. Needs
   * targets. A NaN or an infinity leaves weights and moments as they were.
   *
   * @throws ElectraError `ERR_ELECTRA_NOT_FINITE` naming step and variable; `ERR_ELECTRA_BATCH` naming row and value;
   * `ERR_ELECTRA_STEP_DROPPED`
   */
  async trainStep(
    batch: FinetuningBatch,
    options: FinetuningTrainStepOptions,
  ): Promise<FinetuningTrainStepResult> {
    const { signal, ...native } = options;
    checkFinetuningBatch(batch, this.model);
    checkStep(options.step);
    checkLearningRate(options.learningRate);
    const result = await this.jobs.run((session, id) => session.trainStep(id, batch, native), signal);
    return { ...result, step: options.step, learningRate: options.learningRate };
  }

  /**
   * The first part of a step: losses, and gradients in the engine. With `accumulate` they add to those of the calls before.
   * After a failure the gradients are undefined until a call without `accumulate`.
   */
  async forwardBackward(
    batch: FinetuningBatch,
    options: FinetuningStepOptions = {},
  ): Promise<FinetuningStepResult> {
    const { signal, ...native } = options;
    checkFinetuningBatch(batch, this.model);
    checkStep(options.step ?? 0);
    return this.jobs.run((session, id) => session.forwardBackward(id, batch, native), signal);
  }

  /** Inference, without dropout and gradients; see {@link FinetuningStepResult.outputs} for what can be asked for. */
  async predict(batch: FinetuningBatch, options: PredictOptions): Promise<PredictResult> {
    const { signal, ...native } = options;
    checkFinetuningBatch(batch, this.model);
    return this.jobs.run((session, id) => session.predict(id, batch, native), signal);
  }
}

function checkScale(name: string, scale: number): number {
  if (Number.isFinite(scale) && scale >= 0) return scale;
  throw new ElectraError(
    "ERR_ELECTRA_ARGUMENT",
    `learningRateScale("${name}") is ${scale}; it must be a number that is not negative.`,
  );
}
