/** The words of a context, and where each character is. */
export interface ContextWords {
  readonly words: readonly string[];
  /** UTF-16 offset of each word in the context. */
  readonly starts: readonly number[];
  /** For each code point the number of its word; a separator has the one before, −1 if there is none. */
  readonly wordOfCharacter: Int32Array;
}

/** The only separators: other white space stays inside words. */
const SEPARATORS = new Set([" ", "\t", "\r", "\n", "\u202f"]);

/** Splits a context into words as the reference does for question answering. */
export function contextWords(context: string): ContextWords {
  const characters = [...context];
  const words: string[] = [];
  const starts: number[] = [];
  const wordOfCharacter = new Int32Array(characters.length);
  let inside = false;
  let offset = 0;
  characters.forEach((character, i) => {
    if (SEPARATORS.has(character)) inside = false;
    else if (inside) words[words.length - 1] += character;
    else {
      words.push(character);
      starts.push(offset);
      inside = true;
    }
    wordOfCharacter[i] = words.length - 1;
    offset += character.length;
  });
  return { words, starts, wordOfCharacter };
}
