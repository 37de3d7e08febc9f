import type { BadRows } from "./bad-rows.js";
import { commaSeparatedRows, type DelimitedRow, tabSeparatedRows } from "./delimited-rows.js";
import { type JsonLine, jsonLines } from "./json-lines.js";

export type TableFormat = "tsv" | "csv" | "jsonl";

/** A column by its number, counted from 0 and if negative from the end, or by its name in the header or the object. */
export type Column = number | string;

export interface TableOptions {
  readonly format: TableFormat;
  /** The first row holds names. Not for jsonl. */
  readonly header: boolean;
  /** Read only this many rows, header included. */
  readonly limit?: number;
}

/** A row that was read; `index` counts from 0 without the header, bad rows included. */
export interface TableRow {
  readonly index: number;
  readonly line: number;
  /** The column's value. @throws BadCell if the row has no such column */
  cell(column: Column): unknown;
}

/** A cell that a row does not have, or whose content makes no sense. Rows are reported with it as the reason. */
export class BadCell extends Error {
  readonly remedy: string;

  constructor(reason: string, remedy: string) {
    super(reason);
    this.remedy = remedy;
  }
}

/**
 * Makes something of every row of a table. Rows for which that fails with {@link BadCell} are reported to `bad`.
 *
 * @param file path, for messages
 */
export function mapTableRows<Result>(
  text: string,
  file: string,
  options: TableOptions,
  bad: BadRows,
  make: (row: TableRow) => Result,
): Result[] {
  const results: Result[] = [];
  for (const row of tableRows(text, options)) {
    try {
      if (row.fault !== undefined) throw new BadCell(row.fault, "Mend the line.");
      results.push(make(row));
    } catch (error) {
      if (!(error instanceof BadCell)) throw error;
      bad.report({ file, place: `line ${row.line}`, reason: error.message, remedy: error.remedy });
    }
  }
  return results;
}

function tableRows(text: string, options: TableOptions): ReadRow[] {
  if (options.format === "jsonl") {
    return jsonLines(text).slice(0, options.limit).map(rowOfObject);
  }
  const all: readonly DelimitedRow[] =
    options.format === "tsv" ? tabSeparatedRows(text) : commaSeparatedRows(text);
  const rows = all.slice(0, options.limit);
  const names = options.header ? (rows[0]?.cells ?? []) : [];
  return rows.slice(options.header ? 1 : 0).map((row, index) => rowOfCells(row, index, names));
}

/** A row as it was found; with a `fault` it cannot be used. */
export interface ReadRow extends TableRow {
  readonly fault?: string;
  /** The column's value, or undefined if the row has no such column. */
  find(column: Column): unknown;
}

/** The row of a JSON object: its columns are the object's fields. */
export function rowOfObject({ value, line, fault }: JsonLine, index: number): ReadRow {
  const find = (column: Column) => (Object.hasOwn(value, column) ? value[column] : undefined);
  return {
    index,
    line,
    ...(fault === undefined ? {} : { fault }),
    find,
    cell: (column) => {
      const found = find(column);
      if (found !== undefined) return found;
      throw new BadCell(
        `no field "${column}"`,
        `The object has ${Object.keys(value).join(", ") || "no fields"}.`,
      );
    },
  };
}

/** The row of a tsv or csv table. @param names of the columns; empty without a header */
export function rowOfCells(
  { line, cells, fault }: DelimitedRow,
  index: number,
  names: readonly string[],
): ReadRow {
  const find = (column: Column) => {
    const place = typeof column === "number" ? column : names.indexOf(column);
    // A name that is not there must not be taken for the last column.
    return typeof column === "string" && place < 0 ? undefined : cells.at(place);
  };
  return {
    index,
    line,
    ...(fault === undefined ? {} : { fault }),
    find,
    cell: (column) => {
      const found = find(column);
      if (found !== undefined) return found;
      throw typeof column === "number" || names.includes(column)
        ? new BadCell(
            `column ${typeof column === "number" ? column : `"${column}"`} is missing: the row has ${cells.length} ${cells.length === 1 ? "column" : "columns"}`,
            "Are the separators right? Columns are counted from 0.",
          )
        : new BadCell(`there is no column "${column}"`, `The header names ${names.join(", ") || "nothing"}.`);
    },
  };
}

/** Text of a cell. */
export function textCell(row: TableRow, column: Column): string {
  const value = row.cell(column);
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new BadCell(`"${column}" is ${JSON.stringify(value)}, not a text`, "Write a text.");
}
