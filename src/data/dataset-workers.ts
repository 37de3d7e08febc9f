import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { ElectraError } from "../errors.js";
import type { DatasetCounts } from "./dataset-counts.js";
import type { DatasetWorkerMessage } from "./dataset-worker.js";
import { type AnyJob, type AnyJobResult, runJob } from "./run-job.js";

/** Options of {@link runDatasetJobs}. */
export interface RunDatasetJobsOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (job: number, counts: DatasetCounts) => void;
}

/**
 * Runs all jobs, each in a worker thread of its own; a single job runs in this thread. The first failure stops the others.
 */
export async function runDatasetJobs(
  jobs: readonly AnyJob[],
  options: RunDatasetJobsOptions = {},
): Promise<readonly AnyJobResult[]> {
  const script = new URL("./dataset-worker.js", import.meta.url);
  // Node 20 cannot load TypeScript in a worker. When this module runs from its TypeScript source (under a test runner)
  // there is no compiled worker beside it, and the jobs run one after another in this thread: jobs are independent and
  // deterministic, so the files are the same.
  if (jobs.length === 1 || !existsSync(script)) {
    const results: AnyJobResult[] = [];
    for (const [index, job] of jobs.entries()) {
      results.push(
        await runJob(job, {
          ...(options.signal === undefined ? {} : { signal: options.signal }),
          onProgress: (counts) => options.onProgress?.(index, counts),
        }),
      );
    }
    return results;
  }
  const running: Worker[] = [];
  try {
    return await Promise.all(
      jobs.map((job, index) => {
        const worker = new Worker(script, { workerData: job });
        running.push(worker);
        return workerResult(worker, index, options);
      }),
    );
  } finally {
    await Promise.all(running.map((worker) => worker.terminate()));
  }
}

function workerResult(worker: Worker, index: number, options: RunDatasetJobsOptions): Promise<AnyJobResult> {
  return new Promise((resolve, reject) => {
    const { signal } = options;
    const onAbort = (): void => reject(signal?.reason);
    if (signal?.aborted) {
      onAbort();
    }
    signal?.addEventListener("abort", onAbort, { once: true });
    worker.on("message", (message: DatasetWorkerMessage) => {
      if (message.kind === "progress") {
        options.onProgress?.(index, message.counts);
      } else if (message.kind === "done") {
        options.onProgress?.(index, message.result.counts);
        resolve(message.result);
      } else {
        reject(failure(message));
      }
    });
    worker.on("error", reject);
    worker.on("exit", (code) => {
      signal?.removeEventListener("abort", onAbort);
      // Without effect when the job has ended.
      reject(
        new ElectraError(
          "ERR_ELECTRA_DATASET_WORKER",
          `dataset worker ${index} ended early with exit code ${code}`,
        ),
      );
    });
  });
}

function failure(message: Extract<DatasetWorkerMessage, { kind: "failed" }>): Error {
  if (message.code !== undefined) {
    return new ElectraError(message.code as `ERR_ELECTRA_${string}`, message.message, {
      ...(message.hint === undefined ? {} : { hint: message.hint }),
      ...(message.exitCode === undefined ? {} : { exitCode: message.exitCode }),
    });
  }
  const error = new Error(message.message);
  if (message.stack !== undefined) {
    error.stack = message.stack;
  }
  return error;
}
