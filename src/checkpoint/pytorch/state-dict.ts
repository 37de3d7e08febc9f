import { type PickleDict, PickleError, type PickleValue, type TensorRef } from "./pickle-values.js";

/** Where trainers put a state dict among other things. */
const WRAPPERS = ["state_dict", "model_state_dict", "model"];

/**
 * The tensors of what was saved: a dict of tensors by name, or a dict that holds one as `state_dict` or the like. Entries
 * that are no tensors (a step, a configuration) are left out.
 *
 * @throws PickleError when there are none
 */
export function tensorsOf(value: PickleValue): ReadonlyMap<string, TensorRef> {
  if (!(value instanceof Map)) throw new PickleError("it holds no dict of tensors");
  const direct = ownTensors(value);
  if (direct.size > 0) return direct;
  for (const name of WRAPPERS) {
    const inner = value.get(name);
    if (!(inner instanceof Map)) continue;
    const tensors = ownTensors(inner);
    if (tensors.size > 0) return tensors;
  }
  throw new PickleError("it holds no dict of tensors");
}

function ownTensors(dict: PickleDict): Map<string, TensorRef> {
  const tensors = new Map<string, TensorRef>();
  for (const [name, value] of dict) {
    if (typeof name === "string" && isTensor(value)) tensors.set(name, value);
  }
  return tensors;
}

function isTensor(value: PickleValue): value is TensorRef {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "tensor";
}
