import { parentPort, workerData } from "node:worker_threads";
import { ElectraError } from "../../errors.js";
import type { EncodedRows } from "./feature-file.js";
import {
  type MakeRowsOptions,
  makeRows,
  type NumberedExample,
  type TaskRecipe,
  tasksOf,
} from "./feature-maker.js";

export interface FeatureWorkerData extends MakeRowsOptions {
  readonly recipe: TaskRecipe;
}

export interface FeatureWorkerRequest {
  readonly slice: number;
  readonly examples: readonly NumberedExample[];
}

/** Errors cross as plain data: a clone would lose their class. */
export type FeatureWorkerReply =
  | { readonly kind: "rows"; readonly slice: number; readonly rows: EncodedRows }
  | {
      readonly kind: "failed";
      readonly message: string;
      readonly code?: string;
      readonly hint?: string | undefined;
      readonly exitCode?: 1 | 2;
    };

function main(port: NonNullable<typeof parentPort>): void {
  const { recipe, ...options } = workerData as FeatureWorkerData;
  const tasks = tasksOf(recipe);
  port.on("message", async ({ slice, examples }: FeatureWorkerRequest) => {
    try {
      const rows = makeRows(await tasks, examples, options);
      const reply: FeatureWorkerReply = { kind: "rows", slice, rows };
      port.postMessage(reply, [rows.bytes.buffer, rows.rowBytes.buffer, rows.rowExample.buffer]);
    } catch (error) {
      const reply: FeatureWorkerReply =
        error instanceof ElectraError
          ? {
              kind: "failed",
              message: error.message,
              code: error.code,
              hint: error.hint,
              exitCode: error.exitCode,
            }
          : {
              kind: "failed",
              message: error instanceof Error ? (error.stack ?? error.message) : String(error),
            };
      port.postMessage(reply);
    }
  });
}

if (parentPort !== null) main(parentPort);
