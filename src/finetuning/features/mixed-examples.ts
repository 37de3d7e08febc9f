import { SeededRandomSource } from "../../data/random-source.js";
import { shuffled } from "../../data/seeded-shuffle.js";
import type { BadRowSummary } from "../reading/bad-rows.js";
import type { Split, Task, TaskExample, TaskFeatures } from "../task.js";

/** An example with the place of its task among the tasks of the run. */
export interface MixedExample {
  readonly taskId: number;
  readonly example: TaskExample;
}

/** A row of a batch of several tasks. A padding row has the number of tasks as its task, and nothing else. */
export interface MixedRow {
  readonly taskId: number;
  readonly features: TaskFeatures | null;
}

export interface MixedExamples {
  readonly examples: readonly MixedExample[];
  /** What each task left out. */
  readonly skipped: readonly BadRowSummary[];
}

/**
 * The examples of a split of all tasks: task after task, or with a seed all of them shuffled together, so that batches mix
 * the tasks in proportion to their data.
 */
export async function mixedExamples(
  tasks: readonly Task[],
  split: Split,
  options: { readonly shuffleSeed?: number } = {},
): Promise<MixedExamples> {
  const sets = await Promise.all(tasks.map((task) => task.examples(split)));
  const examples = sets.flatMap((set, taskId) => set.examples.map((example) => ({ taskId, example })));
  const { shuffleSeed: seed } = options;
  return {
    examples: seed === undefined ? examples : shuffled(examples, new SeededRandomSource(seed)),
    skipped: sets.map(({ skipped }) => skipped),
  };
}

/** The rows of examples, made as they are asked for. */
export function* mixedRows(
  tasks: readonly Task[],
  examples: Iterable<MixedExample>,
  training: boolean,
): Generator<MixedRow, void, undefined> {
  for (const { taskId, example } of examples) {
    for (const features of tasks[taskId]!.featurize(example, training)) yield { taskId, features };
  }
}

/** Rows to append so that whole batches result, as the reference does. */
export function paddingRows(rows: number, batchSize: number, taskCount: number): MixedRow[] {
  const missing = (batchSize - (rows % batchSize)) % batchSize;
  return new Array<MixedRow>(missing).fill({ taskId: taskCount, features: null });
}
