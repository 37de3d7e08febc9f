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
  StepResult,
  TrainStepOptions,
  TrainStepResult,
} from "./types.js";

/** Signatures of the engine, agreed first; the implementation follows. */
export declare class Engine {
  static create(options: EngineCreateOptions): Promise<Engine>;
  private constructor();
  readonly info: EngineInfo;
  readonly disposed: boolean;
  parameters(): readonly ParameterInfo[];
  memory(): EngineMemory;
  trainStep(batch: Batch, options: TrainStepOptions): Promise<TrainStepResult>;
  forwardBackward(batch: Batch, options?: ForwardBackwardOptions): Promise<StepResult>;
  optimizerStep(options: OptimizerOptions): Promise<OptimizerResult>;
  evaluate(batch: Batch, options?: EvaluateOptions): Promise<StepResult>;
  forward(batch: Batch, options: ForwardOptions): Promise<Outputs>;
  readParameter(name: string, kind?: ParameterKind, options?: JobOptions): Promise<Float32Array>;
  writeParameter(name: string, data: Float32Array, kind?: ParameterKind, options?: JobOptions): Promise<void>;
  dispose(): Promise<void>;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}
