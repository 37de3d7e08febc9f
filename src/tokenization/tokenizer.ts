import { ElectraError } from "../errors.js";
import { BasicTokenizer } from "./basic-tokenizer.js";
import {
  byteKinds,
  FIRST_GENERAL_PUNCTUATION,
  FIRST_IDEOGRAPH,
  GENERAL_PUNCTUATION_COUNT,
  ideographAt,
  LAST_IDEOGRAPH,
  letterBytes,
  NON_ASCII,
  PUNCTUATION,
  SPACE,
} from "./byte-kinds.js";
import { MAX_PACKED_LETTERS, PACKED_HALF, type ShortWordCache } from "./short-word-cache.js";
import type { Vocabulary } from "./vocabulary.js";
import { wholeWords } from "./whole-words.js";
import { MAX_CACHED_BYTES, WordCache } from "./word-cache.js";
import { WordPieceTokenizer } from "./wordpiece-tokenizer.js";

export interface TokenizerOptions {
  /** Needs `[UNK]`; the other special tokens are their users' business. */
  readonly vocabulary: Vocabulary;
  /** Lower-case the text. Default true. */
  readonly lowerCase?: boolean;
  /** Remove accents; only effective while lower-casing. Default true. */
  readonly stripAccents?: boolean;
  /** Longer words (in code points) become `[UNK]`. Default 200. */
  readonly maxCharsPerWord?: number;
  /** Words remembered with their ids, short and long ones apart, about 100 bytes each. Default 131072. */
  readonly cacheCapacity?: number;
}

export interface DecodeOptions {
  /** Leave out tokens such as [CLS], [SEP], [PAD], [MASK]: any in square brackets but `[UNK]`. Default false. */
  readonly skipSpecialTokens?: boolean;
}

const HASH_SEED = 0x811c9dc5 | 0;
const HASH_PRIME = 0x01000193;
/** `encode` keeps its buffers up to this many bytes; longer texts get buffers of their own. */
const KEPT_BUFFER = 1 << 20;

const encoder = new TextEncoder();
// Malformed bytes become U+FFFD, which the basic tokenizer drops: the same as ignoring them.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Text to WordPiece ids, exactly as the reference's tokenizer (basic tokenizer, then WordPiece), without [CLS] and
 * [SEP].
 *
 * Ordinary text never becomes strings: UTF-8 bytes are scanned for words of ASCII letters and digits, which caches
 * turn into ids. A piece — what lies between two white spaces or ideographs — that holds anything else goes through
 * {@link BasicTokenizer} as a whole, for lower-casing and decomposition look at the neighbours; its ids are cached too.
 * Not safe for use by several threads at once (there is no way to share it); make one for each.
 *
 * @example
 * const tokenizer = new Tokenizer({ vocabulary });
 * tokenizer.encode("unaffable"); // Int32Array [14477, 20961, 3468] with BERT's uncased vocabulary
 */
export class Tokenizer {
  readonly vocabulary: Vocabulary;
  readonly basic: BasicTokenizer;
  readonly wordPiece: WordPieceTokenizer;
  readonly #shortWords: ShortWordCache;
  /** Longer words, and pieces that are not just ASCII. */
  readonly #cache: WordCache;
  /** SPACE, PUNCTUATION, NON_ASCII, CONTROL, or the number of a letter or digit. */
  readonly #kinds: Uint8Array;
  /** The byte that a letter counts as: itself, or the small letter. */
  readonly #letters: Uint8Array;
  readonly #asciiIds = new Int32Array(128);
  readonly #generalPunctuationIds = new Int32Array(GENERAL_PUNCTUATION_COUNT);
  /** Ids of the common ideographs, made when the first one is met. */
  #ideographIds: Int32Array | undefined;
  #utf8 = new Uint8Array(0);
  #ids = new Int32Array(0);
  readonly #word = new Uint8Array(MAX_CACHED_BYTES);

  /**
   * @throws ElectraError `ERR_ELECTRA_VOCABULARY_TOKENS` without `[UNK]`, `ERR_ELECTRA_TOKENIZER_OPTION` for a number
   * that makes no sense.
   */
  constructor(options: TokenizerOptions) {
    this.vocabulary = options.vocabulary;
    this.basic = new BasicTokenizer(options);
    this.wordPiece = new WordPieceTokenizer(options);
    const capacity = options.cacheCapacity ?? 1 << 17;
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 1 << 24) {
      throw new ElectraError(
        "ERR_ELECTRA_TOKENIZER_OPTION",
        `cacheCapacity must be an integer of 1 to ${1 << 24}, not ${capacity}.`,
        { exitCode: 2 },
      );
    }
    this.#cache = new WordCache(capacity);
    this.#kinds = byteKinds(this.basic.lowerCase);
    this.#letters = letterBytes(this.basic.lowerCase);
    this.#shortWords = wholeWords(this.vocabulary, {
      capacity,
      kinds: this.#kinds,
      letters: this.#letters,
      maxChars: this.wordPiece.maxCharsPerWord,
    });
    for (let c = 33; c < 127; c++) {
      if (this.#kinds[c] === PUNCTUATION) this.#asciiIds[c] = this.#idOfCharacter(c);
    }
    for (let i = 0; i < GENERAL_PUNCTUATION_COUNT; i++) {
      this.#generalPunctuationIds[i] = this.#idOfCharacter(FIRST_GENERAL_PUNCTUATION + i);
    }
  }

  /** Ids of `text`. Lone surrogates are dropped. */
  encode(text: string): Int32Array {
    if (text.length * 3 > KEPT_BUFFER) return this.encodeBytes(encoder.encode(text));
    if (text.length * 3 > this.#utf8.length) {
      const size = Math.min(KEPT_BUFFER, Math.max(1024, text.length * 6));
      this.#utf8 = new Uint8Array(size);
      this.#ids = new Int32Array(size);
    }
    const { written } = encoder.encodeInto(text, this.#utf8);
    return this.#ids.slice(0, this.encodeInto(this.#utf8, 0, written, this.#ids, 0));
  }

  /** Ids of the UTF-8 text `utf8[start, end)`; malformed bytes are ignored, a byte order mark is dropped. */
  encodeBytes(utf8: Uint8Array, start = 0, end = utf8.length): Int32Array {
    const ids = new Int32Array(end - start);
    return ids.slice(0, this.encodeInto(utf8, start, end, ids, 0));
  }

  /**
   * Writes the ids of the UTF-8 text `utf8[start, end)` to `out` from `offset` on. There are never more ids than
   * bytes, so `offset + end − start` numbers are room enough.
   *
   * @returns the number of ids.
   * @throws RangeError if a range is outside its array or `out` is too small.
   */
  encodeInto(utf8: Uint8Array, start: number, end: number, out: Int32Array, offset: number): number {
    if (start < 0 || end < start || end > utf8.length) {
      throw new RangeError(`Bytes ${start} to ${end} of ${utf8.length} cannot be tokenized.`);
    }
    if (offset < 0 || offset + end - start > out.length) {
      throw new RangeError(
        `${end - start} bytes from offset ${offset} on need more room than ${out.length} ids.`,
      );
    }
    return this.#scan(utf8, start, end, out, offset) - offset;
  }

  /** The pieces of `text`, as the vocabulary writes them. */
  tokenize(text: string): string[] {
    return Array.from(this.encode(text), (id) => this.vocabulary.tokenOf(id));
  }

  /**
   * Text of ids: pieces with `##` are joined to what is before them, everything else with a space. Lossy, as the ids
   * know neither case nor spacing.
   *
   * @throws ElectraError `ERR_ELECTRA_TOKEN_ID` for an id outside the vocabulary.
   */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    let text = "";
    for (const id of ids) {
      const token = this.vocabulary.tokenOf(id);
      if (options.skipSpecialTokens && id !== this.wordPiece.unknownId && /^\[.+\]$/.test(token)) continue;
      if (token.startsWith("##") && token.length > 2) text += token.slice(2);
      else text += text === "" ? token : ` ${token}`;
    }
    return text;
  }

  /** The scanner: returns where the ids end in `out`. */
  #scan(bytes: Uint8Array, start: number, end: number, out: Int32Array, offset: number): number {
    const kinds = this.#kinds;
    const shortWords = this.#shortWords;
    let next = offset;
    let i = start;
    // The current piece, to be done again as a whole if something difficult turns up in it.
    let pieceStart = start;
    let pieceIds = offset;
    while (i < end) {
      let kind = kinds[bytes[i]!]!;
      let difficult = false;
      if (kind < SPACE) {
        const from = i;
        let low = 0;
        let high = 0;
        while (kind < SPACE) {
          high = (high << 6) | (low >>> 24);
          low = ((low << 6) | kind) & PACKED_HALF;
          kind = ++i < end ? kinds[bytes[i]!]! : SPACE;
        }
        if (kind >= NON_ASCII && this.#isolatedId(bytes, i, end) < 0) {
          difficult = true;
        } else {
          if (i - from <= MAX_PACKED_LETTERS) {
            const count = shortWords.lookup(low, high, out, next);
            next += count >= 0 ? count : this.#encodeShortWord(low, high, bytes, from, i, out, next);
          } else {
            next += this.#encodeLongWord(bytes, from, i, out, next);
          }
          if (kind === SPACE) {
            pieceStart = ++i;
            pieceIds = next;
          }
        }
      } else if (kind === SPACE) {
        pieceStart = ++i;
        pieceIds = next;
      } else if (kind === PUNCTUATION) {
        out[next++] = this.#asciiIds[bytes[i]!]!;
        i++;
      } else {
        const id = this.#isolatedId(bytes, i, end);
        if (id >= 0) {
          out[next++] = id;
          // A dash or quotation mark stays in its piece, an ideograph ends it.
          const ideograph = bytes[i] !== 0xe2;
          i += 3;
          if (ideograph) {
            pieceStart = i;
            pieceIds = next;
          }
        } else {
          difficult = true;
        }
      }
      if (difficult) {
        i = this.#pieceEnd(bytes, i, end);
        next = pieceIds + this.#encodePiece(bytes, pieceStart, i, out, pieceIds);
        pieceStart = i;
        pieceIds = next;
      }
    }
    return next;
  }

  /** Id of a character of three bytes at `i` that is always a word of its own, or −1 if it is another one. */
  #isolatedId(bytes: Uint8Array, i: number, end: number): number {
    if (i + 2 >= end) return -1;
    const first = bytes[i]!;
    const second = bytes[i + 1]!;
    const third = bytes[i + 2]!;
    if (first === 0xe2) {
      if (second !== 0x80 || third < 0x90 || third >= 0x90 + GENERAL_PUNCTUATION_COUNT) return -1;
      return this.#generalPunctuationIds[third - 0x90]!;
    }
    const ideograph = ideographAt(first, second, third);
    if (ideograph < 0) return -1;
    this.#ideographIds ??= this.#lookUpIdeographs();
    return this.#ideographIds[ideograph]!;
  }

  /** The end of a piece: the next white space of ASCII or common ideograph, both of which separate in any company. */
  #pieceEnd(bytes: Uint8Array, from: number, end: number): number {
    for (let i = from; i < end; i++) {
      const byte = bytes[i]!;
      if (this.#kinds[byte] === SPACE) return i;
      if (byte >= 0xe3 && byte <= 0xe9 && i + 2 < end && ideographAt(byte, bytes[i + 1]!, bytes[i + 2]!) >= 0)
        return i;
    }
    return end;
  }

  /** A word of at most ten ASCII letters and digits that is not in the cache. */
  #encodeShortWord(
    low: number,
    high: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    out: Int32Array,
    offset: number,
  ): number {
    for (let i = start; i < end; i++) this.#word[i - start] = this.#letters[bytes[i]!]!;
    const count = this.wordPiece.encodeWord(this.#word, 0, end - start, out, offset);
    this.#shortWords.add(low, high, out, offset, offset + count);
    return count;
  }

  /** A longer word of ASCII letters and digits. */
  #encodeLongWord(bytes: Uint8Array, start: number, end: number, out: Int32Array, offset: number): number {
    const letters = this.#letters;
    const length = end - start;
    const cached = length <= MAX_CACHED_BYTES;
    const word = cached ? this.#word : new Uint8Array(length);
    let hash = HASH_SEED;
    for (let i = 0; i < length; i++) {
      const letter = letters[bytes[start + i]!]!;
      word[i] = letter;
      hash = Math.imul(hash ^ letter, HASH_PRIME);
    }
    if (!cached) return this.wordPiece.encodeWord(word, 0, length, out, offset);
    const known = this.#cache.lookup(hash, word, 0, length, out, offset);
    if (known >= 0) return known;
    const count = this.wordPiece.encodeWord(word, 0, length, out, offset);
    this.#cache.add(hash, word, 0, length, out, offset, offset + count);
    return count;
  }

  /** A whole piece, by the general way. Its key is the piece as it stands; it has a byte that no ASCII word has. */
  #encodePiece(bytes: Uint8Array, start: number, end: number, out: Int32Array, offset: number): number {
    const short = end - start <= MAX_CACHED_BYTES;
    let hash = HASH_SEED;
    if (short) {
      for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, HASH_PRIME);
      const cached = this.#cache.lookup(hash, bytes, start, end, out, offset);
      if (cached >= 0) return cached;
    }
    let next = offset;
    for (const word of this.basic.tokenize(decoder.decode(bytes.subarray(start, end)))) {
      const utf8 = encoder.encode(word);
      next += this.wordPiece.encodeWord(utf8, 0, utf8.length, out, next);
    }
    if (short) this.#cache.add(hash, bytes, start, end, out, offset, next);
    return next - offset;
  }

  #lookUpIdeographs(): Int32Array {
    return Int32Array.from({ length: LAST_IDEOGRAPH - FIRST_IDEOGRAPH + 1 }, (_, i) =>
      this.#idOfCharacter(FIRST_IDEOGRAPH + i),
    );
  }

  #idOfCharacter(codePoint: number): number {
    return this.vocabulary.get(String.fromCodePoint(codePoint)) ?? this.wordPiece.unknownId;
  }
}
