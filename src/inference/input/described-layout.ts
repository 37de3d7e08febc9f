import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { FinetunedTask } from "../../finetuning/finetuned-file.js";
import { type TaskDescription, taskDescriptionSchema } from "../../finetuning/tasks/task-description.js";
import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";
import { fillPlace } from "../../hparams/finetuning-places.js";
import type { InputColumns, InputLayout } from "./input-layout.js";

export interface DescribedLayoutOptions {
  /** Path, or `-`. */
  readonly source: string;
  readonly task: FinetunedTask;
  readonly hparams: Pick<FinetuningHparams, "raw_data_dir">;
}

/**
 * The layout of a file of a task of one's own, as the `task.json` says that the task was trained by, if that is still there and
 * the file is called as one of its files.
 */
export async function describedLayout({
  source,
  task,
  hparams,
}: DescribedLayoutOptions): Promise<InputLayout | undefined> {
  if (source === "-") return undefined;
  const place = join(fillPlace(hparams.raw_data_dir, { task: task.name }), "task.json");
  const description = await readDescription(place);
  if (description === undefined) return undefined;
  const isOwn = Object.values(description.files).some((file) => basename(file) === basename(source));
  if (!isOwn) return undefined;
  const { format, header } = description;
  return { format, header, columns: columnsOf(description), note: `read as ${place} says` };
}

/** Undefined without a description that makes sense: then the file is read like any other. */
async function readDescription(place: string): Promise<TaskDescription | undefined> {
  try {
    return taskDescriptionSchema().parse(JSON.parse(await readFile(place, "utf8")));
  } catch {
    return undefined;
  }
}

function columnsOf(description: TaskDescription): InputColumns | undefined {
  if (description.type === "tags") {
    const { words = 0 } = description.columns ?? {};
    return { words };
  }
  if (description.type === "spans") {
    if (description.columns === undefined) return undefined;
    const { question, context, id } = description.columns;
    return { question, context, ...(id === undefined ? {} : { id }) };
  }
  const { columns } = description;
  const textB = "text_b" in columns ? columns.text_b : undefined;
  return { text: columns.text, ...(textB === undefined ? {} : { text_b: textB }) };
}
