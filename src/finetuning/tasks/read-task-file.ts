import { readFile } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { z } from "zod";
import { ElectraError } from "../../errors.js";
import { nearestNames } from "../../hparams/nearest-names.js";
import type { Task } from "../task.js";
import { describedTask } from "./described-task.js";
import { taskDescriptionSchema } from "./task-description.js";
import type { TaskSettings } from "./task-settings.js";

/** A task that is still to be made; also what a program's own module exports as its default. */
export interface TaskSource {
  readonly name: string;
  create(settings: TaskSettings): Task | Promise<Task>;
}

/**
 * Reads a task of one's own: a description in JSON, or a module (`.mjs`, `.js`) whose default export is a
 * {@link TaskSource}.
 *
 * @throws ElectraError `ERR_ELECTRA_TASK_FILE` with the path and what is wrong
 */
export async function readTaskFile(path: string): Promise<TaskSource> {
  const absolute = resolve(path);
  return /\.[cm]?js$/.test(path) ? await importTask(absolute) : await describeTask(absolute);
}

async function describeTask(path: string): Promise<TaskSource> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw failure(
      path,
      `cannot be read (${(cause as NodeJS.ErrnoException).code})`,
      "Check the path.",
      cause,
    );
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw failure(path, `is no valid JSON: ${reason}`, "Mend the file.", cause);
  }
  const parsed = taskDescriptionSchema().safeParse(value);
  if (!parsed.success) throw explain(path, parsed.error.issues[0]!);
  const folder = dirname(path);
  const isDefault = basename(path) === "task.json";
  const name = parsed.data.name ?? (isDefault ? basename(folder) : basename(path, ".json"));
  return { name, create: (settings) => describedTask(name, parsed.data, folder, path, settings) };
}

async function importTask(path: string): Promise<TaskSource> {
  const module = (await import(pathToFileURL(path).href).catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw failure(path, `cannot be imported: ${reason}`, "Does the module run by itself?", cause);
  })) as { readonly default?: Partial<TaskSource> };
  const { name, create } = module.default ?? {};
  if (typeof name === "string" && typeof create === "function") return module.default as TaskSource;
  throw failure(path, "exports no task", "Export { name, create(settings) } as the default.");
}

function explain(path: string, issue: z.core.$ZodIssue): ElectraError {
  const where = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const [key = ""] = issue.keys;
    const near = nearestNames(key, keys());
    return failure(
      path,
      `knows no "${where === "" ? key : `${where}.${key}`}"`,
      near.length > 0 ? `Did you mean ${near.map((name) => `"${name}"`).join(" or ")}?` : "Remove it.",
    );
  }
  const hint =
    issue.code === "invalid_union"
      ? `"type" is one of ${taskDescriptionSchema()
          .options.map(({ shape }) => `"${shape.type.value}"`)
          .join(", ")}.`
      : "The JSON Schema of the package (task.schema.json) says what belongs there.";
  return failure(path, `${where === "" ? "the whole" : `"${where}"`}: ${issue.message}`, hint);
}

/** All keys of all types, for suggestions. */
const keys = (): readonly string[] => [
  ...new Set([
    ...taskDescriptionSchema().options.flatMap(({ shape }) => Object.keys(shape)),
    ...["text", "text_b", "label", "words", "tags", "id", "question", "context", "answer", "answer_start"],
  ]),
];

function failure(path: string, what: string, hint: string, cause?: unknown): ElectraError {
  return new ElectraError("ERR_ELECTRA_TASK_FILE", `The task file ${path} ${what}.`, {
    hint,
    exitCode: 2,
    ...(cause === undefined ? {} : { cause }),
  });
}
