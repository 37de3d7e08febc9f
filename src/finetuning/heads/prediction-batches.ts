import type { FinetuningBatch } from "../../engine/finetuning-types.js";
import type { TaskFeatures } from "../task.js";

/** A row and the number of its task among those of the model. */
export interface TaskRow {
  readonly taskId: number;
  readonly features: TaskFeatures;
}

/** A batch and which of the given rows it holds. */
export interface PredictionBatch {
  readonly batch: FinetuningBatch;
  readonly rows: readonly number[];
}

export interface PredictionBatchesOptions {
  /** Rows of a batch at most. Default 32. */
  readonly maxRows?: number;
  /** Rows times longest row, default 8192; a longer row goes alone. */
  readonly maxTokens?: number;
}

/**
 * Packs rows into batches of like lengths, the longest first, so that the largest batch comes first and hardly any padding
 * arises. Batches have no targets. Rows may belong to different tasks.
 */
export function predictionBatches(
  rows: readonly TaskRow[],
  { maxRows = 32, maxTokens = 8192 }: PredictionBatchesOptions = {},
): PredictionBatch[] {
  const lengthOf = (row: number) => rows[row]!.features.inputIds.length;
  const order = rows.map((_, row) => row).sort((a, b) => lengthOf(b) - lengthOf(a) || a - b);
  const batches: PredictionBatch[] = [];
  for (let first = 0; first < order.length; ) {
    const length = lengthOf(order[first]!);
    const count = Math.max(1, Math.min(maxRows, Math.floor(maxTokens / Math.max(1, length))));
    const members = order.slice(first, first + count);
    batches.push({
      batch: batchOf(
        members.map((row) => rows[row]!),
        length,
      ),
      rows: members,
    });
    first += members.length;
  }
  return batches;
}

function batchOf(rows: readonly TaskRow[], length: number): FinetuningBatch {
  const count = rows.length;
  const inputIds = new Int32Array(count * length);
  const segmentIds = new Int32Array(count * length);
  const lengths = new Int32Array(count);
  const offsets = new Int32Array(count + 1);
  const positions: number[] = [];
  let hasWords = false;
  for (const [row, { features }] of rows.entries()) {
    inputIds.set(features.inputIds, row * length);
    segmentIds.set(features.segmentIds, row * length);
    lengths[row] = features.inputIds.length;
    if (features.target.kind === "tagging") {
      hasWords = true;
      positions.push(...features.target.positions);
    }
    offsets[row + 1] = positions.length;
  }
  return {
    inputIds,
    segmentIds,
    lengths,
    rows: count,
    length,
    taskIds: Int32Array.from(rows, ({ taskId }) => taskId),
    ...(hasWords ? { words: { offsets, positions: Int32Array.from(positions) } } : {}),
  };
}
