import type { BasicTokenizer } from "../../tokenization/basic-tokenizer.js";

/** Characters without spaces, and where each stood. */
interface Packed {
  readonly characters: readonly string[];
  readonly places: readonly number[];
}

/** UTF-16 offsets, the end excluded. */
export type TextRange = readonly [start: number, end: number];

/**
 * Projects a predicted answer, whose case, accents and spacing the tokenizer changed, back onto the words of the context:
 * `steve smith` in `Steve Smith's` is `Steve Smith`. Where that is not possible the whole original text is the answer.
 *
 * @param tokenizer the basic tokenizer that the model's input went through
 */
export function finalAnswerText(predicted: string, original: string, tokenizer: BasicTokenizer): string {
  return original.slice(...finalAnswerRange(predicted, original, tokenizer));
}

/** The same as a place in `original`. Of several places where the answer could be it is the first, as in the reference. */
export function finalAnswerRange(
  predicted: string,
  original: string,
  tokenizer: BasicTokenizer,
): [start: number, end: number] {
  const whole: [number, number] = [0, original.length];
  const tokenized = tokenizer.tokenize(original).join(" ");
  const found = tokenized.indexOf(predicted);
  if (found < 0) return whole;
  const originalCharacters = [...original];
  const originalPacked = withoutSpaces(originalCharacters);
  const tokenizedPacked = withoutSpaces([...tokenized]);
  if (originalPacked.characters.length !== tokenizedPacked.characters.length) return whole;
  // Places count code points, as the texts' lengths may differ in UTF-16.
  const first = [...tokenized.slice(0, found)].length;
  const last = first + [...predicted].length - 1;
  const start = originalPacked.places[tokenizedPacked.places.indexOf(first)];
  const end = originalPacked.places[tokenizedPacked.places.indexOf(last)];
  if (start === undefined || end === undefined) return whole;
  const before = originalCharacters.slice(0, start).join("").length;
  return [before, before + originalCharacters.slice(start, end + 1).join("").length];
}

function withoutSpaces(characters: readonly string[]): Packed {
  const kept: string[] = [];
  const places: number[] = [];
  characters.forEach((character, i) => {
    if (character === " ") return;
    kept.push(character);
    places.push(i);
  });
  return { characters: kept, places };
}
