import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { ElectraError } from "../../errors.js";
import type { Task } from "../task.js";
import type { EncodedRows } from "./feature-file.js";
import { type MakeRowsOptions, makeRows, type NumberedExample, type TaskRecipe } from "./feature-maker.js";
import type { FeatureWorkerData, FeatureWorkerReply, FeatureWorkerRequest } from "./feature-worker.js";

export interface ProduceRowsOptions extends MakeRowsOptions {
  /** By their number. */
  readonly tasks: readonly Task[];
  readonly examples: readonly NumberedExample[];
  /** Makes the tasks again in worker threads; without it everything happens in this thread. */
  readonly recipe?: TaskRecipe | undefined;
  /** Default: one less than the machine has processors, at most 8. */
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Examples of a message to a worker, and of one turn in this thread. */
const SLICE = 256;
const SLICE_HERE = 32;
/** Below so many examples a worker would still be starting when this thread is done. */
const WORTH_WORKERS = 4 * SLICE;
const MOST_WORKERS = 8;
/** Slices that a worker has at once, and how far ahead of the slowest the others may be. */
const AHEAD = 2;

/**
 * Makes the rows of all examples, in their order, however many workers there are. Without a recipe, or where there is too
 * little to do, it happens in this thread, a few examples a turn, so that everything else goes on.
 */
export async function* produceRows(
  options: ProduceRowsOptions,
): AsyncGenerator<EncodedRows, void, undefined> {
  const { recipe, examples, workers = Math.min(MOST_WORKERS, availableParallelism() - 1) } = options;
  const script = new URL("./feature-worker.js", import.meta.url);
  // Run from its TypeScript source (under a test runner) this module has no compiled worker beside it.
  const useful = Math.min(workers, Math.ceil(examples.length / WORTH_WORKERS));
  if (recipe === undefined || useful < 1 || examples.length < WORTH_WORKERS || !existsSync(script)) {
    yield* produceHere(options);
    return;
  }
  const { training, keepWindows, signal } = options;
  const workerData: FeatureWorkerData = { recipe, training, keepWindows };
  // Flags of this process, such as --input-type, are about its own script.
  const pool = new WorkerPool(
    Array.from({ length: useful }, () => new Worker(script, { workerData, execArgv: [] })),
    signal,
  );
  try {
    yield* produceWith(pool, options);
  } finally {
    await pool.end();
  }
}

async function* produceHere(options: ProduceRowsOptions): AsyncGenerator<EncodedRows, void, undefined> {
  const { tasks, examples, signal } = options;
  for (let first = 0; first < examples.length; first += SLICE_HERE) {
    signal?.throwIfAborted();
    yield makeRows(tasks, examples.slice(first, first + SLICE_HERE), options);
    await setImmediate();
  }
}

async function* produceWith(
  pool: WorkerPool,
  { examples }: ProduceRowsOptions,
): AsyncGenerator<EncodedRows, void, undefined> {
  const slices = Math.ceil(examples.length / SLICE);
  const most = 2 * AHEAD * pool.size;
  let asked = 0;
  for (let slice = 0; slice < slices; slice++) {
    for (; asked < slices && asked < slice + most; asked++) {
      pool.ask({ slice: asked, examples: examples.slice(asked * SLICE, (asked + 1) * SLICE) });
    }
    yield await pool.answer(slice);
  }
}

/** Slices go round the workers; answers are taken in order. */
class WorkerPool {
  readonly #workers: readonly Worker[];
  readonly #answers = new Map<number, EncodedRows>();
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => this.#wake();
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor(workers: readonly Worker[], signal: AbortSignal | undefined) {
    this.#workers = workers;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
    for (const worker of workers) {
      worker.on("message", (reply: FeatureWorkerReply) => {
        if (reply.kind === "rows") this.#answers.set(reply.slice, reply.rows);
        else this.#failure ??= failureOf(reply);
        this.#wake();
      });
      worker.on("error", (error) => this.#fail(error));
      worker.on("exit", (code) =>
        this.#fail(
          new ElectraError(
            "ERR_ELECTRA_FEATURE_WORKER",
            `a worker that makes features ended with exit code ${code}`,
          ),
        ),
      );
    }
  }

  get size(): number {
    return this.#workers.length;
  }

  ask(request: FeatureWorkerRequest): void {
    this.#workers[request.slice % this.size]!.postMessage(request);
  }

  async answer(slice: number): Promise<EncodedRows> {
    for (;;) {
      this.#signal?.throwIfAborted();
      const rows = this.#answers.get(slice);
      if (rows !== undefined) {
        this.#answers.delete(slice);
        return rows;
      }
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async end(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }
}

function failureOf(reply: Extract<FeatureWorkerReply, { kind: "failed" }>): Error {
  const { message, code, hint, exitCode } = reply;
  if (code === undefined) return new Error(message);
  return new ElectraError(code as `ERR_ELECTRA_${string}`, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(exitCode === undefined ? {} : { exitCode }),
  });
}
