import { FeatureStore } from "../cache/feature-store.js";
import type { Split } from "../task.js";
import type { FinetuningSetup } from "./finetuning-setup.js";

export interface RunFeaturesOptions {
  readonly setup: FinetuningSetup;
  /** Threads that make features; see {@link FeatureStore}. */
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onLine: (line: string) => void;
}

/** The features of a run: made or read when they are first needed, and then used by all trials. */
export class RunFeatures {
  readonly #options: RunFeaturesOptions;
  readonly #stores = new Map<string, Promise<FeatureStore>>();

  constructor(options: RunFeaturesOptions) {
    this.#options = options;
  }

  /** Rows of all tasks, mixed. They can be read while the last are still being made, also after an abort. */
  train(): Promise<FeatureStore> {
    const { setup } = this.#options;
    return this.#store("train", undefined, { shuffleSeed: setup.hparams.seed });
  }

  /** All rows of a split of one task. @throws the signal's reason after an abort */
  async split(taskId: number, split: Split): Promise<FeatureStore> {
    const { signal } = this.#options;
    const store = await this.#store(split, taskId, signal === undefined ? {} : { signal });
    await store.complete();
    return store;
  }

  async close(): Promise<void> {
    const stores = await Promise.allSettled(this.#stores.values());
    for (const store of stores) if (store.status === "fulfilled") await store.value.close();
  }

  #store(
    split: Split,
    taskId: number | undefined,
    more: { readonly shuffleSeed?: number; readonly signal?: AbortSignal },
  ): Promise<FeatureStore> {
    const name = `${taskId ?? "all"} ${split}`;
    const known = this.#stores.get(name) ?? this.#open(split, taskId, more);
    this.#stores.set(name, known);
    return known;
  }

  async #open(
    split: Split,
    taskId: number | undefined,
    more: { readonly shuffleSeed?: number; readonly signal?: AbortSignal },
  ): Promise<FeatureStore> {
    const { setup, workers, onLine } = this.#options;
    const taskIds = taskId === undefined ? setup.tasks.map((_, id) => id) : [taskId];
    const store = await FeatureStore.open({
      tasks: taskIds.map((id) => setup.tasks[id]!),
      taskIds,
      allTasks: setup.tasks,
      split,
      tokenizer: setup.tokenizer,
      hparams: setup.hparams,
      keepWindows: split !== "train",
      recipe: setup.recipe,
      workers,
      onNote: onLine,
      ...more,
    });
    for (const [i, { count, rows }] of store.skipped.entries()) {
      if (count === 0) continue;
      const { name } = setup.tasks[taskIds[i]!]!;
      const named = rows.slice(0, 3).map(({ file, place, reason }) => `\n  ${file}, ${place}: ${reason}`);
      onLine(
        `${name}: ${count} of the rows of ${split} left out${named.join("")}${count > 3 ? "\n  …" : ""}`,
      );
    }
    if (setup.hparams.log_examples && store.examples > 0) onLine(await describeFirst(store, setup));
    return store;
  }
}

/** The first example, as `log_examples` asks for it. */
async function describeFirst(store: FeatureStore, { tokenizer, tasks }: FinetuningSetup): Promise<string> {
  const { taskId, features } = await store.row(0);
  const { eid, inputIds, target } = features;
  const tokens = Array.from(inputIds, (id) => tokenizer.vocabulary.tokenOf(id));
  return [
    `*** Example ${eid} of ${tasks[taskId]?.name} ***`,
    `tokens: ${tokens.join(" ")}`,
    `target: ${JSON.stringify(target, (_, value: unknown) => (ArrayBuffer.isView(value) ? Array.from(value as Int32Array) : value))}`,
  ].join("\n");
}
