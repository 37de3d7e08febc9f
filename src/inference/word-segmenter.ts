import { CharacterClass, characterClass } from "../tokenization/character-class.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";

/** A word as the basic tokenizer sees it (punctuation marks and ideographs are words), and where it stands. */
export interface Word {
  /** As it stands in the text, `text.slice(start, end)`. */
  readonly text: string;
  /** UTF-16 offsets in the text. */
  readonly start: number;
  readonly end: number;
  /** Its WordPiece ids; never empty. */
  readonly ids: Int32Array;
}

const encoder = new TextEncoder();

/**
 * The words of a text with their places and ids. The ids in a row are those of `tokenizer.encode(text)`.
 *
 * The tokenizer normalises (lower case, accents) before it splits at punctuation, so that its words are no substrings of
 * the text. They are laid back by length: every character is normalised alone, and as many of them make up a word as its
 * length says. Where normalising together gives another length than apart, all words between two spaces share one place.
 */
export function segmentWords(text: string, tokenizer: Tokenizer): Word[] {
  const words: Word[] = [];
  let start = 0;
  for (let i = 0; i <= text.length; ) {
    const codePoint = text.codePointAt(i);
    const width = codePoint !== undefined && codePoint > 0xffff ? 2 : 1;
    if (codePoint === undefined || (characterClass(codePoint) & CharacterClass.SPACE) !== 0) {
      if (i > start) segmentPiece(text, start, i, tokenizer, words);
      start = i + width;
    }
    i += width;
  }
  return words;
}

function segmentPiece(text: string, start: number, end: number, tokenizer: Tokenizer, out: Word[]): void {
  const normalised = tokenizer.basic.tokenize(text.slice(start, end));
  const total = normalised.reduce((sum, word) => sum + word.length, 0);
  // origin[k] is where the character begins that unit k of the normalised piece comes from, next[k] where it ends.
  const origin: number[] = [];
  const next: number[] = [];
  for (let i = start; i < end; ) {
    const width = text.codePointAt(i)! > 0xffff ? 2 : 1;
    const length = tokenizer.basic
      .tokenize(text.slice(i, i + width))
      .reduce((sum, word) => sum + word.length, 0);
    for (let k = 0; k < length; k++) {
      origin.push(i);
      next.push(i + width);
    }
    i += width;
    // Accents and dropped characters belong to what they follow.
    if (length === 0 && next.length > 0) next[next.length - 1] = i;
  }
  const aligned = origin.length === total;
  let unit = 0;
  for (const word of normalised) {
    const from = aligned ? origin[unit]! : start;
    const to = aligned ? next[unit + word.length - 1]! : end;
    unit += word.length;
    out.push({ text: text.slice(from, to), start: from, end: to, ids: wordIds(word, tokenizer) });
  }
}

function wordIds(word: string, tokenizer: Tokenizer): Int32Array {
  const bytes = encoder.encode(word);
  const ids = new Int32Array(bytes.length);
  return ids.slice(0, tokenizer.wordPiece.encodeWord(bytes, 0, bytes.length, ids, 0));
}
