import { CharacterClass, characterClass } from "./character-class.js";

export interface BasicTokenizerOptions {
  /** Lower-case by the full rules of Unicode (final sigma included). Default true. */
  readonly lowerCase?: boolean;
  /** Decompose (NFD) and remove nonspacing marks. Only effective while lower-casing. Default true. */
  readonly stripAccents?: boolean;
  /** Make every ideograph a word of its own. Default true. */
  readonly splitIdeographs?: boolean;
}

const { DROP, SPACE, IDEOGRAPH, PUNCTUATION, MARK } = CharacterClass;

/**
 * Splits text into words as BERT and ELECTRA do before WordPiece: clean, set ideographs apart, split at white space,
 * lower-case, strip accents, split at punctuation. The result is decomposed and stays so. Special tokens have no
 * protection: `[MASK]` becomes `[`, `mask`, `]`.
 *
 * This is the exact, general way, by code points of Unicode 14.0; {@link Tokenizer} has a faster one for ordinary text.
 */
export class BasicTokenizer {
  readonly lowerCase: boolean;
  readonly stripAccents: boolean;
  /** Bits of what ends a piece or is dropped from it. */
  readonly #special: number;

  constructor(options: BasicTokenizerOptions = {}) {
    this.lowerCase = options.lowerCase ?? true;
    this.stripAccents = this.lowerCase && (options.stripAccents ?? true);
    this.#special = DROP | SPACE | ((options.splitIdeographs ?? true) ? IDEOGRAPH : 0);
  }

  /** The words of `text`, none empty. Lone surrogates are dropped like other control characters. */
  tokenize(text: string): string[] {
    const special = this.#special;
    const words: string[] = [];
    let piece = "";
    let runStart = 0; // text[runStart, i) is to be added to the piece as it is
    let ascii = true;
    const endPiece = (end: number): void => {
      if (end > runStart) piece += text.slice(runStart, end);
      if (piece !== "") this.#splitPiece(piece, ascii, words);
      piece = "";
      ascii = true;
    };
    for (let i = 0; i < text.length; ) {
      const codePoint = text.codePointAt(i)!;
      const width = codePoint > 0xffff ? 2 : 1;
      const bits = characterClass(codePoint) & special;
      if (bits !== 0) {
        if ((bits & DROP) !== 0) {
          piece += text.slice(runStart, i);
        } else {
          endPiece(i);
          if ((bits & IDEOGRAPH) !== 0) this.#splitPiece(text.slice(i, i + width), false, words);
        }
        runStart = i + width;
      } else if (codePoint > 0x7f) {
        ascii = false;
      }
      i += width;
    }
    endPiece(text.length);
    return words;
  }

  /** Steps 5 to 7 of the reference: case and accents of a piece, then its punctuation. */
  #splitPiece(raw: string, ascii: boolean, words: string[]): void {
    let piece = raw;
    if (this.lowerCase) {
      piece = piece.toLowerCase();
      if (this.stripAccents && !ascii) piece = piece.normalize("NFD");
    }
    const dropped = this.stripAccents ? MARK : 0;
    let word = "";
    let runStart = 0;
    for (let i = 0; i < piece.length; ) {
      const codePoint = piece.codePointAt(i)!;
      const width = codePoint > 0xffff ? 2 : 1;
      const bits = characterClass(codePoint);
      if ((bits & (PUNCTUATION | SPACE | dropped)) !== 0) {
        word += piece.slice(runStart, i);
        if ((bits & MARK) === 0) {
          if (word !== "") words.push(word);
          if ((bits & PUNCTUATION) !== 0) words.push(piece.slice(i, i + width));
          word = "";
        }
        runStart = i + width;
      }
      i += width;
    }
    word += piece.slice(runStart);
    if (word !== "") words.push(word);
  }
}
