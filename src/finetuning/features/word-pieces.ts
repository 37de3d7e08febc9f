import { BasicTokenizer } from "../../tokenization/basic-tokenizer.js";
import type { Tokenizer } from "../../tokenization/tokenizer.js";

/** The words of a sentence as a tagging model sees them. */
export interface SplitWord {
  readonly ids: readonly number[];
  /** The word is written `[CLS]` or `[SEP]`, becomes that token, and gets no label. */
  readonly special: boolean;
}

/** Cuts given words into pieces, one word at a time. */
export class WordSplitter {
  readonly #basic: BasicTokenizer;
  readonly #clean: BasicTokenizer;
  readonly #tokenizer: Tokenizer;
  readonly #special: ReadonlyMap<string, number>;

  /**
   * @param followCase lower-case and strip accents as the tokenizer does; else always do both, as the reference does
   */
  constructor(tokenizer: Tokenizer, followCase: boolean) {
    const { lowerCase, stripAccents } = tokenizer.basic;
    this.#tokenizer = tokenizer;
    // Ideographs of a given word stay together.
    this.#basic = new BasicTokenizer({
      splitIdeographs: false,
      lowerCase: followCase ? lowerCase : true,
      stripAccents: followCase ? stripAccents : true,
    });
    this.#clean = new BasicTokenizer({ lowerCase: false, splitIdeographs: false });
    const [cls, sep] = tokenizer.vocabulary.require(["[CLS]", "[SEP]"]);
    this.#special = new Map([
      ["[CLS]", cls],
      ["[SEP]", sep],
    ]);
  }

  split(word: string): SplitWord {
    const special = this.#special.get(this.#clean.tokenize(word).join(""));
    if (special !== undefined) return { ids: [special], special: true };
    const { wordPiece, vocabulary } = this.#tokenizer;
    const ids = this.#basic
      .tokenize(word)
      .flatMap((part) => wordPiece.tokenize(part))
      .map((piece) => vocabulary.idOf(piece));
    return { ids, special: false };
  }
}
