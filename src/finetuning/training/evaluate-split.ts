import type {
  EngineTaskHead,
  FinetuningBatch,
  PredictOptions,
  PredictResult,
} from "../../engine/finetuning-types.js";
import type { FeatureStore } from "../cache/feature-store.js";
import { headOutput, headOutputNames } from "../heads/head-outputs.js";
import type { HeadOutput, TaskFeatures, TaskHead } from "../task.js";
import { finetuningBatch } from "./finetuning-batch.js";

export interface EvaluateSplitOptions {
  readonly engine: {
    predict(batch: FinetuningBatch, options: PredictOptions): Promise<PredictResult>;
  };
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
const MOST_ROWS = 1024;
/** Batches under way at once. */
const QUEUE_DEPTH = 2;

/**
 * What the model says of every row of a split, in the split's order. Rows of like lengths are computed together, so that
 * hardly any padding arises; a batch holds as many as `batchSize` rows of full length have tokens.
 *
 * @throws the signal's reason after an abort
 */
export async function* evaluateSplit(
  options: EvaluateSplitOptions,
): AsyncGenerator<{ readonly features: TaskFeatures; readonly output: HeadOutput }, void, undefined> {
  const rows = await options.store.rowCount();
  for (let first = 0; first < rows; first += SEGMENT) {
    const segment: (TaskFeatures & { readonly taskId: number })[] = [];
    for (let row = first; row < Math.min(rows, first + SEGMENT); row++) {
      const { taskId, features } = await options.store.row(row);
      segment.push({ ...features, taskId });
    }
    const outputs = await outputsOf(segment, options);
    for (const [i, { taskId, ...features }] of segment.entries()) yield { features, output: outputs[i]! };
  }
}

async function outputsOf(
  rows: readonly (TaskFeatures & { readonly taskId: number })[],
  options: EvaluateSplitOptions,
): Promise<readonly HeadOutput[]> {
  const { engine, task, head, heads, batchSize, maxSeqLength, labelled, signal } = options;
  const names = [...headOutputNames(task, head), ...(labelled ? ["loss"] : [])];
  const outputs = new Array<HeadOutput>(rows.length);
  const underWay: Promise<void>[] = [];
  const finish = async (members: readonly number[], batch: FinetuningBatch): Promise<void> => {
    const result = await engine.predict(batch, {
      outputs: names,
      ...(signal === undefined ? {} : { signal }),
    });
    for (const [place, row] of members.entries()) {
      outputs[row] = copied(headOutput(task, head, result.outputs, batch, place));
    }
  };
  try {
    for (const members of groupsByLength(
      rows.map(({ inputIds }) => inputIds.length),
      batchSize * maxSeqLength,
    )) {
      signal?.throwIfAborted();
      const mixed = members.map((row) => ({ taskId: rows[row]!.taskId, features: rows[row]! }));
      const { targets, ...batch } = finetuningBatch(mixed, heads);
      const promise = finish(
        members,
        labelled ? { ...batch, ...(targets === undefined ? {} : { targets }) } : batch,
      );
      promise.catch(() => undefined);
      underWay.push(promise);
      if (underWay.length >= QUEUE_DEPTH) await underWay.shift();
    }
    await Promise.all(underWay);
  } finally {
    await Promise.allSettled(underWay);
  }
  return outputs;
}

/** Rows by length, the longest first, as many together as fit into so many tokens. */
export function groupsByLength(lengths: readonly number[], maxTokens: number): number[][] {
  const order = lengths.map((_, row) => row).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const groups: number[][] = [];
  for (let first = 0; first < order.length; ) {
    const length = Math.max(1, lengths[order[first]!]!);
    const count = Math.max(1, Math.min(MOST_ROWS, Math.floor(maxTokens / length)));
    groups.push(order.slice(first, first + count));
    first += count;
  }
  return groups;
}

/** Views into a batch's arrays would keep all of them in memory. */
function copied(output: HeadOutput): HeadOutput {
  return Object.fromEntries(
    Object.entries(output as Record<string, unknown>).map(([name, value]) => [
      name,
      ArrayBuffer.isView(value)
        ? (value as Float32Array).slice()
        : typeof value === "object" && value !== null
          ? copied(value as HeadOutput)
          : value,
    ]),
  );
}
