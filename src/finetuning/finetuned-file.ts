import { ElectraError } from "../errors.js";
import type { FinetuningHparams } from "../hparams/finetuning-hparams.js";
import { type FinetuningHparamName, finetuningSchema } from "../hparams/finetuning-schema.js";
import { savedTaskSchema } from "./heads/head-schema.js";
import type { TaskHead } from "./task.js";

/** A task that a fine-tuned model knows. */
export interface FinetunedTask {
  /** Its variables are `task_specific/<name>/…`. */
  readonly name: string;
  /** With the labels, in the order of the logits. */
  readonly head: TaskHead;
}

/** `finetuning.json` beside a fine-tuned model's weights: what the heads mean, and how they were made. */
export interface FinetunedFile {
  readonly format: 1;
  readonly tasks: readonly FinetunedTask[];
  /** All of them, resolved. */
  readonly hparams: FinetuningHparams;
  /** From 1. */
  readonly trial: number;
  /** By task and metric; null before the evaluation. */
  readonly results: Readonly<Record<string, Readonly<Record<string, number | null>>>> | null;
}

export function formatFinetunedFile({
  tasks,
  hparams,
  trial,
  results,
}: Omit<FinetunedFile, "format">): string {
  return `${JSON.stringify({ format: 1, tasks, hparams, trial, results }, null, 2)}\n`;
}

/** Settings that a model is used with, besides its heads. */
const USED = [
  "max_seq_length",
  "do_lower_case",
  "max_query_length",
  "doc_stride",
  "n_best_size",
  "max_answer_length",
  "qa_na_threshold",
  "tagging_follows_case",
  "tagging_cuts_by_pieces",
] as const satisfies readonly FinetuningHparamName[];

/** @throws ElectraError `ERR_ELECTRA_FINETUNED_FILE` with the path and what is wrong */
export function parseFinetunedFile(text: string, path: string): FinetunedFile {
  let document: Partial<FinetunedFile> | null;
  try {
    document = JSON.parse(text) as Partial<FinetunedFile> | null;
  } catch (cause) {
    throw broken(path, `is no valid JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof document !== "object" || document === null) throw broken(path, "is no JSON object");
  if (document.format !== 1) {
    throw broken(path, `has format ${JSON.stringify(document.format)}, this version reads 1`);
  }
  const { tasks, hparams, trial, results = null } = document;
  if (!Array.isArray(tasks) || tasks.length === 0) throw broken(path, "names no tasks");
  for (const task of tasks as readonly unknown[]) {
    const { error } = savedTaskSchema().safeParse(task);
    if (error === undefined) continue;
    const [issue] = error.issues;
    const shown = JSON.stringify(task).slice(0, 120);
    throw broken(path, `has a task that is none (${issue!.path.join(".")}: ${issue!.message}): ${shown}`);
  }
  const twice = tasks.find(({ name }, i) => tasks.findIndex((other) => other.name === name) !== i);
  if (twice !== undefined) throw broken(path, `has the task ${twice.name} twice`);
  if (typeof hparams !== "object" || hparams === null) throw broken(path, "has no hparams");
  for (const name of USED) {
    const value = hparams[name];
    // The schema would take a missing one for its default.
    if (value !== undefined && finetuningSchema().shape[name].safeParse(value).success) continue;
    throw broken(path, `has the hparam ${name} as ${JSON.stringify(value)}`);
  }
  if (!Number.isSafeInteger(trial)) throw broken(path, `has the trial ${JSON.stringify(trial)}`);
  return { format: 1, tasks, hparams, trial: trial!, results };
}

function broken(path: string, what: string, cause?: unknown): ElectraError {
  return new ElectraError("ERR_ELECTRA_FINETUNED_FILE", `${path} ${what}.`, {
    hint: "The model is damaged or was written by another version: fine-tune again, or take another checkpoint.",
    ...(cause === undefined ? {} : { cause }),
  });
}
