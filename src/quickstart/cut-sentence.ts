import { segmentWords } from "../inference/word-segmenter.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";

/**
 * A sentence in as few parts as possible of at most `capacity` tokens each, all of about one size, cut between words.
 * Examples are short here, and what does not fit into one would be lost.
 */
export function cutSentence(sentence: string, tokenizer: Tokenizer, capacity: number): string[] {
  const total = tokenizer.encode(sentence).length;
  if (total <= capacity) return total === 0 ? [] : [sentence];
  const words = segmentWords(sentence, tokenizer);
  const size = Math.ceil(total / Math.ceil(total / capacity));
  const parts: string[] = [];
  let first = 0;
  let used = 0;
  for (const [index, { ids }] of words.entries()) {
    if (index > first && (used >= size || used + ids.length > capacity)) {
      parts.push(sentence.slice(words[first]!.start, words[index - 1]!.end));
      first = index;
      used = 0;
    }
    used += ids.length;
  }
  parts.push(sentence.slice(words[first]!.start, words.at(-1)!.end));
  return parts;
}
