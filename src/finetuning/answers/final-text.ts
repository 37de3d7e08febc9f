import type { BasicTokenizer } from "../../tokenization/basic-tokenizer.js";

/** Characters without spaces, and where each stood. */
interface Packed {
  readonly characters: readonly string[];
  readonly places: readonly number[];
}

/**
 * Projects a predicted answer, whose case, accents and spacing the tokenizer changed, back onto the words of the context:
 * `steve smith` in `Steve Smith's` is `Steve Smith`. Where that is not possible the whole original text is the answer.
 *
 * @param tokenizer the basic tokenizer that the model's input went through
 */
export function finalAnswerText(predicted: string, original: string, tokenizer: BasicTokenizer): string {
  const tokenized = tokenizer.tokenize(original).join(" ");
  const found = tokenized.indexOf(predicted);
  if (found < 0) return original;
  const originalCharacters = [...original];
  const originalPacked = withoutSpaces(originalCharacters);
  const tokenizedPacked = withoutSpaces([...tokenized]);
  if (originalPacked.characters.length !== tokenizedPacked.characters.length) return original;
  // Places count code points, as the texts' lengths may differ in UTF-16.
  const first = [...tokenized.slice(0, found)].length;
  const last = first + [...predicted].length - 1;
  const start = originalPacked.places[tokenizedPacked.places.indexOf(first)];
  const end = originalPacked.places[tokenizedPacked.places.indexOf(last)];
  if (start === undefined || end === undefined) return original;
  return originalCharacters.slice(start, end + 1).join("");
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
