/** Words as white space parts them; what is a word, and case, are the business of who wrote the texts. */
export function wordsOf(text: string): string[] {
  return text.split(/\s+/u).filter((word) => word !== "");
}

/** Fewest insertions, deletions and substitutions of words that turn one text into the other. */
export function wordErrors(reference: string, hypothesis: string): number {
  const from = wordsOf(reference);
  const to = wordsOf(hypothesis);
  // row[j]: errors between the words of the reference so far and the first j of the hypothesis.
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (const [i, word] of from.entries()) {
    const next = [i + 1];
    for (const [j, other] of to.entries()) {
      next.push(Math.min(row[j]! + (word === other ? 0 : 1), row[j + 1]! + 1, next[j]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}
