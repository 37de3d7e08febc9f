import { resolve } from "node:path";
import { ElectraError } from "../../errors.js";
import { fillPlace } from "../../hparams/finetuning-places.js";
import { nearestNames } from "../../hparams/nearest-names.js";
import { existingTaskFile } from "../reading/task-file.js";
import type { Task } from "../task.js";
import { chunkTask } from "./chunk-task.js";
import { glueTasks } from "./glue-tasks.js";
import { QuestionTask } from "./question-task.js";
import { questionTasks } from "./question-tasks.js";
import { readTaskFile, type TaskSource } from "./read-task-file.js";
import { referenceTaskNames } from "./reference-task-names.js";
import { SentenceTask } from "./sentence-task.js";
import { TaggingTask } from "./tagging-task.js";
import type { TaskSettings } from "./task-settings.js";

/**
 * The tasks of a run, in the order of `task_names`: those that are given, those of the reference, and those described in
 * `<data-dir>/finetuning_data/<name>/task.json`.
 *
 * @throws ElectraError `ERR_ELECTRA_TASK` for an unknown name
 *
 * @example
 * const tasks = await createTasks({ hparams, tokenizer }, [await readTaskFile("tickets.json")]);
 */
export async function createTasks(
  settings: TaskSettings,
  own: readonly TaskSource[] = [],
): Promise<readonly Task[]> {
  return await Promise.all(settings.hparams.task_names.map((name) => createTask(name, settings, own)));
}

/** One task by its name; see {@link createTasks}. */
export async function createTask(
  name: string,
  settings: TaskSettings,
  own: readonly TaskSource[] = [],
): Promise<Task> {
  const given = own.find((source) => source.name === name);
  if (given !== undefined) return await given.create(settings);
  const sentences = glueTasks(settings.hparams).find((description) => description.name === name);
  if (sentences !== undefined) return new SentenceTask(sentences, settings);
  const questions = questionTasks.find((description) => description.name === name);
  if (questions !== undefined) return new QuestionTask(questions, settings);
  if (name === chunkTask.name) return new TaggingTask(chunkTask, settings);
  const folder = fillPlace(settings.hparams.raw_data_dir, { task: name });
  const file = await existingTaskFile({ task: name, split: "", candidates: ["task.json"], folder });
  if (file === undefined) throw unknownTask(name, folder);
  const found = await readTaskFile(file);
  if (found.name === name) return await found.create(settings);
  throw new ElectraError("ERR_ELECTRA_TASK", `${file} describes the task ${found.name}, not ${name}.`, {
    hint: `Rename the folder, or leave "name" out.`,
    exitCode: 2,
  });
}

function unknownTask(name: string, folder: string): ElectraError {
  const near = nearestNames(name, referenceTaskNames);
  return new ElectraError("ERR_ELECTRA_TASK", `Unknown task ${name}.`, {
    hint:
      near.length > 0
        ? `Did you mean ${near.join(" or ")}? A task of your own is described in ${resolve(folder, "task.json")}.`
        : `Describe it in ${resolve(folder, "task.json")}, or take one of the reference's: ${referenceTaskNames.join(", ")}.`,
    exitCode: 2,
  });
}
