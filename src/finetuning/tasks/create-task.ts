import { ElectraError } from "../../errors.js";
import { nearestNames } from "../../hparams/nearest-names.js";
import type { Task } from "../task.js";
import { chunkTask } from "./chunk-task.js";
import { glueTasks } from "./glue-tasks.js";
import { QuestionTask } from "./question-task.js";
import { questionTasks } from "./question-tasks.js";
import { referenceTaskNames } from "./reference-task-names.js";
import { SentenceTask } from "./sentence-task.js";
import { TaggingTask } from "./tagging-task.js";
import type { TaskSettings } from "./task-settings.js";

/**
 * A task of the reference.
 *
 * @throws ElectraError `ERR_ELECTRA_TASK` for a name that is none
 */
export async function createTask(name: string, settings: TaskSettings): Promise<Task> {
  const sentences = glueTasks(settings.hparams).find((description) => description.name === name);
  if (sentences !== undefined) return new SentenceTask(sentences, settings);
  if (name === chunkTask.name) return new TaggingTask(chunkTask, settings);
  const questions = questionTasks.find((description) => description.name === name);
  if (questions !== undefined) return new QuestionTask(questions, settings);
  throw unknownTask(name);
}

function unknownTask(name: string): ElectraError {
  const near = nearestNames(name, referenceTaskNames);
  return new ElectraError("ERR_ELECTRA_TASK", `Unknown task ${name}.`, {
    hint:
      near.length > 0
        ? `Did you mean ${near.join(" or ")}?`
        : `Tasks of the reference: ${referenceTaskNames.join(", ")}. Describe your own in finetuning_data/${name}/task.json.`,
    exitCode: 2,
  });
}
