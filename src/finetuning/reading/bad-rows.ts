import { ElectraError } from "../../errors.js";

/** A row of a data file that cannot be used. */
export interface BadRow {
  readonly file: string;
  /** Where in the file: `line 3`, counted from 1, or `question <id>`. */
  readonly place: string;
  readonly reason: string;
  /** What to do about it. */
  readonly remedy: string;
}

/** The rows that were left out. */
export interface BadRowSummary {
  readonly count: number;
  /** The first of them. */
  readonly rows: readonly BadRow[];
}

/** Nothing was left out. */
export const noBadRows: BadRowSummary = Object.freeze({ count: 0, rows: Object.freeze([]) });

const KEPT_ROWS = 20;

/** Decides what happens to bad rows: the first one is an error, or all are left out and counted. */
export class BadRows {
  readonly #skip: boolean;
  readonly #how: string;
  readonly #rows: BadRow[] = [];
  #count = 0;

  /** @param options.how how to have them left out, for messages; default: the hparam */
  constructor(options: { readonly skip: boolean; readonly how?: string }) {
    this.#skip = options.skip;
    this.#how = options.how ?? 'the hparam "skip_bad_rows": true';
  }

  /** @throws ElectraError `ERR_ELECTRA_ROW` with file, line and remedy, unless bad rows are left out */
  report(row: BadRow): void {
    if (!this.#skip) {
      throw new ElectraError("ERR_ELECTRA_ROW", `${row.file}, ${row.place}: ${row.reason}.`, {
        hint: `${row.remedy} Or leave such rows out, counted, with ${this.#how}.`,
      });
    }
    this.note(row);
  }

  /** Counts a row that the task drops by design. */
  note(row: BadRow): void {
    this.#count++;
    if (this.#rows.length < KEPT_ROWS) this.#rows.push(row);
  }

  summary(): BadRowSummary {
    return { count: this.#count, rows: [...this.#rows] };
  }
}
