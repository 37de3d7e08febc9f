import { BasicTokenizer, type BasicTokenizerOptions } from "./basic-tokenizer.js";

/** Different pieces counted as they stand before they are tokenized together. */
const MAX_PENDING = 1 << 16;
/** Strings from this length on may be views of the text they were cut from (in V8). */
const SHORTEST_VIEW = 13;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Counts the words (basic tokens) of a corpus, text by text. Memory grows with the number of different words, not with
 * the text. Counts of several counters, from several threads for instance, can be merged in any order.
 *
 * @example
 * const counter = new WordCounter({ lowerCase: true });
 * for await (const line of lines) counter.add(line);
 * const { vocabulary } = trainWordPiece(counter.counts(), { vocabSize: 8000 });
 */
export class WordCounter {
  readonly #basic: BasicTokenizer;
  readonly #counts = new Map<string, number>();
  /** Pieces between white spaces of ASCII, which part words in any company: each different one is tokenized once. */
  readonly #pending = new Map<string, number>();

  constructor(options: BasicTokenizerOptions = {}) {
    this.#basic = new BasicTokenizer(options);
  }

  /** Counts the words of a line, or of any text that neither begins nor ends within a word. */
  add(text: string): void {
    let start = 0;
    for (let i = 0; i <= text.length; i++) {
      const code = i < text.length ? text.charCodeAt(i) : 0x20;
      if (code !== 0x20 && code !== 0x09 && code !== 0x0a && code !== 0x0d) continue;
      if (i > start) {
        const piece = text.slice(start, i);
        this.#pending.set(piece, (this.#pending.get(piece) ?? 0) + 1);
      }
      start = i + 1;
    }
    if (this.#pending.size >= MAX_PENDING) this.#settle();
  }

  /** Adds counts made elsewhere with the same settings. */
  merge(counts: Iterable<readonly [word: string, count: number]>): void {
    for (const [word, count] of counts) this.#count(word, count);
  }

  /** Every word and how often it occurred so far, in no particular order. */
  counts(): ReadonlyMap<string, number> {
    this.#settle();
    return this.#counts;
  }

  #settle(): void {
    for (const [piece, count] of this.#pending) {
      for (const word of this.#basic.tokenize(piece)) this.#count(word, count);
    }
    this.#pending.clear();
  }

  #count(word: string, count: number): void {
    const known = this.#counts.get(word);
    // A new word must not keep the whole text alive that it is a part of.
    if (known === undefined) this.#counts.set(word.length < SHORTEST_VIEW ? word : copyOf(word), count);
    else this.#counts.set(word, known + count);
  }
}

function copyOf(word: string): string {
  return decoder.decode(encoder.encode(word));
}
