import { refuseDifferences } from "./checkpoint-differences.js";
import type { HalfName } from "./hf-layout.js";
import type { ModelWeights } from "./model-weights.js";
import type { ParameterStore } from "./parameter-store.js";

/** What became of a variable of the engine, or of a tensor of the files. */
export interface VariableOrigin {
  /** The engine's name, or for an ignored tensor the name that it would have, or has in its file. */
  readonly name: string;
  readonly shape: readonly number[];
  /** `created`: keeps the engine's initial values. `ignored`: nothing of the engine corresponds to it. */
  readonly origin: "loaded" | "created" | "ignored";
  /** Of a loaded one its name in the files; of the others why. */
  readonly note: string;
}

export interface LoadVariablesOptions {
  readonly weights: ModelWeights;
  readonly parameters: ParameterStore;
  /** For an engine with one part alone, whose encoder is always `electra`: which part of the files that is. */
  readonly part?: HalfName;
  /**
   * Variables that may keep their initial values when the files do not have them. Anything else that is missing is an
   * error, and so is another shape. Default: none.
   */
  readonly mayCreate?: (variable: string) => boolean;
  /**
   * For variables that are made from the files' tensor instead of being it, whatever its number of rows: their values, and what
   * is to be said of it. Undefined for all others.
   */
  readonly adapt?: (variable: string) => VariableAdapter | undefined;
}

/** How a variable is made from a tensor with other rows. */
export interface VariableAdapter {
  /** @param stored values of the files' tensor @param initial the engine's initial values */
  readonly make: (stored: Float32Array, initial: Float32Array, width: number) => Float32Array;
  readonly note: string;
}

/**
 * Writes a model's weights into an engine. Everything is checked before anything is written.
 *
 * @returns every variable of the engine, in its order, then every tensor of the files that was not used
 * @throws ElectraError `ERR_ELECTRA_CHECKPOINT_MISMATCH` with a table of what is missing or of another shape
 */
export async function loadVariables(options: LoadVariablesOptions): Promise<readonly VariableOrigin[]> {
  const { weights, parameters, part, mayCreate = () => false, adapt = () => undefined } = options;
  const sourceOf = (variable: string): string =>
    part === undefined ? variable : weights.nameIn(part, variable);
  const origins: VariableOrigin[] = [];
  const differences: string[][] = [];
  const used = new Set<string>();
  for (const { name, shape } of parameters.names()) {
    const source = sourceOf(name);
    const tensor = weights.tensors.get(source);
    if (tensor === undefined) {
      if (mayCreate(name)) origins.push({ name, shape, origin: "created", note: "not in the files" });
      else differences.push([name, "missing", shapeText(shape)]);
    } else if (adapt(name) !== undefined && shapeText(tensor.shape.slice(1)) === shapeText(shape.slice(1))) {
      used.add(source);
      origins.push({ name, shape, origin: "loaded", note: `${tensor.stored}: ${adapt(name)!.note}` });
    } else if (shapeText(tensor.shape) !== shapeText(shape)) {
      differences.push([name, shapeText(tensor.shape), shapeText(shape)]);
    } else {
      used.add(source);
      origins.push({ name, shape, origin: "loaded", note: tensor.stored });
    }
  }
  refuseDifferences(weights.model.path, differences);
  for (const { name, shape, origin } of origins) {
    if (origin !== "loaded") continue;
    const stored = await weights.readFloat32(sourceOf(name));
    const adapter = adapt(name);
    const values = adapter?.make(stored, await parameters.read("value", name), shape[1] ?? 1) ?? stored;
    await parameters.write("value", name, values);
  }
  for (const [name, { shape }] of weights.tensors) {
    if (!used.has(name)) origins.push({ name, shape, origin: "ignored", note: "not in this model" });
  }
  for (const { stored, shape, reason } of weights.ignored) {
    origins.push({ name: stored, shape, origin: "ignored", note: reason });
  }
  return origins;
}

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
