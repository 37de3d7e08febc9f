import { SeededRandom } from "../../metrics/seeded-random.js";

/** A language of its own: words that a vocabulary knows as they are, rare ones that it takes apart. */
export interface GeneratedLanguage {
  /** One token a line. */
  readonly vocabulary: string;
  /** By falling frequency. */
  readonly words: readonly string[];
}

const CONSONANTS = "bcdfghjklmnprstvwz";
const VOWELS = "aeiou";

/**
 * Makes up a language of `size` words, of which the vocabulary holds the more frequent half and all letters as continuations, so that
 * every word can be written. For measurements that must not depend on whose text is at hand.
 */
export function generateLanguage(size: number, seed = 1): GeneratedLanguage {
  const random = new SeededRandom(seed);
  const of = (letters: string) => letters[random.below(letters.length)]!;
  const words = new Set<string>();
  while (words.size < size) {
    const syllables = 1 + random.below(4);
    words.add(Array.from({ length: syllables }, () => of(CONSONANTS) + of(VOWELS)).join(""));
  }
  const letters = [...`${CONSONANTS}${VOWELS}`];
  const list = [...words];
  const tokens = [
    ...["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ","],
    ...letters,
    ...letters.map((letter) => `##${letter}`),
    ...list.slice(0, size >> 1),
  ];
  return { vocabulary: `${tokens.join("\n")}\n`, words: list };
}

/**
 * Text of at least `bytes` bytes in pieces: sentences of five to thirty words, one a line, twenty to a document, the r-th word as
 * frequent as 1 / r (Zipf).
 */
export function* generateText({ words }: GeneratedLanguage, bytes: number, seed = 1): Generator<string> {
  const random = new SeededRandom(seed);
  let written = 0;
  for (let piece: string[] = [], size = 0, sentence = 1; written < bytes; sentence++) {
    const length = 5 + random.below(26);
    let line = "";
    for (let word = 0; word < length; word++) {
      // Density 1 / r: the logarithm of the rank is uniform.
      const rank = Math.floor(words.length ** (random.below(1 << 24) / (1 << 24)));
      line += (word === 0 ? "" : " ") + words[Math.min(rank, words.length) - 1]!;
    }
    line += sentence % 20 === 0 ? ".\n\n" : ".\n";
    piece.push(line);
    size += line.length;
    written += line.length;
    if (size >= 1 << 16 || written >= bytes) {
      yield piece.join("");
      piece = [];
      size = 0;
    }
  }
}
