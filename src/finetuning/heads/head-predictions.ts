import type {
  EngineTaskHead,
  FinetuningBatch,
  PredictOptions,
  PredictResult,
} from "../../engine/finetuning-types.js";
import type { TaskFeatures, TaskHead } from "../task.js";
import { finetuningBatch } from "../training/finetuning-batch.js";
import { type FullHeadOutput, headOutput, headOutputNames } from "./head-outputs.js";

/** A row and the number of its task among those of the model. */
export interface TaskRow {
  readonly taskId: number;
  readonly features: TaskFeatures;
}

export interface HeadPredictionsOptions {
  readonly engine: {
    predict(batch: FinetuningBatch, options: PredictOptions): Promise<PredictResult>;
  };
  readonly task: string;
  readonly head: TaskHead;
  /** Of all tasks of the model, by number. */
  readonly heads: readonly EngineTaskHead[];
  /** Tokens that are computed together at most, padding included; a longer row goes alone. */
  readonly maxTokens: number;
  /** Rows that are computed together at most. Default 1024. */
  readonly maxRows?: number;
  /** Whether the rows have something to learn, so that there is a loss. Default false. */
  readonly labelled?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Batches under way at once: the engine has the next one before the last one is looked at. */
const QUEUE_DEPTH = 2;

/**
 * What a task's head says about rows, in their order. Rows of like lengths are computed together, so that hardly any padding
 * arises.
 *
 * @throws the signal's reason after an abort
 */
export async function headPredictions(
  rows: readonly TaskRow[],
  options: HeadPredictionsOptions,
): Promise<FullHeadOutput[]> {
  const { engine, task, head, heads, maxTokens, maxRows, labelled = false, signal } = options;
  const names = [...headOutputNames(task, head), ...(labelled ? ["loss"] : [])];
  const outputs = new Array<FullHeadOutput>(rows.length);
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
    const lengths = rows.map(({ features }) => features.inputIds.length);
    for (const members of groupsByLength(lengths, maxTokens, maxRows)) {
      signal?.throwIfAborted();
      const { targets, ...batch } = finetuningBatch(
        members.map((row) => rows[row]!),
        heads,
      );
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
export function groupsByLength(lengths: readonly number[], maxTokens: number, maxRows = 1024): number[][] {
  const order = lengths.map((_, row) => row).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const groups: number[][] = [];
  for (let first = 0; first < order.length; ) {
    const length = Math.max(1, lengths[order[first]!]!);
    const count = Math.max(1, Math.min(maxRows, Math.floor(maxTokens / length)));
    groups.push(order.slice(first, first + count));
    first += count;
  }
  return groups;
}

/** Views into a batch's arrays would keep all of them in memory. */
function copied(output: FullHeadOutput): FullHeadOutput {
  return Object.fromEntries(
    Object.entries(output as Record<string, unknown>).map(([name, value]) => [
      name,
      ArrayBuffer.isView(value)
        ? (value as Float32Array).slice()
        : typeof value === "object" && value !== null
          ? copied(value as FullHeadOutput)
          : value,
    ]),
  );
}
