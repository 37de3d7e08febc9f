import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import { loadVariables, type VariableOrigin } from "../checkpoint/load-variables.js";
import { readModelWeights } from "../checkpoint/model-weights.js";
import type { Engine } from "../engine/engine.js";
import { ElectraError } from "../errors.js";
import type { InitialModel } from "./initial-model.js";

/** What a run began with. */
export interface InitialState {
  readonly path: string;
  /** Step that the run begins at. */
  readonly step: number;
  /** Whether Adam's moments came with the weights; otherwise they begin at zero. */
  readonly moments: boolean;
  readonly origins: readonly VariableOrigin[];
}

/**
 * Fills an engine with a model made elsewhere.
 *
 * @param allowCreated beginnings of names that may stay as they were initialised, such as `generator`
 * @throws ElectraError `ERR_ELECTRA_CHECKPOINT_MISMATCH` with a table, when a variable is missing and not allowed to, or has
 *   another shape
 */
export async function loadInitialModel(
  engine: Engine,
  initial: InitialModel,
  allowCreated: readonly string[],
): Promise<InitialState> {
  const weights = await readModelWeights(initial.path);
  try {
    const parameters = engineParameterStore(engine);
    // A masked-LM run has the one encoder `electra`; a generator can be where it begins.
    const alone = !weights.tensors.has("electra/encoder/layer_0/output/dense/kernel");
    const mayCreate = (variable: string): boolean =>
      allowCreated.some((name) => variable === name || variable.startsWith(`${name}/`));
    const wantsEncoder = parameters.names().some(({ name }) => name.startsWith("electra/encoder/"));
    const wantsGenerator = parameters.names().some(({ name }) => name.startsWith("generator/encoder/"));
    const origins = await loadVariables({
      weights,
      parameters,
      mayCreate,
      ...(alone && wantsEncoder && !wantsGenerator ? { part: "generator" as const } : {}),
    }).catch((error: unknown) => {
      throw withRemedy(
        error,
        parameters.names().map(({ name }) => name),
        weights.tensors,
      );
    });
    const { moments } = weights;
    // They belong to the steps that the weights have seen; a run with a schedule of its own warms up anew.
    const useMoments = initial.continues && moments !== undefined;
    if (useMoments) {
      for (const { name, origin } of origins) {
        if (origin !== "loaded") continue;
        for (const kind of ["adam_m", "adam_v"] as const) {
          await parameters.write(kind, name, await moments.readFloat32(`${name}/${kind}`));
        }
      }
    }
    return {
      path: initial.path,
      step: initial.continues ? (weights.step ?? 0) : 0,
      moments: useMoments,
      origins,
    };
  } finally {
    await weights.close();
  }
}

/** Names what would have to be allowed, when whole networks are missing. */
function withRemedy(
  error: unknown,
  variables: readonly string[],
  tensors: ReadonlyMap<string, unknown>,
): unknown {
  if (!(error instanceof ElectraError) || error.code !== "ERR_ELECTRA_CHECKPOINT_MISMATCH") return error;
  const scopeOf = (name: string): string => name.slice(0, name.indexOf("/"));
  const there = new Set([...tensors.keys()].map(scopeOf));
  const absent = [...new Set(variables.map(scopeOf))].filter((scope) => !there.has(scope));
  if (absent.length === 0) return error;
  return new ElectraError(error.code, error.message, {
    hint: `It has no ${absent.join(" and no ")}. To begin with random values there: --allow-created ${absent.join(",")}`,
    exitCode: 2,
    cause: error,
  });
}

/** Rows [what, tensors, values] of a table that sums up by network what became of every tensor. */
export function summarizeOrigins(
  origins: readonly VariableOrigin[],
): readonly (readonly [string, string, string])[] {
  const groups = new Map<string, { tensors: number; values: number }>();
  for (const { name, shape, origin, note } of origins) {
    const scope = /^[^/.]+\/(?:embeddings|embeddings_project|encoder)(?=\/)|^[^/]+/.exec(name)?.[0] ?? name;
    const key = `${origin === "ignored" && note !== "not in this model" ? note : scope}\n${origin}`;
    const group = groups.get(key) ?? { tensors: 0, values: 0 };
    group.tensors++;
    group.values += shape.reduce((product, size) => product * size, 1);
    groups.set(key, group);
  }
  return [...groups].map(([key, { tensors, values }]) => {
    const [scope, origin] = key.split("\n") as [string, string];
    return [`${origin}: ${scope}`, String(tensors), String(values)] as const;
  });
}
