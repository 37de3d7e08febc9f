import { ElectraError } from "../errors.js";
import { compareByCodePoints } from "./code-point-order.js";
import { MergeQueue } from "./merge-queue.js";
import { Vocabulary } from "./vocabulary.js";

export interface WordPieceTrainerOptions {
  /** Tokens at most, special and unused ones included. */
  readonly vocabSize: number;
  /** Pairs that occur less often are not joined. Default 2. */
  readonly minFrequency?: number;
  /** Different characters at most; words with a rarer one are left out, they will be [UNK]. Default 1000. */
  readonly alphabetLimit?: number;
  /** Number of `[unusedN]` tokens, which keep ids free for words to come. BERT's first block has 99. Default 0. */
  readonly unusedTokens?: number;
  /**
   * The first gets id 0, which is padding; the unused tokens follow it, then the rest.
   * Default `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`, which have to be among them.
   */
  readonly specialTokens?: readonly string[];
  /** Longer words (in code points) are left out: the tokenizer makes them [UNK]. Default 200. */
  readonly maxCharsPerWord?: number;
}

export interface WordPieceTraining {
  /** Special and unused tokens, the alphabet in code point order (beginnings, then continuations), joined pieces. */
  readonly vocabulary: Vocabulary;
  readonly alphabetSize: number;
  /** Pieces made by joining, the frequent ones first. */
  readonly joinedPieces: number;
  /** Different words, and occurrences of words, that were given. */
  readonly words: number;
  readonly occurrences: number;
  /** Occurrences of words left out for a character outside the alphabet or for their length. */
  readonly skippedOccurrences: number;
}

const DEFAULT_SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/** Two pieces that stand side by side somewhere. */
interface Pair {
  readonly left: number;
  readonly right: number;
  count: number;
  /** Words it occurred in; some may have lost it since. */
  readonly words: number[];
}

/**
 * Trains a WordPiece vocabulary by joining the most frequent pair of neighbouring pieces, again and again (byte-pair
 * encoding: Sennrich et al. 2016, algorithm 1), on pieces in WordPiece's notation, `w ##o ##r ##d`. This is what Hugging
 * Face's WordPieceTrainer does; the trainer of the original vocabularies, which joins by likelihood, was never published.
 *
 * The result depends on the counts alone, not on the order of the words: equally frequent pairs are joined in the code
 * point order of their left, then their right piece.
 *
 * @param words words as the basic tokenizer leaves them, with their counts; a word given twice is added up.
 * @throws ElectraError `ERR_ELECTRA_TRAINER_OPTION` for options that make no sense or cannot be met,
 * `ERR_ELECTRA_TRAINER_NO_WORDS` if there is nothing to learn from.
 */
export function trainWordPiece(
  words: Iterable<readonly [word: string, count: number]>,
  options: WordPieceTrainerOptions,
): WordPieceTraining {
  const minFrequency = integerOption("minFrequency", options.minFrequency ?? 2, 1);
  const vocabSize = integerOption("vocabSize", options.vocabSize, 1);
  const counts = sumUp(words);
  const { kept, alphabet, skippedOccurrences, occurrences } = chooseAlphabet(counts, options);
  if (kept.length === 0) {
    throw new ElectraError("ERR_ELECTRA_TRAINER_NO_WORDS", "There are no words to train a vocabulary on.", {
      hint: "Is the text empty, or does the alphabet limit leave no word whole?",
    });
  }
  const reserved = reservedTokens(options);
  // A word may spell like a reserved token; that is then its piece.
  const tokens = [...new Set([...reserved, ...alphabet])];
  if (tokens.length > vocabSize) {
    throw new ElectraError(
      "ERR_ELECTRA_TRAINER_OPTION",
      `A vocabulary of ${vocabSize} has no room for ${reserved.length} special and unused tokens and ${alphabet.length} characters.`,
      { hint: `Ask for a size above ${tokens.length}, or lower the alphabet limit.`, exitCode: 2 },
    );
  }
  const joinedPieces = joinPairs(tokens, kept, vocabSize, minFrequency);
  return {
    vocabulary: Vocabulary.fromTokens(tokens, { source: "the trained vocabulary" }),
    alphabetSize: alphabet.length,
    joinedPieces,
    words: counts.size,
    occurrences,
    skippedOccurrences,
  };
}

function integerOption(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new ElectraError(
    "ERR_ELECTRA_TRAINER_OPTION",
    `${name} must be an integer of at least ${least}, not ${value}.`,
    {
      exitCode: 2,
    },
  );
}

function sumUp(words: Iterable<readonly [string, number]>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [word, count] of words) {
    if (word === "" || count <= 0) continue;
    counts.set(word, (counts.get(word) ?? 0) + count);
  }
  return counts;
}

function reservedTokens(options: WordPieceTrainerOptions): string[] {
  const special = options.specialTokens ?? DEFAULT_SPECIAL_TOKENS;
  const unused = integerOption("unusedTokens", options.unusedTokens ?? 0, 0);
  const missing = DEFAULT_SPECIAL_TOKENS.filter((token) => !special.includes(token));
  if (missing.length > 0 || special[0] !== "[PAD]" || new Set(special).size < special.length) {
    throw new ElectraError(
      "ERR_ELECTRA_TRAINER_OPTION",
      `specialTokens must begin with [PAD] and hold [UNK], [CLS], [SEP] and [MASK], each once, not ${special.join(" ")}.`,
      { exitCode: 2 },
    );
  }
  return ["[PAD]", ...Array.from({ length: unused }, (_, i) => `[unused${i}]`), ...special.slice(1)];
}

/** The words that can be spelled, as pieces of one character, and all these pieces in order. */
function chooseAlphabet(counts: ReadonlyMap<string, number>, options: WordPieceTrainerOptions) {
  const limit = integerOption("alphabetLimit", options.alphabetLimit ?? 1000, 1);
  const maxChars = integerOption("maxCharsPerWord", options.maxCharsPerWord ?? 200, 1);
  const frequency = new Map<string, number>();
  const spelled: { readonly characters: readonly string[]; readonly count: number }[] = [];
  let occurrences = 0;
  for (const [word, count] of counts) {
    occurrences += count;
    const characters = Array.from(word);
    if (characters.length > maxChars) continue;
    spelled.push({ characters, count });
    for (const c of characters) frequency.set(c, (frequency.get(c) ?? 0) + count);
  }
  const ranked = [...frequency].sort(([a, x], [b, y]) => y - x || compareByCodePoints(a, b));
  const known = new Set(ranked.slice(0, limit).map(([c]) => c));
  const beginnings = new Set<string>();
  const continuations = new Set<string>();
  const kept: { readonly pieces: readonly string[]; readonly count: number }[] = [];
  let keptOccurrences = 0;
  for (const { characters, count } of spelled) {
    if (!characters.every((c) => known.has(c))) continue;
    keptOccurrences += count;
    const pieces = characters.map((c, i) => (i === 0 ? c : `##${c}`));
    beginnings.add(pieces[0]!);
    for (let i = 1; i < pieces.length; i++) continuations.add(pieces[i]!);
    kept.push({ pieces, count });
  }
  // Letters and digits will turn up in any place of unseen words, so they get both forms.
  for (const c of known) {
    if (!/^[0-9A-Za-z]$/.test(c)) continue;
    beginnings.add(c);
    continuations.add(`##${c}`);
  }
  const alphabet = [
    ...[...beginnings].sort(compareByCodePoints),
    ...[...continuations].sort(compareByCodePoints),
  ];
  return { kept, alphabet, occurrences, skippedOccurrences: occurrences - keptOccurrences };
}

/** Appends joined pieces to `tokens` until there are `vocabSize` or no pair is frequent enough; says how many. */
function joinPairs(
  tokens: string[],
  words: readonly { readonly pieces: readonly string[]; readonly count: number }[],
  vocabSize: number,
  minFrequency: number,
): number {
  const given = tokens.length;
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const spelling = words.map((word) => word.pieces.map((piece) => ids.get(piece)!));
  const pairs = new Map<number, Pair>();
  const queue = new MergeQueue<Pair>(
    (a, b) =>
      compareByCodePoints(tokens[a.left]!, tokens[b.left]!) ||
      compareByCodePoints(tokens[a.right]!, tokens[b.right]!),
  );
  /**
   * Adds `sign` times the word's count to each of its pairs, and the word to the lists of those with the piece `added`
   * (of all if there is none); `touched` collects the counts from before.
   */
  const tally = (word: number, sign: 1 | -1, added?: number, touched?: Map<Pair, number>): void => {
    const symbols = spelling[word]!;
    const change = sign * words[word]!.count;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const key = symbols[i]! * 2 ** 26 + symbols[i + 1]!;
      let pair = pairs.get(key);
      if (pair === undefined) {
        pair = { left: symbols[i]!, right: symbols[i + 1]!, count: 0, words: [] };
        pairs.set(key, pair);
      }
      if (touched !== undefined && !touched.has(pair)) touched.set(pair, pair.count);
      pair.count += change;
      const listed = sign < 0 || (added !== undefined && pair.left !== added && pair.right !== added);
      if (!listed && pair.words.at(-1) !== word) pair.words.push(word);
    }
  };
  for (let word = 0; word < spelling.length; word++) tally(word, 1);
  for (const pair of pairs.values()) queue.push(pair);

  while (tokens.length < vocabSize) {
    const best = queue.pop(minFrequency);
    if (best === undefined) break;
    const text = tokens[best.left]! + tokens[best.right]!.slice(2);
    let joined = ids.get(text);
    if (joined === undefined) {
      joined = tokens.push(text) - 1;
      ids.set(text, joined);
    }
    const touched = new Map<Pair, number>();
    for (const word of new Set(best.words)) {
      tally(word, -1, joined, touched);
      spelling[word] = join(spelling[word]!, best, joined);
      tally(word, 1, joined, touched);
    }
    pairs.delete(best.left * 2 ** 26 + best.right);
    for (const [pair, before] of touched) {
      if (pair.count > before) queue.push(pair);
    }
  }
  return tokens.length - given;
}

function join(symbols: readonly number[], pair: Pair, joined: number): number[] {
  const result: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === pair.left && symbols[i + 1] === pair.right) {
      result.push(joined);
      i++;
    } else {
      result.push(symbols[i]!);
    }
  }
  return result;
}
