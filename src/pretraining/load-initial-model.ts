import { readFile } from "node:fs/promises";
import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import { loadVariables, type VariableOrigin } from "../checkpoint/load-variables.js";
import { type ModelWeights, readModelWeights } from "../checkpoint/model-weights.js";
import type { ParameterStore } from "../checkpoint/parameter-store.js";
import type { Engine } from "../engine/engine.js";
import { ElectraError } from "../errors.js";
import { Vocabulary } from "../tokenization/vocabulary.js";
import type { InitialModel } from "./initial-model.js";
import type { PretrainingSetup } from "./pretraining-setup.js";
import { gatherRows, type VocabularyRows, vocabularyRows } from "./vocabulary-rows.js";

/** What a run began with. */
export interface InitialState {
  readonly path: string;
  /** Step that the run begins at. */
  readonly step: number;
  /** Whether Adam's moments came with the weights; otherwise they begin at zero. */
  readonly moments: boolean;
  readonly origins: readonly VariableOrigin[];
  /** How the model's vocabulary became the run's; undefined where they are the same. */
  readonly vocabulary: VocabularyRows | undefined;
}

/** Variables with a row for each token. */
const TOKEN_ROWS = /\/embeddings\/word_embeddings$|^(?:generator|cloze)_predictions\/output_bias$/;

/**
 * Fills an engine with a model made elsewhere.
 *
 * Tables of words get a row for each token of the run's vocabulary: the model's where it knows the token, else the mean of
 * the token's pieces.
 *
 * @param allowCreated beginnings of names that may stay as they were initialised, such as `generator`
 * @throws ElectraError `ERR_ELECTRA_CHECKPOINT_MISMATCH` with a table, when a variable is missing and not allowed to, or has
 *   another shape
 */
export async function loadInitialModel(
  engine: Engine,
  initial: InitialModel,
  allowCreated: readonly string[],
  words: Pick<PretrainingSetup, "vocabulary" | "tokenizer">,
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
    const vocabulary = await matchVocabulary(initial, weights, parameters, words);
    const origins = await loadVariables({
      weights,
      parameters,
      mayCreate,
      ...(vocabulary === undefined
        ? {}
        : {
            adapt: (name: string) =>
              TOKEN_ROWS.test(name)
                ? {
                    note: rowsNote(vocabulary),
                    make: (stored, initialValues, width) =>
                      gatherRows(vocabulary, stored, initialValues, width, true),
                  }
                : undefined,
          }),
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
      for (const { name, shape, origin } of origins) {
        if (origin !== "loaded") continue;
        for (const kind of ["adam_m", "adam_v"] as const) {
          const stored = await moments.readFloat32(`${name}/${kind}`);
          const values =
            vocabulary === undefined || !TOKEN_ROWS.test(name)
              ? stored
              : gatherRows(vocabulary, stored, await parameters.read(kind, name), shape[1] ?? 1, false);
          await parameters.write(kind, name, values);
        }
      }
    }
    return {
      path: initial.path,
      step: initial.continues ? (weights.step ?? 0) : 0,
      moments: useMoments,
      origins,
      vocabulary,
    };
  } finally {
    await weights.close();
  }
}

/** Matches the model's rows with the run's vocabulary; undefined where they are the same, or there is nothing to match. */
async function matchVocabulary(
  initial: InitialModel,
  weights: ModelWeights,
  parameters: ParameterStore,
  { vocabulary: target, tokenizer }: Pick<PretrainingSetup, "vocabulary" | "tokenizer">,
): Promise<VocabularyRows | undefined> {
  const rowsOf = (tensors: Iterable<readonly [string, { readonly shape: readonly number[] }]>) =>
    [...tensors].find(([name]) => /\/embeddings\/word_embeddings$/.test(name))?.[1].shape[0];
  const sourceRows = rowsOf(weights.tensors);
  const targetRows = rowsOf(parameters.names().map((info) => [info.name, info] as const));
  if (sourceRows === undefined || targetRows === undefined) return undefined;
  const { vocabFile } = initial;
  const source =
    vocabFile === undefined
      ? undefined
      : Vocabulary.parse(await readFile(vocabFile, "utf8"), { source: vocabFile });
  // Fewer rows, and no words to tell which: nothing can be matched, and the shapes are refused.
  if (source === undefined && targetRows < sourceRows) return undefined;
  return vocabularyRows({
    target,
    targetRows,
    source,
    sourceRows,
    lowerCase: tokenizer.doLowerCase,
    stripAccents: tokenizer.stripAccents,
  });
}

/** What a table or a line says of matched rows. */
export function rowsNote({ kept, fromPieces, random, dropped, byId }: VocabularyRows): string {
  return (
    `${kept} tokens kept${byId ? " by id" : ""}, ${fromPieces} new as the mean of their pieces, ${random} new at random` +
    `${dropped > 0 ? `, ${dropped} of the model's not used` : ""}`
  );
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
