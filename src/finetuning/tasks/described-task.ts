import { resolve } from "node:path";
import { ElectraError } from "../../errors.js";
import type { Column } from "../reading/table-rows.js";
import type { Split, Task } from "../task.js";
import { type QuestionFileFormat, QuestionTask } from "./question-task.js";
import type { SentenceMetric } from "./sentence-scorer.js";
import { isUnlabelled, type SentenceTarget, SentenceTask } from "./sentence-task.js";
import type { TaggedFileFormat } from "./tagged-file.js";
import { TaggingTask } from "./tagging-task.js";
import type { TaskDescription } from "./task-description.js";
import type { TaskSettings } from "./task-settings.js";

type Described<Type extends TaskDescription["type"]> = Extract<TaskDescription, { type: Type }>;

/**
 * The task that a description describes.
 *
 * @param folder where its files lie, absolute
 * @param place path of the description, for messages
 * @throws ElectraError `ERR_ELECTRA_TASK_FILE` for what no schema can express
 */
export function describedTask(
  name: string,
  description: TaskDescription,
  folder: string,
  place: string,
  settings: TaskSettings,
): Task {
  const paths = Object.entries(description.files).map(
    ([split, file]) => [split, resolve(folder, file)] as const,
  );
  const splits = paths.map(([split]) => split).filter((split) => split !== "train");
  const common = {
    name,
    devSplits: splits.filter((split) => !isUnlabelled(split)),
    testSplits: splits.filter(isUnlabelled),
  };
  if (description.type === "tags") {
    return new TaggingTask(
      {
        ...common,
        level: description.metric === "span_f1" ? "span" : "word",
        format: taggedFormat(description, place),
        files: Object.fromEntries(paths.map(([split, path]) => [split, [path]])),
      },
      settings,
    );
  }
  if (description.type === "spans") {
    return new QuestionTask(
      {
        ...common,
        metric: description.metric,
        format: questionFormat(description, place),
        files: Object.fromEntries(paths.map(([split, path]) => [split, [path]])),
        strict: true,
      },
      settings,
    );
  }
  const { columns, format, header } = description;
  checkNumbered(Object.values(columns), header || format === "jsonl", place);
  const textB = "text_b" in columns ? columns.text_b : undefined;
  const file = (split: Split, path: string) => ({
    candidates: [path],
    format,
    header: header && format !== "jsonl",
    textA: columns.text,
    ...(textB === undefined ? {} : { textB }),
    ...(isUnlabelled(split) ? {} : { label: columns.label }),
  });
  return new SentenceTask(
    {
      ...common,
      target: targetOf(description),
      metrics: metricsOf(description),
      files: Object.fromEntries(paths.map(([split, path]) => [split, file(split, path)])),
      unordered: "unordered" in description && description.unordered && textB !== undefined,
    },
    settings,
  );
}

type SentenceDescription = Described<"class" | "pair" | "multi-label" | "regression">;

function targetOf(description: SentenceDescription): SentenceTarget {
  if (description.type === "regression") {
    const [minimum, maximum] = description.range;
    return { kind: "regression", minimum, maximum };
  }
  const labels = description.labels === undefined ? {} : { labels: description.labels };
  if (description.type === "multi-label") {
    return { kind: "multi-label", separator: description.separator, ...labels };
  }
  return { kind: "classification", ...labels };
}

function metricsOf(description: SentenceDescription): readonly SentenceMetric[] {
  if (description.type !== "class" && description.type !== "pair") return [];
  return typeof description.metric === "string" ? [description.metric] : description.metric;
}

function taggedFormat({ format, header, columns }: Described<"tags">, place: string): TaggedFileFormat {
  if (format !== "conll") {
    if (columns === undefined) throw needs(place, `format "${format}" needs columns with words and tags`);
    checkNumbered(Object.values(columns), header || format === "jsonl", place);
    return { kind: format, header: header && format !== "jsonl", ...columns };
  }
  const { words = 0, tags = -1 } = columns ?? {};
  if (typeof words === "number" && typeof tags === "number") {
    return { kind: "conll", wordColumn: words, tagColumn: tags };
  }
  throw needs(place, "the columns of a conll file have no names: give numbers");
}

function questionFormat({ format, header, columns }: Described<"spans">, place: string): QuestionFileFormat {
  if (format === "squad" || format === "mrqa") return { kind: format };
  if (columns === undefined) {
    throw needs(place, `format "${format}" needs columns with question, context and answer`);
  }
  const { id, question, context, answer, answer_start: answerStart } = columns;
  const given = { id, answer, answerStart };
  const present = Object.fromEntries(Object.entries(given).filter(([, column]) => column !== undefined));
  checkNumbered([question, context, ...Object.values(present)], header || format === "jsonl", place);
  return {
    kind: format,
    header: header && format !== "jsonl",
    columns: { question, context, ...(present as { readonly [name in keyof typeof given]?: Column }) },
  };
}

function checkNumbered(columns: readonly (Column | undefined)[], named: boolean, place: string): void {
  if (named || columns.every((column) => typeof column !== "string")) return;
  throw needs(place, "without a header the columns have no names: give numbers");
}

function needs(place: string, what: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_TASK_FILE", `${place}: ${what}.`, {
    hint: "docs/finetuning.md shows a description of each type.",
    exitCode: 2,
  });
}
