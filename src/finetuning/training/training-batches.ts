import type { EngineTaskHead, FinetuningBatch } from "../../engine/finetuning-types.js";
import { paddedExampleCount } from "../../hparams/finetuning-hparams.js";
import type { FeatureStore } from "../cache/feature-store.js";
import type { MixedRow } from "../features/mixed-examples.js";
import { rowOrder } from "../features/row-order.js";

import { finetuningBatch } from "./finetuning-batch.js";
export interface TrainingBatchesOptions {
  readonly store: Pick<FeatureStore, "row">;
  /** Rows without padding rows. */
  readonly rows: number;
  readonly batchSize: number;
  /** Of the run's tasks, by number. */
  readonly heads: readonly EngineTaskHead[];
  readonly seed: number;
  readonly trial: number;
  readonly reshuffle: boolean;
  /** Batches of an earlier call to pass over. */
  readonly skip: number;
}

/** A batch of training and what is in it. */
export interface TrainingBatch {
  readonly batch: FinetuningBatch;
  /** Task and `eid` of its rows, for messages. */
  readonly rows: readonly { readonly taskId: number; readonly eid: number }[];
}

/**
 * The batches of a trial, without end: rows in the order of training, filled up with padding rows so that an epoch is made
 * of whole batches. Which rows a batch holds depends on its number alone.
 */
export async function* trainingBatches(
  options: TrainingBatchesOptions,
): AsyncGenerator<TrainingBatch, never, undefined> {
  const { store, rows, batchSize, heads, seed, trial, reshuffle, skip } = options;
  const order = rowOrder({ rows: paddedExampleCount(rows, batchSize), seed, trial, reshuffle });
  for (let i = 0; i < skip * batchSize; i++) order.next();
  const padding: MixedRow = { taskId: heads.length, features: null };
  for (;;) {
    const members: MixedRow[] = [];
    while (members.length < batchSize) {
      const row = order.next().value;
      members.push(row < rows ? await store.row(row) : padding);
    }
    yield {
      batch: finetuningBatch(members, heads),
      rows: members.flatMap(({ taskId, features }) =>
        features === null ? [] : [{ taskId, eid: features.eid }],
      ),
    };
  }
}
