import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { segmentWords } from "../inference/word-segmenter.js";
import { SeededRandom } from "../metrics/seeded-random.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";
import type { QuickstartRecipe } from "./recipe.js";

/** A sentence in which two words were swapped for others. */
export interface SwappedSentence {
  readonly original: string;
  readonly text: string;
  /** UTF-16 offsets in `text` of the words that are new, and what stood there. */
  readonly swaps: readonly { readonly start: number; readonly word: string; readonly original: string }[];
  /** Words of letters alone: those that could have been swapped. */
  readonly candidates: number;
}

export interface SwapWordsOptions {
  /** Folder of held-out text, one sentence a line. */
  readonly textDir: string;
  readonly tokenizer: Tokenizer;
  readonly recipe: QuickstartRecipe["firstUse"];
}

const swapsPerSentence = 2;
/** Shorter words are mostly such as stand anywhere. */
const shortestWord = 3;

/**
 * Takes sentences evenly from the held-out text and swaps two words of each for words of other such sentences, so that common words
 * come often and rare ones seldom. The choice depends on the recipe's seed alone; nobody looked at the outcome.
 */
export async function swapWords(options: SwapWordsOptions): Promise<SwappedSentence[]> {
  const { textDir, tokenizer, recipe } = options;
  const suitable: string[] = [];
  for (const name of (await readdir(textDir)).sort()) {
    const lines = (await readFile(join(textDir, name), "utf8")).split("\n");
    suitable.push(...lines.filter((line) => isSuitable(line, recipe)));
  }
  const random = new SeededRandom(recipe.seed);
  const pool = suitable.flatMap((line) => line.match(/[a-z]+/gi) ?? []).filter(isSwappable);
  const count = Math.min(recipe.sentences, suitable.length);
  return Array.from({ length: count }, (_, index) => {
    const original = suitable[Math.floor((index * suitable.length) / count)]!;
    return swapTwo(original, tokenizer, pool, random);
  });
}

/** A whole sentence of the wanted length, not a part of one. */
function isSuitable(line: string, { fewestWords, mostWords }: QuickstartRecipe["firstUse"]): boolean {
  const words = line.split(" ").length;
  return words >= fewestWords && words <= mostWords && /^[A-Z].*[.?!]$/.test(line);
}

function isSwappable(word: string): boolean {
  return word.length >= shortestWord && /^[a-z]+$/i.test(word);
}

function swapTwo(
  original: string,
  tokenizer: Tokenizer,
  pool: readonly string[],
  random: SeededRandom,
): SwappedSentence {
  const candidates = segmentWords(original, tokenizer).filter(({ text }) => isSwappable(text));
  const chosen = new Set<number>();
  while (chosen.size < Math.min(swapsPerSentence, candidates.length))
    chosen.add(random.below(candidates.length));
  let text = "";
  let end = 0;
  const swaps: SwappedSentence["swaps"][number][] = [];
  for (const index of [...chosen].sort((a, b) => a - b)) {
    const place = candidates[index]!;
    let word = place.text;
    for (let tries = 0; tries < 100 && word.toLowerCase() === place.text.toLowerCase(); tries++) {
      word = pool[random.below(pool.length)]!.toLowerCase();
    }
    // A capital would give the place away to the reader, and its absence too.
    if (place.text[0] !== place.text[0]!.toLowerCase()) word = word[0]!.toUpperCase() + word.slice(1);
    text += original.slice(end, place.start);
    swaps.push({ start: text.length, word, original: place.text });
    text += word;
    end = place.end;
  }
  return { original, text: text + original.slice(end), swaps, candidates: candidates.length };
}
