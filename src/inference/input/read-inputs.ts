import { ElectraError } from "../../errors.js";
import type { BadRows } from "../../finetuning/reading/bad-rows.js";
import { mrqaQuestions } from "../../finetuning/reading/mrqa-file.js";
import { squadQuestions } from "../../finetuning/reading/squad-file.js";
import { BadCell, type ReadRow, type TableFormat, textCell } from "../../finetuning/reading/table-rows.js";
import { columnsOf } from "../../finetuning/reading/tagged-sentences.js";
import type { ClassifierInput } from "../classifier.js";
import type { QuestionInput } from "../question-answerer.js";
import type { TaggerInput } from "../tagger.js";
import type { InputColumn, InputColumns, InputLayout } from "./input-layout.js";
import { inputRows, linesOf, type TableHeader, TEXT_B_COLUMN, TEXT_COLUMN } from "./input-rows.js";
import { type RawLinesOptions, rawLineBlocks } from "./raw-lines.js";

/** A row of a file, ready to be predicted. */
export interface GoodInput<T> {
  readonly id?: string | number;
  readonly input: T;
}

/** A row that was left out. */
export interface SkippedInput {
  /** `line 3`, `question <id>` */
  readonly place: string;
  readonly reason: string;
}

export type InputRow<T> = GoodInput<T> | SkippedInput;

export interface ReadInputsOptions extends RawLinesOptions {
  readonly source: string;
  readonly layout: InputLayout;
  /** Says whether a bad row is an error or left out. */
  readonly bad: BadRows;
  /** Called with the number of rows of a file that is read as a whole. */
  readonly onTotal?: (rows: number) => void;
}

/** Columns that are looked for where none are given, the preferred name first. */
const USUAL: Readonly<Record<InputColumn, readonly string[]>> = {
  id: ["id", "qid"],
  text: ["text", "sentence", "sentence1"],
  text_b: ["text_b", "textPair", "sentence2"],
  words: ["words", "tokens"],
  question: ["question"],
  context: ["context"],
};

/** Texts to classify. */
export function readTexts(options: ReadInputsOptions): AsyncGenerator<InputRow<ClassifierInput>> {
  return tableInputs(options, ["text"], (cells): ClassifierInput => {
    const textPair = cells.optional("text_b");
    const text = textOf(cells.required("text"), "text");
    return textPair === undefined ? text : { text, textPair: textOf(textPair, "text_b") };
  });
}

/** Texts or words to tag. */
export function readTaggables(options: ReadInputsOptions): AsyncGenerator<InputRow<TaggerInput>> {
  if (options.layout.format === "conll") return conllSentences(options);
  return tableInputs(options, ["words", "text"], (cells): TaggerInput => {
    const words = cells.optional("words");
    if (words === undefined) return textOf(cells.required("text"), "text");
    if (Array.isArray(words)) return words.map(String);
    return textOf(words, "words")
      .split(/\s+/)
      .filter((word) => word !== "");
  });
}

/** Questions to answer. */
export async function* readQuestions(
  options: ReadInputsOptions,
): AsyncGenerator<InputRow<QuestionInput>, void, undefined> {
  const { source, layout, bad } = options;
  if (layout.format !== "squad" && layout.format !== "mrqa") {
    return yield* tableInputs(options, ["question"], (cells) => ({
      question: textOf(cells.required("question"), "question"),
      context: textOf(cells.required("context"), "context"),
    }));
  }
  const lines: string[] = [];
  for await (const block of rawLineBlocks(source, options)) lines.push(...block.map(({ text }) => text));
  const text = lines.join("\n");
  const name = nameOf(source);
  const records =
    layout.format === "squad"
      ? squadQuestions(text, name, { unanswerable: true }).questions
      : mrqaQuestions(text, name, false, bad);
  options.onTotal?.(records.length);
  for (const { id, question, context } of records) yield { id, input: { question, context } };
}

/** Sentences of a file with a word a line; what stands behind the word does not matter. */
async function* conllSentences(
  options: ReadInputsOptions,
): AsyncGenerator<InputRow<TaggerInput>, void, undefined> {
  const { source, layout } = options;
  const column = layout.columns?.words ?? 0;
  if (typeof column !== "number") {
    throw new ElectraError(
      "ERR_ELECTRA_USAGE",
      `the columns of a conll file have no names, "${column}" neither`,
      {
        hint: "Give a number: --columns words=0",
        exitCode: 2,
      },
    );
  }
  let words: string[] = [];
  let fault: SkippedInput | undefined;
  const end = function* (): Generator<InputRow<TaggerInput>> {
    if (fault !== undefined) yield fault;
    else if (words.length > 0) yield { input: words };
    words = [];
    fault = undefined;
  };
  for await (const { text, line } of linesOf(source, options)) {
    const cells = columnsOf(text);
    if (cells.length === 0) yield* end();
    if (cells.length === 0 || cells[0] === "-DOCSTART-") continue;
    const word = cells.at(column);
    if (word !== undefined) words.push(word);
    // One bad line makes the whole sentence useless.
    else fault ??= report(options, line, new BadCell(`no column ${column}`, "Columns are counted from 0."));
  }
  yield* end();
}

/** Cells of a row by what they mean. */
interface Cells {
  required(name: InputColumn): unknown;
  /** Undefined if nobody asked for the column and the row does not have it, or if it is null. */
  optional(name: InputColumn): unknown;
}

/** @param needed columns of which a table must have one */
async function* tableInputs<T>(
  options: ReadInputsOptions,
  needed: readonly InputColumn[],
  make: (cells: Cells) => T,
): AsyncGenerator<InputRow<T>, void, undefined> {
  const { source, layout } = options;
  const format = layout.format as TableFormat | "txt";
  let columns: InputColumns | undefined =
    layout.columns ?? (format === "txt" ? { text: TEXT_COLUMN, text_b: TEXT_B_COLUMN } : undefined);
  const onHeader = (header: TableHeader) => {
    if (layout.columns === undefined) columns = usualColumns(header, needed, source);
    else checkNames(layout.columns, header, source);
  };
  for await (const row of inputRows(source, { ...options, format, header: layout.header, onHeader })) {
    try {
      if (row.fault !== undefined) throw new BadCell(row.fault, "Mend the line.");
      const cells = cellsOf(row, columns, format === "txt");
      const input = make(cells);
      const id = cells.optional("id");
      yield typeof id === "string" || typeof id === "number" ? { id, input } : { input };
    } catch (error) {
      if (!(error instanceof BadCell)) throw error;
      yield report(options, row.line, error);
    }
  }
}

function cellsOf(row: ReadRow, columns: InputColumns | undefined, isText: boolean): Cells {
  const find = (name: InputColumn, needed: boolean): unknown => {
    if (columns !== undefined) {
      const column = columns[name];
      if (column === undefined) return undefined;
      // The second text of a line is there or not.
      if (isText && column === TEXT_B_COLUMN) return row.find(column);
      return row.cell(column);
    }
    const [first = name] = USUAL[name];
    const found = USUAL[name].map((usual) => row.find(usual)).find((value) => value !== undefined);
    return found === undefined && needed ? row.cell(first) : found;
  };
  return { required: (name) => find(name, true), optional: (name) => find(name, false) ?? undefined };
}

/** Where the usual columns are in a table; a table of one column needs no names. */
function usualColumns(
  { names, width }: TableHeader,
  needed: readonly InputColumn[],
  source: string,
): InputColumns {
  const found = Object.entries(USUAL).flatMap(([name, usual]) => {
    const column = usual.find((candidate) => names?.includes(candidate));
    return column === undefined ? [] : [[name, column] as const];
  });
  const columns = Object.fromEntries(found) as InputColumns;
  if (needed.some((name) => columns[name] !== undefined)) return columns;
  const only = needed.at(-1)!;
  if (width === 1 && only === "text") return { text: 0 };
  const has =
    names === undefined
      ? `has ${width} columns without names`
      : `has the columns ${names.map((name) => JSON.stringify(name)).join(", ")}`;
  throw new ElectraError(
    "ERR_ELECTRA_USAGE",
    `${nameOf(source)} ${has}, none of which is called ${needed.join(" or ")}`,
    {
      hint: `Say which to take, for example: --columns ${only}=${names?.[0] ?? 0}. If the first row is data: --header false.`,
      exitCode: 2,
    },
  );
}

/** A column that no row can have is a slip in the command, not in the rows. */
function checkNames(columns: InputColumns, { names = [] }: TableHeader, source: string): void {
  const missing = Object.values(columns).find(
    (column) => typeof column === "string" && !names.includes(column),
  );
  if (missing === undefined) return;
  throw new ElectraError("ERR_ELECTRA_USAGE", `${nameOf(source)} has no column "${missing}"`, {
    hint:
      names.length > 0
        ? `Its columns are ${names.map((name) => JSON.stringify(name)).join(", ")}.`
        : "Without a header columns have no names: give numbers, from 0.",
    exitCode: 2,
  });
}

function textOf(value: unknown, column: InputColumn): string {
  return textCell({ index: 0, line: 0, cell: () => value }, column);
}

function report(
  { source, bad }: ReadInputsOptions,
  line: number,
  { message, remedy }: BadCell,
): SkippedInput {
  const place = `line ${line}`;
  bad.report({ file: nameOf(source), place, reason: message, remedy });
  return { place, reason: message };
}

function nameOf(source: string): string {
  return source === "-" ? "standard input" : source;
}
