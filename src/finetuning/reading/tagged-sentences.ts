import { isWhiteSpace } from "../../tokenization/white-space.js";
import type { BadRows } from "./bad-rows.js";

/** Words with their tags. */
export interface TaggedWords {
  /** Of its first word, counted from 1. */
  readonly line: number;
  readonly words: readonly string[];
  readonly tags: readonly string[];
}

export interface TaggedSentencesOptions {
  /** Columns counted from 0, and if negative from the end. Default the first and the last. */
  readonly wordColumn?: number;
  readonly tagColumn?: number;
  /** Keep a last sentence that no blank line follows; the reference loses it. */
  readonly keepLast: boolean;
  /** Stop when so many sentences are read. */
  readonly limit?: number;
}

/**
 * Sentences of a file in the form of the CoNLL shared tasks: one word a line, columns set apart by white space, a blank
 * line after each sentence. Lines that begin with `-DOCSTART-` do not count.
 *
 * @param file path, for messages
 */
export function taggedSentences(
  text: string,
  file: string,
  options: TaggedSentencesOptions,
  bad: BadRows,
): TaggedWords[] {
  const { wordColumn = 0, tagColumn = -1, keepLast, limit = Infinity } = options;
  const sentences: TaggedWords[] = [];
  let words: string[] = [];
  let tags: string[] = [];
  let first = 0;
  let whole = true;
  const end = () => {
    if (words.length > 0 && whole) sentences.push({ line: first, words, tags });
    words = [];
    tags = [];
    whole = true;
  };
  const lines = text.split("\n");
  for (let i = 0; i < lines.length && sentences.length < limit; i++) {
    const cells = columnsOf(lines[i]!);
    // What follows the last line end is no line.
    if (cells.length === 0 && i < lines.length - 1) end();
    if (cells.length === 0 || cells[0] === "-DOCSTART-") continue;
    const [word, tag] = [cells.at(wordColumn), cells.at(tagColumn)];
    if (words.length === 0) first = i + 1;
    words.push(word ?? "");
    tags.push(tag ?? "");
    if (word === undefined || tag === undefined || cells.length < 2) {
      const reason = `${cells.length} ${cells.length === 1 ? "column" : "columns"}, so that word or tag is missing`;
      // One bad line makes the whole sentence useless.
      if (whole)
        bad.report({ file, place: `line ${i + 1}`, reason, remedy: "Write at least a word and its tag." });
      whole = false;
    }
  }
  if (keepLast && sentences.length < limit) end();
  return sentences;
}

/** The columns of a line, which white space sets apart. */
export function columnsOf(line: string): string[] {
  const cells: string[] = [];
  let start = 0;
  for (let i = 0; i <= line.length; i++) {
    if (i < line.length && !isWhiteSpace(line.charCodeAt(i))) continue;
    if (i > start) cells.push(line.slice(start, i));
    start = i + 1;
  }
  return cells;
}
