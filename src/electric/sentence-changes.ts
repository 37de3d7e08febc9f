import type { SeededRandom } from "../metrics/seeded-random.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";

/** A sentence and the same sentence with one change, both of as many tokens. */
export interface ChangedSentence {
  readonly original: string;
  readonly changed: string;
}

export interface SentenceChangesOptions {
  readonly tokenizer: Tokenizer;
  /** Words, in lower case, and how often they occur in the training text. */
  readonly wordCounts: ReadonlyMap<string, number>;
  readonly random: SeededRandom;
  /** Words that occur less often neither replace nor are replaced: too little is known of them. Default 5. */
  readonly fewestOccurrences?: number;
}

/** Letters alone, neither part of a compound nor of a contraction. */
const wordPattern = /(?<![\p{L}\p{N}'’-])[A-Za-z]+(?![\p{L}\p{N}'’-])/gu;
/** Places in the list of words by frequency that a replacement is away from its original at most … */
const farthest = 10;
/** … and how much oftener one of the two may occur. */
const largestRatio = 1.25;
/** Words of a sentence, or pairs of them, that are tried. */
const tries = 20;

interface Place {
  readonly start: number;
  readonly word: string;
}

/** Makes minimal pairs: sentences with one change that leaves length and word frequencies as they are. */
export class SentenceChanges {
  readonly #random: SeededRandom;
  readonly #tokenizer: Tokenizer;
  /** Words of so many tokens, the rarest first. */
  readonly #byTokens = new Map<number, { readonly words: string[]; readonly counts: number[] }>();
  readonly #ranks = new Map<string, { readonly tokens: number; readonly rank: number }>();

  constructor(options: SentenceChangesOptions) {
    const { tokenizer, wordCounts, random, fewestOccurrences = 5 } = options;
    this.#random = random;
    this.#tokenizer = tokenizer;
    const known = [...wordCounts]
      .filter(([word, count]) => count >= fewestOccurrences && /^[a-z]+$/.test(word))
      // Neighbours of equal frequency must not be neighbours in the alphabet, which are often forms of one word.
      .map(([word, count]) => ({ word, count, chance: shuffleKey(word) }))
      .sort((a, b) => a.count - b.count || a.chance - b.chance || (a.word < b.word ? -1 : 1));
    for (const { word, count } of known) {
      const tokens = tokenizer.encode(word).length;
      let list = this.#byTokens.get(tokens);
      if (list === undefined) {
        list = { words: [], counts: [] };
        this.#byTokens.set(tokens, list);
      }
      this.#ranks.set(word, { tokens, rank: list.words.length });
      list.words.push(word);
      list.counts.push(count);
    }
  }

  /** Two different words of the sentence change places; undefined where there are none. */
  swap(original: string): ChangedSentence | undefined {
    const places = placesOf(original);
    if (places.length < 2) return undefined;
    for (let attempt = 0; attempt < tries; attempt++) {
      const a = places[this.#random.below(places.length)]!;
      const b = places[this.#random.below(places.length)]!;
      if (a.word.toLowerCase() === b.word.toLowerCase()) continue;
      const [first, second] = a.start < b.start ? [a, b] : [b, a];
      const changed = put(put(original, second, first.word), first, second.word);
      return this.#ofEqualLength(original, changed);
    }
    return undefined;
  }

  /**
   * One word is replaced by another of as many tokens that stands near it when words are ordered by frequency, by chance
   * on either side: so the new word is as likely to be the more frequent one as the old one. Undefined where no word of
   * the sentence has such a neighbour.
   */
  replace(original: string): ChangedSentence | undefined {
    const places = placesOf(original);
    if (places.length === 0) return undefined;
    for (let attempt = 0; attempt < tries; attempt++) {
      const place = places[this.#random.below(places.length)]!;
      const word = this.#neighbour(place.word.toLowerCase());
      if (word !== undefined) return this.#ofEqualLength(original, put(original, place, word));
    }
    return undefined;
  }

  #neighbour(word: string): string | undefined {
    const distance = 1 + this.#random.below(farthest);
    const side = this.#random.below(2);
    const found = this.#ranks.get(word);
    if (found === undefined) return undefined;
    const { words, counts } = this.#byTokens.get(found.tokens)!;
    const [rarer, commoner] = [found.rank - distance, found.rank + distance];
    // Both must be there: where words thin out, among the most frequent ones, only rarer ones would be near enough.
    if (rarer < 0 || commoner >= words.length) return undefined;
    const count = counts[found.rank]!;
    if (count > largestRatio * counts[rarer]! || counts[commoner]! > largestRatio * count) return undefined;
    return words[side === 0 ? rarer : commoner];
  }

  #ofEqualLength(original: string, changed: string): ChangedSentence | undefined {
    const same = this.#tokenizer.encode(original).length === this.#tokenizer.encode(changed).length;
    return same ? { original, changed } : undefined;
  }
}

function placesOf(sentence: string): Place[] {
  return [...sentence.matchAll(wordPattern)].map(({ 0: word, index }) => ({ start: index, word }));
}

/** The sentence with another word at a place, in the case of the one that stood there. */
function put(sentence: string, { start, word }: Place, other: string): string {
  const capital = word[0] !== word[0]!.toLowerCase();
  const cased = (capital ? other[0]!.toUpperCase() : other[0]!.toLowerCase()) + other.slice(1);
  return sentence.slice(0, start) + cased + sentence.slice(start + word.length);
}

/** A number that depends on the word alone, so that the order of the counts does not matter (FNV-1a). */
function shuffleKey(word: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < word.length; i++) hash = Math.imul(hash ^ word.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
