import type { ParameterStore } from "../checkpoint/parameter-store.js";
import type { Engine } from "../engine/engine.js";

/** An engine's variables as a checkpoint wants to see them. */
export function engineParameters(engine: Engine): ParameterStore {
  return {
    names: () => engine.parameters(),
    read: (kind, name) => engine.readParameter(name, kind),
    write: (kind, name, data) => engine.writeParameter(name, data, kind),
  };
}
