import { commaSeparatedRows, tabSeparatedRows } from "../../finetuning/reading/delimited-rows.js";
import { jsonLines } from "../../finetuning/reading/json-lines.js";
import {
  type ReadRow,
  rowOfCells,
  rowOfObject,
  type TableFormat,
} from "../../finetuning/reading/table-rows.js";
import { type RawLine, type RawLinesOptions, rawLineBlocks } from "./raw-lines.js";

/** What a table's columns are called: by the header; by their numbers without one; per row in jsonl. */
export interface TableHeader {
  /** Undefined without a header. */
  readonly names: readonly string[] | undefined;
  /** Columns of the first row. */
  readonly width: number;
}

export interface InputRowsOptions extends RawLinesOptions {
  /** `txt`: a text a line; a tab parts it from the second text. */
  readonly format: TableFormat | "txt";
  /** The first row names the columns. Only for tsv and csv. */
  readonly header: boolean;
  /** Called before the first row of tsv and csv. */
  readonly onHeader?: (header: TableHeader) => void;
}

/** Columns of a `txt` file. */
export const TEXT_COLUMN = 0;
export const TEXT_B_COLUMN = 1;

/** The rows of a table as they arrive. The same rules as for the tables of tasks hold. */
export async function* inputRows(
  source: string,
  options: InputRowsOptions,
): AsyncGenerator<ReadRow, void, undefined> {
  const { format, header } = options;
  if (format === "txt") return yield* textRows(source, options);
  if (format === "jsonl") return yield* jsonRows(source, options);
  let names: readonly string[] | undefined;
  let index = 0;
  let first = true;
  for await (const row of delimitedRows(source, format, options)) {
    if (first) {
      first = false;
      if (header) names = row.cells;
      options.onHeader?.({ names, width: row.cells.length });
      if (header) continue;
    }
    yield rowOfCells(row, index++, names ?? []);
  }
}

async function* textRows(source: string, options: RawLinesOptions): AsyncGenerator<ReadRow, void, undefined> {
  let index = 0;
  for await (const { text, line } of linesOf(source, options)) {
    const cells = (text.endsWith("\r") ? text.slice(0, -1) : text).split("\t");
    const fault =
      cells.length > 2 ? { fault: `${cells.length - 1} tabs, where one can part two texts` } : undefined;
    yield rowOfCells({ line, cells, ...fault }, index++, []);
  }
}

async function* jsonRows(source: string, options: RawLinesOptions): AsyncGenerator<ReadRow, void, undefined> {
  let index = 0;
  for await (const { text, line } of linesOf(source, options)) {
    for (const row of jsonLines(text)) yield rowOfObject({ ...row, line }, index++);
  }
}

async function* delimitedRows(source: string, format: "tsv" | "csv", options: RawLinesOptions) {
  if (format === "tsv") {
    // Empty lines are rows, but not at the end of the file.
    let empty: RawLine[] = [];
    for await (const raw of linesOf(source, options)) {
      if (raw.text === "" || raw.text === "\r") {
        empty.push(raw);
        continue;
      }
      for (const { line } of empty) yield { line, cells: [] };
      empty = [];
      for (const row of tabSeparatedRows(raw.text)) yield { ...row, line: raw.line };
    }
    return;
  }
  // A row goes on while a quote is open, that is, while there is an odd number of them.
  let open: string[] = [];
  let start = 0;
  const rows = function* () {
    for (const row of commaSeparatedRows(open.join("\n"))) yield { ...row, line: start + row.line - 1 };
    open = [];
  };
  let quotes = 0;
  for await (const { text, line } of linesOf(source, options)) {
    if (open.length === 0) start = line;
    open.push(text);
    quotes += text.split('"').length - 1;
    if (quotes % 2 === 0) yield* rows();
  }
  yield* rows();
}

/** Lines one by one. */
export async function* linesOf(
  source: string,
  options: RawLinesOptions,
): AsyncGenerator<RawLine, void, undefined> {
  for await (const block of rawLineBlocks(source, options)) yield* block;
}
