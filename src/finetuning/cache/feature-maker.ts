import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";
import { Tokenizer } from "../../tokenization/tokenizer.js";
import { Vocabulary } from "../../tokenization/vocabulary.js";
import type { Task, TaskExample } from "../task.js";
import { createTasks } from "../tasks/create-task.js";
import { readTaskFile } from "../tasks/read-task-file.js";
import type { EncodedRows } from "./feature-file.js";
import { RowEncoder } from "./row-codec.js";

/** An example with its task and its place in the data. */
export interface NumberedExample {
  readonly taskId: number;
  /** Place among the examples of all tasks, in the order of the data. */
  readonly number: number;
  readonly example: TaskExample;
}

/** All that is needed to make the tasks of a run in another thread: plain data. */
export interface TaskRecipe {
  readonly hparams: FinetuningHparams;
  readonly vocabText: string;
  readonly lowerCase: boolean;
  readonly stripAccents: boolean;
  /** Descriptions in JSON. */
  readonly taskFiles: readonly string[];
}

/** The tasks of a run, by their number. */
export async function tasksOf(recipe: TaskRecipe): Promise<readonly Task[]> {
  const { hparams, vocabText, lowerCase, stripAccents } = recipe;
  const vocabulary = Vocabulary.parse(vocabText, { source: hparams.vocab_file });
  const tokenizer = new Tokenizer({ vocabulary, lowerCase, stripAccents });
  const own = await Promise.all(recipe.taskFiles.map(readTaskFile));
  return await createTasks({ hparams, tokenizer }, own);
}

export interface MakeRowsOptions {
  /** Look for what is to be learned, as in the split `train`. */
  readonly training: boolean;
  /** Keep what scoring needs to know of a part of a context. */
  readonly keepWindows: boolean;
}

/** The rows of some examples. @param tasks by their number */
export function makeRows(
  tasks: readonly Task[],
  examples: readonly NumberedExample[],
  { training, keepWindows }: MakeRowsOptions,
): EncodedRows {
  const encoder = new RowEncoder();
  const rowExample: number[] = [];
  for (const { taskId, number, example } of examples) {
    for (const features of tasks[taskId]!.featurize(example, training)) {
      encoder.add(taskId, features, keepWindows);
      rowExample.push(number);
    }
  }
  return { ...encoder.take(), rowExample: Uint32Array.from(rowExample) };
}
