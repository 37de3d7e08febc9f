import { ElectraError } from "../errors.js";
import { PieceTrie } from "./piece-trie.js";
import type { Vocabulary } from "./vocabulary.js";
import { isWhiteSpace } from "./white-space.js";

export interface WordPieceTokenizerOptions {
  readonly vocabulary: Vocabulary;
  /** What a word becomes that cannot be put together from the vocabulary. Default `[UNK]`; must be a token. */
  readonly unknownToken?: string;
  /** Words of more code points than this become the unknown token. Default 200, as the reference (HF: 100). */
  readonly maxCharsPerWord?: number;
}

const encoder = new TextEncoder();

/**
 * Cuts words into the pieces of a vocabulary, the longest match from the left first; pieces that do not begin a word
 * carry `##`. If a rest of the word matches nothing, the whole word is one unknown token.
 */
export class WordPieceTokenizer {
  readonly vocabulary: Vocabulary;
  readonly unknownId: number;
  readonly maxCharsPerWord: number;
  readonly #trie: PieceTrie;

  /**
   * @throws ElectraError `ERR_ELECTRA_VOCABULARY_TOKENS` without the unknown token,
   * `ERR_ELECTRA_TOKENIZER_OPTION` for a limit that is no positive integer.
   */
  constructor(options: WordPieceTokenizerOptions) {
    this.vocabulary = options.vocabulary;
    this.maxCharsPerWord = options.maxCharsPerWord ?? 200;
    if (!Number.isInteger(this.maxCharsPerWord) || this.maxCharsPerWord < 1) {
      throw new ElectraError(
        "ERR_ELECTRA_TOKENIZER_OPTION",
        `maxCharsPerWord must be a positive integer, not ${this.maxCharsPerWord}.`,
        { exitCode: 2 },
      );
    }
    [this.unknownId] = this.vocabulary.require([options.unknownToken ?? "[UNK]"]);
    this.#trie = new PieceTrie(this.vocabulary.tokens);
  }

  /** The pieces of every word of `text`, words being set apart by white space. */
  tokenize(text: string): string[] {
    const pieces: string[] = [];
    let start = 0;
    for (let i = 0; i <= text.length; i++) {
      if (i < text.length && !isWhiteSpace(text.charCodeAt(i))) continue;
      if (i > start) {
        const bytes = encoder.encode(text.slice(start, i));
        const ids = new Int32Array(bytes.length);
        const count = this.encodeWord(bytes, 0, bytes.length, ids, 0);
        for (let k = 0; k < count; k++) pieces.push(this.vocabulary.tokenOf(ids[k]!));
      }
      start = i + 1;
    }
    return pieces;
  }

  /**
   * Writes the ids of one word, given as the UTF-8 bytes `bytes[start, end)`, to `out` from `offset` on; `out` needs
   * room for one id a byte.
   *
   * @returns the number of ids: at least 1 unless the word is empty.
   */
  encodeWord(bytes: Uint8Array, start: number, end: number, out: Int32Array, offset: number): number {
    if (!this.#tooLong(bytes, start, end)) {
      const count = this.#trie.segment(bytes, start, end, out, offset);
      if (count >= 0) return count;
    }
    out[offset] = this.unknownId;
    return 1;
  }

  #tooLong(bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start <= this.maxCharsPerWord) return false;
    let characters = 0;
    for (let i = start; i < end; i++) if ((bytes[i]! & 0xc0) !== 0x80) characters++;
    return characters > this.maxCharsPerWord;
  }
}
