/**
 * What the addon exports, 1:1. Hand-written; `native/addon` defines it. Only `binding.ts` gets hold of the real thing.
 *
 * The first argument of every job is the caller's name for it, for `abort`. Sessions belong to the thread that made them.
 */

/** A job that has been queued natively. */
export type NativeJob<T> = Promise<T>;

export interface NativeSession {
  /** A job of that name is rejected with ERR_ELECTRA_ABORTED, at its turn or between two layers. */
  abort(id: number): void;
  /** Drops all jobs with ERR_ELECTRA_DISPOSED; resolves when all memory is free. */
  close(): Promise<void>;
}

export interface NativeDeviceInfo {
  readonly device: string;
  readonly gemm: string;
  readonly isa: string;
  readonly threads: number;
  readonly precision: "float32" | "bfloat16";
}

/** The device that was decided for. A GPU's `ordinal` −1: the first that can be used. */
export type NativeBackendOptions =
  | { device: "cpu"; threads: number; gemm: string; isa: string; precision: "float32" }
  | {
      device: "cuda";
      threads: number;
      library: string;
      emulated: boolean;
      ordinal: number;
      precision: "float32" | "bfloat16";
    };

/** The variables of a model, packed. */
export interface NativeParameterTable {
  /** One name a line. */
  readonly names: string;
  /** For each: decay (0 or 1), rank, sizes. */
  readonly layout: Int32Array;
}

export interface NativeOutputs {
  readonly [name: string]: { readonly shape: number[]; readonly data: Float32Array | Int32Array };
}

export interface NativeStepResult {
  readonly loss: number;
  readonly generatorLoss: number;
  readonly discriminatorLoss: number;
  readonly generator: {
    readonly loss: number;
    readonly weight: number;
    readonly correct: number;
    readonly sampledCorrect: number;
    readonly slots: number;
  };
  readonly discriminator: {
    readonly loss: number;
    readonly weight: number;
    readonly truePositive: number;
    readonly falsePositive: number;
    readonly trueNegative: number;
    readonly falseNegative: number;
  };
  readonly tokens: number;
  readonly slots: number;
  readonly outputs: NativeOutputs;
  readonly seconds: number;
}

export interface NativeOperatorTime {
  readonly operator: string;
  readonly shape: string;
  readonly calls: number;
  readonly seconds: number;
  readonly flop: number;
}

/** Of a session that holds a model. */
export type NativeModelOptions = NativeBackendOptions & {
  seed: number;
  reserveRows: number;
  profile: boolean;
};

/** What the sessions of all models have in common. */
export interface NativeModelSession extends NativeSession {
  open(id: number): NativeJob<{ info: NativeDeviceInfo; parameters: NativeParameterTable }>;
  /** What the operators took since the last call; only if the session was made with `profile`. */
  profile(id: number): NativeJob<NativeOperatorTime[]>;
  optimizerStep(id: number, options: object): NativeJob<{ gradientNorm: number; seconds: number }>;
  /** Fills `target`. */
  readParameter(id: number, kind: string, name: string, target: Float32Array): NativeJob<undefined>;
  writeParameter(id: number, kind: string, name: string, data: Float32Array): NativeJob<undefined>;
  memory(): { parameters: number; activations: number; workspace: number; total: number };
}

export interface NativePretrainingSession extends NativeModelSession {
  trainStep(
    id: number,
    batch: object,
    options: object,
  ): NativeJob<NativeStepResult & { readonly gradientNorm: number }>;
  forwardBackward(id: number, batch: object, options: object): NativeJob<NativeStepResult>;
  evaluate(id: number, batch: object, options: object): NativeJob<NativeStepResult>;
  forward(id: number, batch: object, options: object): NativeJob<NativeOutputs>;
}

export interface NativeFinetuningResult {
  readonly loss: number;
  readonly taskLosses: number[];
  readonly taskRows: number[];
  readonly tokens: number;
  readonly outputs: NativeOutputs;
  readonly seconds: number;
}

export interface NativeFinetuningSession extends NativeModelSession {
  /** One factor for each variable, in the order of the table. */
  scaleLearningRates(id: number, scales: Float32Array): NativeJob<undefined>;
  trainStep(
    id: number,
    batch: object,
    options: object,
  ): NativeJob<NativeFinetuningResult & { readonly gradientNorm: number }>;
  forwardBackward(id: number, batch: object, options: object): NativeJob<NativeFinetuningResult>;
  predict(id: number, batch: object, options: object): NativeJob<NativeFinetuningResult>;
}

export interface NativeKernelSession extends NativeSession {
  open(id: number): NativeJob<NativeDeviceInfo>;
  run(
    id: number,
    operator: string,
    values: object,
  ): NativeJob<Record<string, Float32Array | Int32Array | number>>;
}

/** A GPU as the CUDA runtime sees it. */
export interface CudaDevice {
  readonly name: string;
  /** "9.0" */
  readonly computeCapability: string;
  /** Bytes. */
  readonly totalMemory: number;
  readonly freeMemory: number;
  /** Whether a kernel has run on it just now. */
  readonly usable: boolean;
  /** Why not, in CUDA's words. */
  readonly reason: string;
}

export interface NativeBinding {
  readonly version: string;
  readonly abi: number;
  readonly PretrainingSession: new (model: object, options: NativeModelOptions) => NativePretrainingSession;
  readonly FinetuningSession: new (model: object, options: NativeModelOptions) => NativeFinetuningSession;
  readonly KernelSession: new (options: NativeBackendOptions) => NativeKernelSession;
  /**
   * Synchronous: starts CUDA on the calling thread, which can take a second. For `doctor` only. A reason says in its
   * second line what to do.
   */
  cudaDevices(
    path: string,
    emulated: boolean,
  ): { readonly devices: readonly CudaDevice[]; readonly reason: string | null };
}
