import type { BadRows } from "./bad-rows.js";
import type { QuestionRecord } from "./question-record.js";
import {
  BadCell,
  type Column,
  mapTableRows,
  type TableOptions,
  type TableRow,
  textCell,
} from "./table-rows.js";

/** Columns of a table of questions. */
export interface QuestionColumns {
  /** Default: the number of the row. */
  readonly id?: Column;
  readonly question: Column;
  readonly context: Column;
  /** Text of the answer; a jsonl field may be a list of texts. Empty: the question has none. */
  readonly answer?: Column;
  /** Characters before the (first) answer; default: it is looked for. */
  readonly answerStart?: Column;
}

/** Questions of a table, one a row. */
export function tableQuestions(
  text: string,
  file: string,
  options: TableOptions & { readonly unanswerable: boolean },
  columns: QuestionColumns,
  bad: BadRows,
): QuestionRecord[] {
  return mapTableRows(text, file, options, bad, (row): QuestionRecord => {
    const context = textCell(row, columns.context);
    const answers = columns.answer === undefined ? [] : answersOf(row, columns.answer);
    const [first] = answers;
    if (first === undefined && columns.answer !== undefined && !options.unanswerable) {
      throw new BadCell("the question has no answer", 'Give one, or state "metric": "squad_v2" in the task.');
    }
    const answer =
      first === undefined ? undefined : { text: first, start: startOf(row, columns, context, first) };
    return {
      id: columns.id === undefined ? String(row.index) : textCell(row, columns.id),
      question: textCell(row, columns.question),
      context,
      ...(answer === undefined ? {} : { answer }),
      answers,
      impossible: options.unanswerable && first === undefined,
      place: `line ${row.line}`,
    };
  });
}

function answersOf(row: TableRow, column: Column): string[] {
  const cell = row.cell(column);
  const answers = Array.isArray(cell) ? cell.map(String) : cell === null ? [] : [textCell(row, column)];
  return answers.filter((answer) => answer !== "");
}

function startOf(row: TableRow, columns: QuestionColumns, context: string, answer: string): number {
  if (columns.answerStart !== undefined) {
    const cell = row.cell(columns.answerStart);
    const start = Number(Array.isArray(cell) ? cell[0] : cell);
    if (Number.isInteger(start) && start >= 0) return start;
    throw new BadCell(
      `"${columns.answerStart}" is ${JSON.stringify(cell)}, not a number of characters`,
      "Count from 0.",
    );
  }
  const at = context.indexOf(answer);
  if (at < 0) {
    throw new BadCell(
      `the answer ${JSON.stringify(answer)} is not in the context`,
      "An answer must be a part of the context, letter by letter.",
    );
  }
  return [...context.slice(0, at)].length;
}
