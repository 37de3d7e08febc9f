import { CharacterClass, characterClass } from "../../../src/tokenization/character-class.js";

/**
 * The tokenizer once more, as plainly as its description reads and on this Node's own Unicode tables: regular
 * expressions, strings, a map. Slow; what the real one is checked against. Text with code points that Unicode 14.0 does
 * not know must be kept away from it.
 */
export interface PlainOptions {
  readonly lowerCase: boolean;
  readonly stripAccents: boolean;
  readonly maxCharsPerWord: number;
}

/** The separators of Python's `str.split()`. */
const SEPARATORS = new Set(
  "\t\n\v\f\r\u001c\u001d\u001e\u001f \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
);
const IDEOGRAPHS =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b820}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

/** U+1171E became Mc after 14.0: the one change of category that shows. */
export const CHANGED_SINCE = 0x1171e;

/** Whether this Node's tables and those of Unicode 14.0 say the same of all characters of `text`. */
export function knownAlike(text: string): boolean {
  return Array.from(text).every((character) => {
    const codePoint = character.codePointAt(0)!;
    const dropped = characterClass(codePoint) === CharacterClass.DROP && codePoint !== 0xfffd;
    return codePoint !== CHANGED_SINCE && dropped === /^[^\P{C}\t\n\r]$/u.test(character);
  });
}

function split(text: string): string[] {
  const spaced = Array.from(text, (character) => (SEPARATORS.has(character) ? " " : character)).join("");
  return spaced.split(" ").filter((piece) => piece !== "");
}

export function plainWords(text: string, options: Omit<PlainOptions, "maxCharsPerWord">): string[] {
  const clean = text.replace(/\ufffd|[^\P{C}\t\n\r]/gu, "").replace(/[\t\n\r]|\p{Zs}/gu, " ");
  const words: string[] = [];
  for (const raw of split(clean.replace(IDEOGRAPHS, " $& "))) {
    let piece = raw;
    if (options.lowerCase) {
      piece = piece.toLowerCase();
      if (options.stripAccents) piece = piece.normalize("NFD").replace(/\p{Mn}/gu, "");
    }
    words.push(...split(piece.replace(/[!-/:-@[-`{-~]|\p{P}/gu, " $& ")));
  }
  return words;
}

export function plainPieces(word: string, tokens: ReadonlySet<string>, maxCharsPerWord: number): string[] {
  const characters = Array.from(word);
  if (characters.length > maxCharsPerWord) return ["[UNK]"];
  const pieces: string[] = [];
  for (let start = 0; start < characters.length; ) {
    let end = characters.length;
    const piece = () => (start > 0 ? "##" : "") + characters.slice(start, end).join("");
    while (end > start && !tokens.has(piece())) end--;
    if (end === start) return ["[UNK]"];
    pieces.push(piece());
    start = end;
  }
  return pieces;
}

export function plainTokenize(text: string, tokens: ReadonlySet<string>, options: PlainOptions): string[] {
  return plainWords(text, options).flatMap((word) => plainPieces(word, tokens, options.maxCharsPerWord));
}
