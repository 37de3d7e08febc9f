import { basename, extname } from "node:path";
import { ElectraError } from "../../errors.js";
import type { FinetunedTask } from "../../finetuning/finetuned-file.js";
import type { Column } from "../../finetuning/reading/table-rows.js";
import type { TaskHead } from "../../finetuning/task.js";
import { chunkTask } from "../../finetuning/tasks/chunk-task.js";
import { glueTasks } from "../../finetuning/tasks/glue-tasks.js";
import { questionTasks } from "../../finetuning/tasks/question-tasks.js";
import type { FinetuningHparams } from "../../hparams/finetuning-hparams.js";

/** How rows to predict can be written. */
export const inputFormats = ["txt", "tsv", "csv", "jsonl", "conll", "squad", "mrqa"] as const;
export type InputFormat = (typeof inputFormats)[number];

/** Names that columns go by; those of a task's description. */
export type InputColumn = "id" | "text" | "text_b" | "words" | "question" | "context";
export type InputColumns = Readonly<Partial<Record<InputColumn, Column>>>;

/** What a file of rows looks like. */
export interface InputLayout {
  readonly format: InputFormat;
  readonly header: boolean;
  /** Undefined: the usual names. */
  readonly columns: InputColumns | undefined;
  /** Whose rule was followed, for the person who gave none. */
  readonly note?: string;
}

export interface InputLayoutOptions {
  /** Path, or `-`. */
  readonly source: string;
  readonly task: FinetunedTask;
  readonly hparams: Pick<FinetuningHparams, "glue_f1" | "mnli_mismatched">;
  readonly format?: InputFormat;
  /** Default true. */
  readonly header?: boolean;
  readonly columns?: InputColumns;
  /** What a description of the task says about this very file. */
  readonly described?: InputLayout | undefined;
}

type Kind = "sentence" | "tags" | "spans";

const FORMATS: Readonly<Record<Kind, readonly InputFormat[]>> = {
  sentence: ["txt", "tsv", "csv", "jsonl"],
  tags: ["txt", "tsv", "csv", "jsonl", "conll"],
  spans: ["tsv", "csv", "jsonl", "squad", "mrqa"],
};

const COLUMNS: Readonly<Record<Kind, readonly InputColumn[]>> = {
  sentence: ["text", "text_b", "id"],
  tags: ["words", "text", "id"],
  spans: ["question", "context", "id"],
};

/** Of each of these groups of columns one must be there. */
const NEEDED: Readonly<Record<Kind, readonly (readonly InputColumn[])[]>> = {
  sentence: [["text"]],
  tags: [["words", "text"]],
  spans: [["question"], ["context"]],
};

const ENDINGS: Readonly<Record<string, InputFormat>> = {
  ".txt": "txt",
  ".tsv": "tsv",
  ".csv": "csv",
  ".jsonl": "jsonl",
  ".ndjson": "jsonl",
  ".conll": "conll",
  ".json": "squad",
};

/**
 * Decides how a file is to be read: as it is told, else by its name. A file that is called as one of the task's own, such as
 * `dev.tsv` of cola, is read as that one.
 *
 * @throws ElectraError `ERR_ELECTRA_USAGE` for a format or column that the task has no use for
 */
export function inputLayout(options: InputLayoutOptions): InputLayout {
  const { source, task, header = true, columns } = options;
  const kind = kindOf(task.head);
  const known = options.format === undefined && columns === undefined && options.header === undefined;
  const own = known ? (options.described ?? ownLayout(options)) : undefined;
  if (own !== undefined) return own;
  const format = options.format ?? formatOf(source, kind);
  if (!FORMATS[kind].includes(format)) {
    throw new ElectraError("ERR_ELECTRA_USAGE", `the task ${task.name} reads no ${format}`, {
      hint: `Give --format with one of ${FORMATS[kind].join(", ")}.`,
      exitCode: 2,
    });
  }
  const strange = Object.keys(columns ?? {}).find((name) => !(COLUMNS[kind] as string[]).includes(name));
  if (strange !== undefined) {
    throw new ElectraError(
      "ERR_ELECTRA_USAGE",
      `the task ${task.name} has no use for a column "${strange}"`,
      {
        hint: `Its columns are ${COLUMNS[kind].join(", ")}.`,
        exitCode: 2,
      },
    );
  }
  const needed = NEEDED[kind].find(
    (names) => columns !== undefined && names.every((name) => columns[name] === undefined),
  );
  if (needed !== undefined) {
    throw new ElectraError("ERR_ELECTRA_USAGE", `the given columns leave out ${needed.join(" and ")}`, {
      hint: `Say where to find ${needed.join(" or ")}: --columns ${needed[0]}=<name or number>,…`,
      exitCode: 2,
    });
  }
  return { format, header, columns };
}

export function kindOf(head: TaskHead): Kind {
  if (head.kind === "span") return "spans";
  return head.kind === "tagging" ? "tags" : "sentence";
}

function formatOf(source: string, kind: Kind): InputFormat {
  if (source === "-") return kind === "spans" ? "jsonl" : "txt";
  const format = ENDINGS[extname(source.replace(/\.gz$/, "")).toLowerCase()];
  if (format !== undefined) return format;
  throw new ElectraError("ERR_ELECTRA_USAGE", `the name of ${source} does not say how it is written`, {
    hint: `Give --format with one of ${FORMATS[kind].join(", ")}.`,
    exitCode: 2,
  });
}

/** The layout of a file of one of the reference's tasks. */
function ownLayout({ source, task, hparams }: InputLayoutOptions): InputLayout | undefined {
  if (source === "-") return undefined;
  const isCalled = (candidates: readonly string[]) =>
    candidates.some((candidate) => basename(candidate) === basename(source));
  const glue = glueTasks(hparams).find(({ name }) => name === task.name);
  for (const [split, file] of Object.entries(glue?.files ?? {})) {
    if (!isCalled(file.candidates)) continue;
    const { header, textA, textB } = file;
    const columns = textB === undefined ? { text: textA } : { text: textA, text_b: textB };
    const places = textB === undefined ? `column ${textA}` : `columns ${textA} and ${textB}`;
    const note = `read as ${split} of ${task.name}: text in ${places}, ${header ? "a header" : "no header"}`;
    return { format: "tsv", header, columns, note };
  }
  if (task.name === chunkTask.name && Object.values(chunkTask.files).some(isCalled)) {
    return { format: "conll", header: false, columns: undefined };
  }
  const questions = questionTasks.find(({ name }) => name === task.name);
  if (questions?.format.kind === "mrqa" && Object.values(questions.files).some(isCalled)) {
    return { format: "mrqa", header: false, columns: undefined };
  }
  return undefined;
}
