/** A row of a table, or what makes it unusable. */
export interface DelimitedRow {
  /** Of its first character, counted from 1. */
  readonly line: number;
  readonly cells: readonly string[];
  /** Why the row cannot be read. */
  readonly fault?: string;
}

/** The longest field that the reference's reader takes. */
const LONGEST_FIELD = 131_072;

/**
 * Rows of a tab-separated table without quoting, as the reference reads it: quotes are ordinary characters, lines end at
 * LF or CR LF, an empty line is an empty row. Empty lines at the end of the file do not count.
 */
export function tabSeparatedRows(text: string): DelimitedRow[] {
  const lines = text.split("\n").map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
  while (lines.at(-1) === "") lines.pop();
  return lines.map((content, i) => {
    const line = i + 1;
    if (content.includes("\r")) return { line, cells: [], fault: "a carriage return inside the line" };
    const cells = content === "" ? [] : content.split("\t");
    const long = cells.find((cell) => cell.length > LONGEST_FIELD);
    if (long === undefined) return { line, cells };
    return { line, cells: [], fault: `a field of ${long.length} characters (at most ${LONGEST_FIELD})` };
  });
}

/**
 * Rows of a comma-separated table (RFC 4180): fields may stand in double quotes and then hold commas, line ends and
 * doubled quotes. Empty lines are left out.
 */
export function commaSeparatedRows(text: string): DelimitedRow[] {
  const rows: DelimitedRow[] = [];
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const first = line;
    const cells: string[] = [];
    let fault: string | undefined;
    for (;;) {
      let cell = "";
      if (text[at] === '"') {
        at++;
        for (;;) {
          const quote = text.indexOf('"', at);
          const end = quote < 0 ? text.length : quote;
          const part = text.slice(at, end);
          cell += part;
          line += part.split("\n").length - 1;
          at = Math.min(end + 1, text.length);
          if (quote < 0) fault ??= "a quoted field is not closed";
          if (quote < 0 || text[at] !== '"') break;
          cell += '"';
          at++;
        }
      }
      const rest = /[^,\r\n]*/y;
      rest.lastIndex = at;
      const plain = rest.exec(text)![0];
      if (cell !== "" && plain !== "") fault ??= "text after a closing quote";
      cells.push(cell + plain);
      at += plain.length;
      if (text[at] !== ",") break;
      at++;
    }
    if (text[at] === "\r") at++;
    if (text[at] === "\n") at++;
    line++;
    if (cells.length > 1 || cells[0] !== "") {
      rows.push(fault === undefined ? { line: first, cells } : { line: first, cells: [], fault });
    }
  }
  return rows;
}
