import { join } from "node:path";
import type { JsonValue } from "../../checkpoint/training-state.js";
import { SeededRandomSource } from "../../data/random-source.js";
import { shuffled } from "../../data/seeded-shuffle.js";
import { type MixedRow, mixedExamples } from "../features/mixed-examples.js";
import type { BadRowSummary } from "../reading/bad-rows.js";
import type { Task, TaskFeatures } from "../task.js";
import {
  type FeatureFile,
  type FeatureFileInfo,
  FeatureFileWriter,
  openFeatureFile,
} from "./feature-file.js";
import { type FeatureKey, type FeatureKeyOptions, featureKey, keyName } from "./feature-key.js";
import type { NumberedExample, TaskRecipe } from "./feature-maker.js";
import { produceRows } from "./feature-producer.js";
import { decodeRow } from "./row-codec.js";

export interface OpenFeaturesOptions extends FeatureKeyOptions {
  /** All tasks of the run, by number; `tasks` are those of them whose rows are wanted. */
  readonly allTasks: readonly Task[];
  /** Shuffle the examples of the tasks together. */
  readonly shuffleSeed?: number;
  /** Keep what scoring needs to know of the parts of a context. */
  readonly keepWindows: boolean;
  readonly recipe?: TaskRecipe | undefined;
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told what a person may want to know. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/**
 * The rows of a split of some tasks, from a file of an earlier run or made now, in which case the first can be read while
 * the last are still being made.
 */
export class FeatureStore {
  /** Undefined if a task does not say what it is made of. */
  readonly key: FeatureKey | undefined;
  readonly examples: number;
  /** What was left out, by task. */
  readonly skipped: readonly BadRowSummary[];
  /** Whether the rows are those of an earlier run. */
  readonly cached: boolean;
  readonly #file: FeatureFile;
  readonly #making: Making | undefined;
  readonly #shuffleSeed: number | undefined;
  readonly #fileSeed: number | null;
  #order: Uint32Array | undefined;

  private constructor(parts: {
    readonly key: FeatureKey | undefined;
    readonly file: FeatureFile;
    readonly info: Omit<FeatureFileInfo, "key">;
    readonly shuffleSeed: number | undefined;
    readonly making?: Making;
  }) {
    this.key = parts.key;
    this.examples = parts.info.examples;
    this.skipped = parts.info.skipped;
    this.cached = parts.making === undefined;
    this.#file = parts.file;
    this.#fileSeed = parts.info.shuffleSeed;
    this.#shuffleSeed = parts.shuffleSeed;
    this.#making = parts.making;
  }

  /** @throws ElectraError for rows that cannot be used, missing files, an unwritable folder */
  static async open(options: OpenFeaturesOptions): Promise<FeatureStore> {
    const { tasks, split, hparams, shuffleSeed, onNote } = options;
    const key = await featureKey(options);
    const name = `${tasks
      .map((task) => task.name)
      .sort()
      .join("_")}_${split}`;
    const path = join(
      hparams.preprocessed_data_dir,
      `${name}-${key === undefined ? `${process.pid}` : keyName(key)}.features`,
    );
    onNote?.(`Loading dataset ${name}`);
    if (key !== undefined && hparams.use_tfrecords_if_existing) {
      const found = await openFeatureFile(path, key as unknown as JsonValue);
      if (found !== undefined && !("unusable" in found)) {
        return new FeatureStore({ key, file: found, info: found, shuffleSeed });
      }
      if (found !== undefined) onNote?.(`${path} is not used and made again: ${found.unusable}`);
    }
    const { examples, skipped } = await mixedExamples(tasks, split);
    const numbers = examples.map((_, number) => number);
    const order =
      shuffleSeed === undefined ? numbers : shuffled(numbers, new SeededRandomSource(shuffleSeed));
    const numbered = order.map((number): NumberedExample => {
      const { taskId, example } = examples[number]!;
      return { taskId: options.taskIds[taskId]!, number, example };
    });
    onNote?.(`Making the features of ${examples.length} examples`);
    const file = await FeatureFileWriter.create(path);
    const info = { examples: examples.length, skipped, shuffleSeed: shuffleSeed ?? null };
    const making = new Making(file, numbered, info, key, options);
    return new FeatureStore({ key, file, info, shuffleSeed, making });
  }

  /** Rows in all, known at once where every example has one row. Waits for it otherwise. */
  async rowCount(): Promise<number> {
    return (await this.#making?.total) ?? this.#file.rows;
  }

  /** Row `row` of the order: the examples as shuffled, of each its rows. */
  async row(row: number): Promise<MixedRow & { readonly features: TaskFeatures }> {
    const place = await this.#place(row);
    if (this.#making !== undefined) await this.#making.until(place);
    return decodeRow(this.#file.read(place));
  }

  /** Until the last row is made and written. */
  async complete(): Promise<void> {
    await this.#making?.complete;
  }

  async close(): Promise<void> {
    await this.#making?.stop();
    this.#file.close();
  }

  async #place(row: number): Promise<number> {
    if (this.#fileSeed === (this.#shuffleSeed ?? null)) return row;
    this.#order ??= orderOfRows(this.#file.rowExample, this.examples, this.#shuffleSeed);
    return this.#order[row]!;
  }
}

/** Places of the rows in a file whose examples stand in another order. */
function orderOfRows(rowExample: Uint32Array, examples: number, seed: number | undefined): Uint32Array {
  const first = new Uint32Array(examples);
  const count = new Uint32Array(examples);
  for (const [row, example] of rowExample.entries()) {
    if (count[example] === 0) first[example] = row;
    count[example]!++;
  }
  const numbers = Array.from({ length: examples }, (_, number) => number);
  const order = seed === undefined ? numbers : shuffled(numbers, new SeededRandomSource(seed));
  const places = new Uint32Array(rowExample.length);
  let at = 0;
  for (const example of order) {
    for (let i = 0; i < count[example]!; i++) places[at++] = first[example]! + i;
  }
  return places;
}

/** Rows on their way into a file. */
class Making {
  readonly complete: Promise<void>;
  /** Rows that there will be. */
  readonly total: Promise<number>;
  readonly #file: FeatureFileWriter;
  readonly #controller = new AbortController();
  #failure: unknown;
  #finished = false;
  #waiting: (() => void)[] = [];

  constructor(
    file: FeatureFileWriter,
    examples: readonly NumberedExample[],
    info: Omit<FeatureFileInfo, "key">,
    key: FeatureKey | undefined,
    options: OpenFeaturesOptions,
  ) {
    this.#file = file;
    this.complete = this.#make(examples, info, key, options);
    // A failure is met by whoever waits for rows; until then it must not count as unhandled.
    this.complete.catch(() => undefined);
    const known = options.tasks.every(({ oneRow }) => oneRow === true);
    this.total = known ? Promise.resolve(examples.length) : this.complete.then(() => file.rows);
    this.total.catch(() => undefined);
  }

  /** Until the row can be read. */
  async until(row: number): Promise<void> {
    while (row >= this.#file.rows) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#finished) throw new RangeError(`there is no row ${row} among ${this.#file.rows}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async stop(): Promise<void> {
    this.#controller.abort();
    await this.complete.catch(() => undefined);
  }

  async #make(
    examples: readonly NumberedExample[],
    info: Omit<FeatureFileInfo, "key">,
    key: FeatureKey | undefined,
    { allTasks: tasks, split, keepWindows, recipe, workers, signal }: OpenFeaturesOptions,
  ): Promise<void> {
    const stopped = this.#controller.signal;
    try {
      const rows = produceRows({
        tasks,
        examples,
        training: split === "train",
        keepWindows,
        recipe,
        workers,
        signal: signal === undefined ? stopped : AbortSignal.any([signal, stopped]),
      });
      for await (const some of rows) {
        await this.#file.append(some);
        this.#wake();
      }
      await this.#file.finish({ ...info, key: (key ?? null) as unknown as JsonValue }, key !== undefined);
    } catch (error) {
      this.#failure = error;
      await this.#file.discard();
      throw error;
    } finally {
      this.#finished = true;
      this.#wake();
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
