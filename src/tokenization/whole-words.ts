import { SPACE } from "./byte-kinds.js";
import { MAX_PACKED_LETTERS, PACKED_HALF, ShortWordCache } from "./short-word-cache.js";
import type { Vocabulary } from "./vocabulary.js";

export interface WholeWordsOptions {
  /** The most words kept. */
  readonly capacity: number;
  /** What bytes are, see `byteKinds`. */
  readonly kinds: Uint8Array;
  /** What bytes count as, see `letterBytes`. */
  readonly letters: Uint8Array;
  /** Longer words are unknown. */
  readonly maxChars: number;
}

/**
 * A cache that knows the short words of a vocabulary: a word that is a token as a whole has no longer match, so nothing need be
 * cut. Left empty if they would take more than half of it.
 */
export function wholeWords(vocabulary: Vocabulary, options: WholeWordsOptions): ShortWordCache {
  const { capacity, kinds, letters } = options;
  const { tokens } = vocabulary;
  const most = Math.min(MAX_PACKED_LETTERS, options.maxChars);
  const cache = new ShortWordCache(capacity, tokens.length);
  if (tokens.length > capacity / 2) return cache;
  const unique = vocabulary.duplicates.length === 0;
  const ids = new Int32Array(1);
  for (let id = 0; id < tokens.length; id++) {
    const token = tokens[id]!;
    let low = 0;
    let high = 0;
    let i = 0;
    for (; i < token.length && i < most; i++) {
      const code = token.charCodeAt(i);
      // Characters that no word has after lower-casing are in no word's key.
      if (code > 127 || kinds[code]! >= SPACE || letters[code] !== code) break;
      high = (high << 6) | (low >>> 24);
      low = ((low << 6) | kinds[code]!) & PACKED_HALF;
    }
    // The last one counts of tokens that stand on several lines.
    if (i === 0 || i < token.length || !(unique || vocabulary.get(token) === id)) continue;
    ids[0] = id;
    cache.add(low, high, ids, 0, 1);
  }
  return cache;
}
