const ASCII_PUNCTUATION = /[!-/:-@[-`{-~]/g;
// Python's \b and \w: letters, numbers and the underscore of all scripts.
const ARTICLES = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;

/**
 * The form in which the official scripts of SQuAD 1.1, SQuAD 2.0 and MRQA compare answers: lower case, without ASCII
 * punctuation, without English articles, white space collapsed.
 */
export function normalizeAnswer(text: string): string {
  return answerWords(text).join(" ");
}

/** The words of the normalised answer. */
export function answerWords(text: string): string[] {
  const plain = text.toLowerCase().replace(ASCII_PUNCTUATION, "").replace(ARTICLES, " ");
  const words: string[] = [];
  let word = "";
  for (const character of plain) {
    if (isWhiteSpace(character.charCodeAt(0))) {
      if (word !== "") words.push(word);
      word = "";
    } else word += character;
  }
  if (word !== "") words.push(word);
  return words;
}

/** 1 if the normalised answers are equal, else 0. */
export function exactAnswer(gold: string, predicted: string): 0 | 1 {
  return normalizeAnswer(gold) === normalizeAnswer(predicted) ? 1 : 0;
}

/**
 * F1 of the answers' words as multisets, 0 to 1.
 *
 * @param emptyEquals what two answers without words give: SQuAD 2.0 says 1, SQuAD 1.1 and MRQA say 0
 */
export function answerF1(gold: string, predicted: string, emptyEquals: 0 | 1): number {
  const goldWords = answerWords(gold);
  const foundWords = answerWords(predicted);
  if (goldWords.length === 0 && foundWords.length === 0) return emptyEquals;
  const left = new Map<string, number>();
  for (const word of goldWords) left.set(word, (left.get(word) ?? 0) + 1);
  let shared = 0;
  for (const word of foundWords) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    shared++;
  }
  if (shared === 0) return 0;
  const precision = shared / foundWords.length;
  const recall = shared / goldWords.length;
  return (2 * precision * recall) / (precision + recall);
}

/** White space as Python's `str.split` has it. */
function isWhiteSpace(code: number): boolean {
  if (code <= 0x20) return code === 0x20 || (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x1f);
  return (
    code === 0x85 ||
    code === 0xa0 ||
    code === 0x1680 ||
    (code >= 0x2000 && code <= 0x200a) ||
    [0x2028, 0x2029, 0x202f, 0x205f, 0x3000].includes(code)
  );
}
