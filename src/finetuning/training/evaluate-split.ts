import type { EngineTaskHead } from "../../engine/finetuning-types.js";
import type { FeatureStore } from "../cache/feature-store.js";
import { type HeadPredictionsOptions, headPredictions, type TaskRow } from "../heads/head-predictions.js";
import type { HeadOutput, TaskFeatures, TaskHead } from "../task.js";

export interface EvaluateSplitOptions {
  readonly engine: HeadPredictionsOptions["engine"];
  readonly store: Pick<FeatureStore, "row" | "rowCount">;
  readonly task: string;
  readonly head: TaskHead;
  /** Of all tasks, by number. */
  readonly heads: readonly EngineTaskHead[];
  /** Rows of full length that are computed together; of shorter ones there are more. */
  readonly batchSize: number;
  readonly maxSeqLength: number;
  /** Whether the rows have something to learn, so that there is a loss. */
  readonly labelled: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Rows that are sorted by length at once: the rest of a large split need not be in memory. */
const SEGMENT = 4096;

/**
 * What the model says of every row of a split, in the split's order. Rows of like lengths are computed together, so that
 * hardly any padding arises; a batch holds as many as `batchSize` rows of full length have tokens.
 *
 * @throws the signal's reason after an abort
 */
export async function* evaluateSplit(
  options: EvaluateSplitOptions,
): AsyncGenerator<{ readonly features: TaskFeatures; readonly output: HeadOutput }, void, undefined> {
  const { store, batchSize, maxSeqLength, ...rest } = options;
  const rows = await store.rowCount();
  for (let first = 0; first < rows; first += SEGMENT) {
    const segment: TaskRow[] = [];
    for (let row = first; row < Math.min(rows, first + SEGMENT); row++) segment.push(await store.row(row));
    const outputs = await headPredictions(segment, { ...rest, maxTokens: batchSize * maxSeqLength });
    for (const [i, { features }] of segment.entries()) yield { features, output: outputs[i]! };
  }
}
