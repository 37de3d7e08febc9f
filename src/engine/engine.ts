import { ElectraError } from "../errors.js";
import { checkBatch } from "./check-batch.js";
import { checkLearningRate, checkStep } from "./check-options.js";
import { ModelEngine, type OpenedModel, openModel } from "./model-engine.js";
import type { NativePretrainingSession } from "./native-types.js";
import type {
  Batch,
  EngineCreateOptions,
  EvaluateOptions,
  ForwardBackwardOptions,
  ForwardOptions,
  Outputs,
  PretrainingModelConfig,
  StepResult,
  TrainStepOptions,
  TrainStepResult,
} from "./types.js";

/**
 * A pre-training model and the thread that computes it. Everything is asynchronous and runs in the order of the calls;
 * nothing blocks the event loop. To keep the engine busy, send step s + 1 before awaiting step s.
 *
 * A step that fails takes with it the weight-changing calls queued behind it (`ERR_ELECTRA_STEP_DROPPED`), so that nothing
 * is built on a step that did not happen.
 *
 * Every method rejects with an ElectraError, or with the signal's reason after an abort. Besides the codes named below:
 * `ERR_ELECTRA_DISPOSED`, `ERR_ELECTRA_OUT_OF_MEMORY`, `ERR_ELECTRA_SHAPE`, `ERR_ELECTRA_ARGUMENT`.
 *
 * @example
 * ```ts
 * const engine = await Engine.create({ model, threads: 2, seed: 1 });
 * const { loss } = await engine.trainStep(batch, { step: 0, learningRate: 5e-4 });
 * await engine.dispose();
 * ```
 */
export class Engine extends ModelEngine<NativePretrainingSession> {
  /** The model as it was asked for. */
  readonly model: PretrainingModelConfig;

  private constructor(model: PretrainingModelConfig, opened: OpenedModel<NativePretrainingSession>) {
    super(opened);
    this.model = model;
  }

  /**
   * Makes the model and fills it with initial weights by `seed`. What it was made on is in `info`, with what should be
   * said about that.
   *
   * @throws ElectraError `ERR_ELECTRA_ADDON_LOAD`, `ERR_ELECTRA_CONFIG` for a model that cannot be built,
   * `ERR_ELECTRA_OUT_OF_MEMORY` for one that does not fit, `ERR_ELECTRA_NO_CUDA`, `ERR_ELECTRA_PRECISION`,
   * `ERR_ELECTRA_GEMM` and `ERR_ELECTRA_ISA` for a choice this machine lacks
   */
  static async create(options: EngineCreateOptions): Promise<Engine> {
    const { model } = options;
    checkGenerator(model);
    return new Engine(
      model,
      await openModel(options, (binding, native) => new binding.PretrainingSession(model, native)),
    );
  }

  /**
   * One whole step: mask, generate, replace, discriminate, all of it backwards, clip, Adam. Resolves when the step is done.
   * A NaN or an infinity leaves weights and moments as they were.
   *
   * @throws ElectraError `ERR_ELECTRA_NOT_FINITE` naming step and variable; `ERR_ELECTRA_BATCH`; `ERR_ELECTRA_STEP_DROPPED`
   */
  async trainStep(batch: Batch, options: TrainStepOptions): Promise<TrainStepResult> {
    const { signal, ...native } = options;
    checkBatch(batch, this.model);
    checkStep(options.step);
    checkLearningRate(options.learningRate);
    const result = await this.jobs.run((session, id) => session.trainStep(id, batch, native), signal);
    return { ...result, step: options.step, learningRate: options.learningRate };
  }

  /**
   * The first part of a step: losses, and gradients in the engine. With `accumulate` they add to those of the calls before;
   * give `denominators` of the whole batch then. After a failure the gradients are undefined until a call without
   * `accumulate`.
   */
  async forwardBackward(batch: Batch, options: ForwardBackwardOptions = {}): Promise<StepResult> {
    const { signal, ...native } = options;
    checkBatch(batch, this.model);
    checkStep(options.step ?? 0);
    return this.jobs.run((session, id) => session.forwardBackward(id, batch, native), signal);
  }

  /** Losses and counts of a corrupted batch, without dropout and gradients. */
  async evaluate(batch: Batch, options: EvaluateOptions = {}): Promise<StepResult> {
    const { signal, ...native } = options;
    checkBatch(batch, this.model);
    checkStep(options.step ?? 0);
    return this.jobs.run((session, id) => session.evaluate(id, batch, native), signal);
  }

  /** Plain inference: one network on the ids as they are, without corruption and dropout. */
  async forward(batch: Batch, options: ForwardOptions): Promise<Outputs> {
    const { signal, ...rest } = options;
    checkBatch(batch, this.model);
    const slots = options.positions === undefined ? 0 : options.positions.length / batch.rows;
    if (!Number.isInteger(slots)) {
      throw new ElectraError(
        "ERR_ELECTRA_BATCH",
        `positions has ${options.positions?.length} elements, which ${batch.rows} rows cannot share evenly.`,
      );
    }
    const native = options.positions === undefined ? rest : { ...rest, positionsPerRow: slots };
    return this.jobs.run((session, id) => session.forward(id, batch, native), signal);
  }
}

function checkGenerator(model: PretrainingModelConfig): void {
  const needed = model.generator_kind === "masked" || model.generator_kind === "two_towers";
  if (!needed || model.generator !== undefined) return;
  throw new ElectraError(
    "ERR_ELECTRA_CONFIG",
    `The model has generator_kind "${model.generator_kind}" and no generator configuration.`,
  );
}
