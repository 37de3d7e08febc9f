import { ElectraError } from "../errors.js";
import { describeBackend, openBackend } from "./backend.js";
import { loadBinding } from "./binding.js";
import { checkBatch } from "./check-batch.js";
import { toElectraError } from "./native-failure.js";
import type { NativePretrainingSession } from "./native-types.js";
import { unpackParameters } from "./parameter-table.js";
import { SessionJobs } from "./session-jobs.js";
import type {
  Batch,
  EngineCreateOptions,
  EngineInfo,
  EngineMemory,
  EvaluateOptions,
  ForwardBackwardOptions,
  ForwardOptions,
  JobOptions,
  OptimizerOptions,
  OptimizerResult,
  Outputs,
  ParameterInfo,
  ParameterKind,
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
export class Engine {
  /** The model as it was asked for. */
  readonly model: PretrainingModelConfig;
  readonly info: EngineInfo;
  readonly #jobs: SessionJobs<NativePretrainingSession>;
  readonly #session: NativePretrainingSession;
  readonly #parameters: ReadonlyMap<string, ParameterInfo>;

  private constructor(
    model: PretrainingModelConfig,
    info: EngineInfo,
    session: NativePretrainingSession,
    jobs: SessionJobs<NativePretrainingSession>,
    parameters: readonly ParameterInfo[],
  ) {
    this.model = model;
    this.info = info;
    this.#session = session;
    this.#jobs = jobs;
    this.#parameters = new Map(parameters.map((parameter) => [parameter.name, parameter]));
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
    const { model, seed = 0, reserveRows = 0, signal } = options;
    signal?.throwIfAborted();
    checkCounter("seed", seed);
    checkCounter("reserveRows", reserveRows);
    checkGenerator(model);
    const binding = loadBinding();
    const { opened, warnings } = await openBackend(options, async (backend) => {
      let session: NativePretrainingSession;
      try {
        session = new binding.PretrainingSession(model, { ...backend, seed, reserveRows });
      } catch (error) {
        throw toElectraError(error);
      }
      const jobs = new SessionJobs(session, "engine");
      try {
        return { session, jobs, ...(await jobs.run((native, id) => native.open(id), signal)) };
      } catch (error) {
        void jobs.dispose();
        throw error;
      }
    });
    const info = describeBackend(opened.info, binding.version, warnings);
    return new Engine(model, info, opened.session, opened.jobs, unpackParameters(opened.parameters));
  }

  /** True after `dispose()`; every method then rejects with `ERR_ELECTRA_DISPOSED`. */
  get disposed(): boolean {
    return this.#jobs.disposed;
  }

  /** All trainable variables, in the engine's order. */
  parameters(): readonly ParameterInfo[] {
    return [...this.#parameters.values()];
  }

  /** Bytes held natively, as of the last finished job. */
  memory(): EngineMemory {
    return this.#session.memory();
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
    const result = await this.#jobs.run((session, id) => session.trainStep(id, batch, native), signal);
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
    return this.#jobs.run((session, id) => session.forwardBackward(id, batch, native), signal);
  }

  /** The second part of a step: norm, clip, Adam. @throws ElectraError `ERR_ELECTRA_NOT_FINITE` as in `trainStep` */
  async optimizerStep(options: OptimizerOptions): Promise<OptimizerResult> {
    const { signal, ...native } = options;
    checkLearningRate(options.learningRate);
    return this.#jobs.run((session, id) => session.optimizerStep(id, native), signal);
  }

  /** Losses and counts of a corrupted batch, without dropout and gradients. */
  async evaluate(batch: Batch, options: EvaluateOptions = {}): Promise<StepResult> {
    const { signal, ...native } = options;
    checkBatch(batch, this.model);
    checkStep(options.step ?? 0);
    return this.#jobs.run((session, id) => session.evaluate(id, batch, native), signal);
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
    return this.#jobs.run((session, id) => session.forward(id, batch, native), signal);
  }

  /**
   * A copy of one tensor, row-major, as of the calls sent before. Kernels are [in, out].
   *
   * @throws ElectraError `ERR_ELECTRA_PARAMETER` for an unknown name
   */
  async readParameter(
    name: string,
    kind: ParameterKind = "value",
    options: JobOptions = {},
  ): Promise<Float32Array> {
    const target = new Float32Array(this.#parameter(name).elements);
    await this.#jobs.run((session, id) => session.readParameter(id, kind, name, target), options.signal);
    return target;
  }

  /**
   * Replaces one tensor. `data` is read later: leave it alone until the promise settles.
   *
   * @throws ElectraError `ERR_ELECTRA_PARAMETER` for an unknown name or another number of elements
   */
  async writeParameter(
    name: string,
    data: Float32Array,
    kind: ParameterKind = "value",
    options: JobOptions = {},
  ): Promise<void> {
    const { elements, shape } = this.#parameter(name);
    if (data.length !== elements) {
      throw new ElectraError(
        "ERR_ELECTRA_PARAMETER",
        `${name} has shape [${shape.join(", ")}], ${elements} elements; ${data.length} were given.`,
      );
    }
    await this.#jobs.run((session, id) => session.writeParameter(id, kind, name, data), options.signal);
  }

  /**
   * Rejects what is queued and what runs with `ERR_ELECTRA_DISPOSED` and frees all native memory; resolves when that is
   * done. Await running calls first if they are to finish. May be called again.
   */
  dispose(): Promise<void> {
    return this.#jobs.dispose();
  }

  /** `using`: begins to dispose and does not wait. */
  [Symbol.dispose](): void {
    void this.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #parameter(name: string): ParameterInfo {
    const parameter = this.#parameters.get(name);
    if (parameter) return parameter;
    throw new ElectraError(
      "ERR_ELECTRA_PARAMETER",
      `The model has no variable "${name}" (it has ${this.#parameters.size}).`,
      { hint: "engine.parameters() lists the names." },
    );
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

function checkCounter(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new ElectraError(
    "ERR_ELECTRA_ARGUMENT",
    `${name} is ${value}; it must be a whole number below 2^53.`,
    {
      exitCode: 2,
    },
  );
}

/** Steps are 32-bit counters of the random draws. */
function checkStep(step: number): void {
  if (Number.isInteger(step) && step >= 0 && step < 2 ** 32) return;
  throw new ElectraError("ERR_ELECTRA_ARGUMENT", `step is ${step}; it must be a whole number below 2^32.`);
}

function checkLearningRate(learningRate: number): void {
  if (Number.isFinite(learningRate)) return;
  throw new ElectraError(
    "ERR_ELECTRA_ARGUMENT",
    `learningRate is ${learningRate}; it must be a finite number.`,
  );
}
