import type { Tokenizer } from "../tokenization/tokenizer.js";

/**
 * Scores texts by how often their tokens occur in a training text, whatever stands beside them: Σₜ log p(xₜ), add-one
 * smoothing. What a scorer that reads context has to beat. The order of the tokens makes no difference, not even in the
 * last bit.
 */
export class UnigramScorer {
  readonly #tokenizer: Tokenizer;
  readonly #logProbabilities: Float64Array;

  /** @param counts occurrences of every id of the tokenizer's vocabulary in the training text */
  constructor(tokenizer: Tokenizer, counts: ArrayLike<number>) {
    this.#tokenizer = tokenizer;
    const { size } = tokenizer.vocabulary;
    let total = size;
    for (let id = 0; id < size; id++) total += counts[id] ?? 0;
    this.#logProbabilities = Float64Array.from({ length: size }, (_, id) =>
      Math.log(((counts[id] ?? 0) + 1) / total),
    );
  }

  /** Sum and mean over each text's tokens; 0 for a text without tokens. */
  score(texts: readonly string[]): { readonly score: number; readonly mean: number }[] {
    return texts.map((text) => {
      // Sorted, because sums of floating-point numbers depend on the order.
      const ids = this.#tokenizer.encode(text).sort();
      const score = ids.reduce((sum, id) => sum + this.#logProbabilities[id]!, 0);
      return { score, mean: ids.length === 0 ? 0 : score / ids.length };
    });
  }
}
