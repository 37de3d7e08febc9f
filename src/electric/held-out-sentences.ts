import { SentenceSplitter } from "../data/sentence-splitter.js";

export interface HeldOutSentencesOptions {
  /** Texts that a model learned from. */
  readonly training: readonly { readonly text: string }[];
  readonly heldOut: readonly { readonly text: string }[];
  /** Words as spaces part them. */
  readonly fewestWords: number;
  readonly mostWords: number;
}

/**
 * Whole sentences of texts that nothing was learned from, each once, in their order: they begin with a capital, end with
 * a full stop, question or exclamation mark, and do not stand word for word in the training texts, as stock phrases do.
 */
export function heldOutSentences(options: HeldOutSentencesOptions): string[] {
  const { training, heldOut, fewestWords, mostWords } = options;
  const learned = new Set(sentencesOf(training));
  const whole = /^[A-Z].*[.?!]$/;
  return [...new Set(sentencesOf(heldOut))].filter((sentence) => {
    const words = sentence.split(" ").length;
    return words >= fewestWords && words <= mostWords && whole.test(sentence) && !learned.has(sentence);
  });
}

function* sentencesOf(texts: readonly { readonly text: string }[]): Generator<string> {
  const splitter = new SentenceSplitter();
  for (const { text } of texts) {
    for (const line of text.split("\n")) yield* splitter.split(line);
  }
}
