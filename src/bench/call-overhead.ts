import type { ParameterInfo } from "../engine/types.js";
import { spreadOf } from "./spread.js";

/** What is needed of an engine, of either kind. */
interface VariableReader {
  parameters(): readonly ParameterInfo[];
  readParameter(name: string): Promise<Float32Array>;
}

/**
 * Microseconds from a call of the engine to its answer in the event loop when there is nothing to compute: queue, engine thread,
 * promise. The median of calls that copy the model's smallest variable.
 */
export async function measureCallOverhead(engine: VariableReader, calls = 200): Promise<number> {
  const { name } = engine
    .parameters()
    .reduce((least, each) => (each.elements < least.elements ? each : least));
  const times: number[] = [];
  for (let call = 0; call < calls + 20; call++) {
    const began = performance.now();
    await engine.readParameter(name);
    if (call >= 20) times.push(1000 * (performance.now() - began));
  }
  return spreadOf(times).median;
}
