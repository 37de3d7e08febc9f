import type { ContextWords } from "../features/context-words.js";
import type { ScoredAnswer } from "./answer-predictor.js";
import type { TextRange } from "./final-text.js";

/**
 * Where an answer stands in its context, in UTF-16 offsets, the end excluded; undefined where nothing was found. The
 * context between them is the answer's text but for its white space: the text has one space between words.
 */
export function answerOffsets(
  { words, starts }: Pick<ContextWords, "words" | "starts">,
  answer: Pick<ScoredAnswer, "words" | "range">,
): TextRange | undefined {
  if (answer.words === undefined || answer.range === undefined) return undefined;
  const [first, last] = answer.words;
  const [start, end] = answer.range;
  /** Offset in the context of a unit of the joined words, which is in a word: an answer begins and ends in one. */
  const placeOf = (unit: number): number => {
    let before = 0;
    for (let word = first; word < last; word++) {
      const { length } = words[word]!;
      if (unit < before + length) return starts[word]! + unit - before;
      before += length + 1;
    }
    return starts[last]! + unit - before;
  };
  return [placeOf(start), placeOf(end - 1) + 1];
}
