import type { DetectedWord, ReplacedTokenDetector } from "../inference/replaced-token-detector.js";
import type { SwappedSentence } from "./swapped-words.js";

/** The first sentence, word by word, and how often the detector was right over all of them. */
export interface FirstUse {
  readonly original: string;
  readonly text: string;
  readonly words: readonly (DetectedWord & {
    readonly swapped: boolean;
    /** What stood here before, for swapped words. */
    readonly original: string | null;
  })[];
  /** Sentences in which two words were swapped. */
  readonly sentences: number;
  readonly swapped: number;
  /** Swapped words among the two most suspected words of letters of their sentence. */
  readonly found: number;
  /** How many pointing at random would have found, on average. */
  readonly foundByChance: number;
}

/** Lets a detector look for the swapped words. */
export async function tryDetector(
  detector: ReplacedTokenDetector,
  sentences: readonly SwappedSentence[],
  signal?: AbortSignal,
): Promise<FirstUse | undefined> {
  const results = await detector.detect(
    sentences.map(({ text }) => text),
    signal === undefined ? {} : { signal },
  );
  let swapped = 0;
  let found = 0;
  let foundByChance = 0;
  for (const [index, { swaps, candidates }] of sentences.entries()) {
    const starts = new Set(swaps.map(({ start }) => start));
    const suspects = results[index]!.filter(({ word }) => /^[a-z]{3,}$/i.test(word))
      .sort((a, b) => b.probability - a.probability || a.start - b.start)
      .slice(0, swaps.length);
    swapped += swaps.length;
    found += suspects.filter(({ start }) => starts.has(start)).length;
    foundByChance += (swaps.length * swaps.length) / Math.max(1, candidates);
  }
  const first = sentences[0];
  if (first === undefined) return undefined;
  const originals = new Map(first.swaps.map(({ start, original }) => [start, original]));
  return {
    original: first.original,
    text: first.text,
    words: results[0]!.map((word) => ({
      ...word,
      swapped: originals.has(word.start),
      original: originals.get(word.start) ?? null,
    })),
    sentences: sentences.length,
    swapped,
    found,
    foundByChance,
  };
}
