import type { BadRows } from "../reading/bad-rows.js";
import { BadCell, type Column, mapTableRows, type TableRow } from "../reading/table-rows.js";
import { type TaggedWords, taggedSentences } from "../reading/tagged-sentences.js";

/** How sentences with a tag for each word are written. */
export type TaggedFileFormat =
  /** One word a line; columns by number. */
  | { readonly kind: "conll"; readonly wordColumn?: number; readonly tagColumn?: number }
  /** One sentence a row: lists (jsonl), or texts with spaces between the words and between the tags. */
  | {
      readonly kind: "tsv" | "csv" | "jsonl";
      readonly header: boolean;
      readonly words: Column;
      readonly tags: Column;
    };

export interface TaggedFileOptions {
  readonly format: TaggedFileFormat;
  readonly keepLast: boolean;
  readonly limit?: number;
}

/** The sentences of a file in any of the forms. */
export function taggedWordsOfFile(
  text: string,
  file: string,
  { format, keepLast, limit }: TaggedFileOptions,
  bad: BadRows,
): TaggedWords[] {
  const limited = limit === undefined ? {} : { limit };
  if (format.kind === "conll") {
    const { wordColumn = 0, tagColumn = -1 } = format;
    return taggedSentences(text, file, { wordColumn, tagColumn, keepLast, ...limited }, bad);
  }
  return mapTableRows(text, file, { format: format.kind, header: format.header, ...limited }, bad, (row) => {
    const words = wordsOf(row, format.words);
    const tags = wordsOf(row, format.tags);
    if (words.length === tags.length && words.length > 0) return { line: row.line, words, tags };
    throw new BadCell(
      words.length === 0 ? "a sentence without words" : `${words.length} words have ${tags.length} tags`,
      "Give every word one tag.",
    );
  });
}

function wordsOf(row: TableRow, column: Column): string[] {
  const cell = row.cell(column);
  if (Array.isArray(cell)) return cell.map(String);
  if (typeof cell === "string") return cell.split(/\s+/).filter((word) => word !== "");
  throw new BadCell(`"${column}" is ${JSON.stringify(cell)}, not a list of words`, "Write a list of texts.");
}
