import type { ParameterInfo, ParameterKind, ParameterStore } from "./parameter-store.js";

/** The part of an `Engine` that holds parameters. */
export interface ParameterEngine {
  parameters(): readonly ParameterInfo[];
  readParameter(name: string, kind?: ParameterKind): Promise<Float32Array>;
  writeParameter(name: string, data: Float32Array, kind?: ParameterKind): Promise<void>;
}

/** An engine's parameters as checkpoints take them. */
export function engineParameterStore(engine: ParameterEngine): ParameterStore {
  return {
    names: () => engine.parameters(),
    read: (kind, name) => engine.readParameter(name, kind),
    write: (kind, name, data) => engine.writeParameter(name, data, kind),
  };
}
