import { ElectraError } from "../errors.js";
import { describeBackend, openBackend } from "./backend.js";
import { loadBinding } from "./binding.js";
import { checkCounter, checkLearningRate } from "./check-options.js";
import { toElectraError } from "./native-failure.js";
import type { NativeBinding, NativeModelOptions, NativeModelSession } from "./native-types.js";
import { unpackParameters } from "./parameter-table.js";
import { SessionJobs } from "./session-jobs.js";
import type {
  BackendSettings,
  EngineInfo,
  EngineMemory,
  JobOptions,
  OperatorTime,
  OptimizerOptions,
  OptimizerResult,
  ParameterInfo,
  ParameterKind,
} from "./types.js";

/** A model that the engine thread has made, with what is known of it. */
export interface OpenedModel<Session extends NativeModelSession> {
  readonly session: Session;
  readonly jobs: SessionJobs<Session>;
  readonly info: EngineInfo;
  readonly parameters: readonly ParameterInfo[];
}

export interface ModelOpenOptions extends BackendSettings {
  readonly seed?: number;
  readonly reserveRows?: number;
  readonly profile?: boolean;
  readonly signal?: AbortSignal;
}

/** Chooses the hardware and makes a model there, with initial weights. */
export async function openModel<Session extends NativeModelSession>(
  options: ModelOpenOptions,
  make: (binding: NativeBinding, native: NativeModelOptions) => Session,
): Promise<OpenedModel<Session>> {
  const { seed = 0, reserveRows = 0, profile = false, signal } = options;
  signal?.throwIfAborted();
  checkCounter("seed", seed);
  checkCounter("reserveRows", reserveRows);
  const binding = loadBinding();
  const { opened, warnings } = await openBackend(options, async (backend) => {
    let session: Session;
    try {
      session = make(binding, { ...backend, seed, reserveRows, profile });
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
  return {
    session: opened.session,
    jobs: opened.jobs,
    info: describeBackend(opened.info, binding.version, warnings),
    parameters: unpackParameters(opened.parameters),
  };
}

/** What the engines of all models have in common: variables, the optimizer, memory, and an end. */
export abstract class ModelEngine<Session extends NativeModelSession> {
  readonly info: EngineInfo;
  protected readonly jobs: SessionJobs<Session>;
  readonly #session: Session;
  readonly #parameters: ReadonlyMap<string, ParameterInfo>;

  protected constructor({ info, session, jobs, parameters }: OpenedModel<Session>) {
    this.info = info;
    this.jobs = jobs;
    this.#session = session;
    this.#parameters = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  }

  /** True after `dispose()`; every method then rejects with `ERR_ELECTRA_DISPOSED`. */
  get disposed(): boolean {
    return this.jobs.disposed;
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
   * Where the time went since the last call of this, slowest first; for an engine that was created with `profile`. What the
   * times leave of a step is spent between its operators.
   *
   * @throws ElectraError `ERR_ELECTRA_ARGUMENT` for another engine
   */
  async profile(options: JobOptions = {}): Promise<OperatorTime[]> {
    return this.jobs.run((session, id) => session.profile(id), options.signal);
  }

  /** The second part of a step: norm, clip, Adam. @throws ElectraError `ERR_ELECTRA_NOT_FINITE` as in `trainStep` */
  async optimizerStep(options: OptimizerOptions): Promise<OptimizerResult> {
    const { signal, ...native } = options;
    checkLearningRate(options.learningRate);
    return this.jobs.run((session, id) => session.optimizerStep(id, native), signal);
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
    await this.jobs.run((session, id) => session.readParameter(id, kind, name, target), options.signal);
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
    await this.jobs.run((session, id) => session.writeParameter(id, kind, name, data), options.signal);
  }

  /**
   * Rejects what is queued and what runs with `ERR_ELECTRA_DISPOSED` and frees all native memory; resolves when that is
   * done. Await running calls first if they are to finish. May be called again.
   */
  dispose(): Promise<void> {
    return this.jobs.dispose();
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
