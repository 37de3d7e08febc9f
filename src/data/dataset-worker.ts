import { parentPort, workerData } from "node:worker_threads";
import { ElectraError } from "../errors.js";
import type { DatasetCounts } from "./dataset-counts.js";
import { type AnyJob, type AnyJobResult, runJob } from "./run-job.js";

/** What a dataset worker tells the main thread. Errors cross as plain data: a clone would lose their class. */
export type DatasetWorkerMessage =
  | { readonly kind: "progress"; readonly counts: DatasetCounts }
  | { readonly kind: "done"; readonly result: AnyJobResult }
  | {
      readonly kind: "failed";
      readonly message: string;
      readonly code?: string;
      readonly hint?: string | undefined;
      readonly exitCode?: 1 | 2;
      readonly stack?: string | undefined;
    };

/** Milliseconds between two progress messages. */
const progressInterval = 200;

async function main(port: NonNullable<typeof parentPort>): Promise<void> {
  const post = (message: DatasetWorkerMessage): void => port.postMessage(message);
  let last = Date.now();
  try {
    const result = await runJob(workerData as AnyJob, {
      onProgress: (counts) => {
        const now = Date.now();
        if (now - last >= progressInterval) {
          last = now;
          post({ kind: "progress", counts });
        }
      },
    });
    post({ kind: "done", result });
  } catch (error) {
    if (error instanceof ElectraError) {
      const { message, code, hint, exitCode } = error;
      post({ kind: "failed", message, code, hint, exitCode });
    } else {
      post({
        kind: "failed",
        message: String(error),
        stack: error instanceof Error ? error.stack : undefined,
      });
    }
  }
}

if (parentPort !== null) {
  await main(parentPort);
}
