import type { SpecialIds } from "../inference/pretrained-model.js";
import { planTextWindows } from "../inference/text-windows.js";
import { segmentWords } from "../inference/word-segmenter.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";
import type { ScoredToken } from "./text-scorer.js";

/** A piece before it is scored. */
export interface Piece extends Omit<ScoredToken, "score"> {
  /** Which word of the text it belongs to, from 0. */
  readonly word: number;
}

/** `[CLS] pieces [SEP]`, a stretch of the text that the model reads at once. */
export interface ScoringWindow {
  readonly ids: Int32Array;
  /** The piece that stands behind [CLS]. */
  readonly first: number;
  /** Pieces scored in this window; over all windows each piece exactly once. */
  readonly keepStart: number;
  readonly keepEnd: number;
}

export interface TextForScoring {
  readonly pieces: readonly Piece[];
  readonly windows: readonly ScoringWindow[];
}

/**
 * Cuts a text into pieces and the pieces into windows: a single one where the text fits, else windows that overlap by
 * about half, each piece being scored where it stands farther from the edge. They are cut between words, but for a word
 * that is longer than the model reads.
 */
export function windowsForScoring(
  text: string,
  model: { readonly tokenizer: Tokenizer; readonly special: SpecialIds; readonly maxLength: number },
): TextForScoring {
  const { tokenizer, special, maxLength } = model;
  const capacity = maxLength - 2;
  const pieces: Piece[] = [];
  const units: number[] = [];
  for (const [word, { ids, start, end }] of segmentWords(text, tokenizer).entries()) {
    for (const id of ids) pieces.push({ token: tokenizer.vocabulary.tokenOf(id), id, start, end, word });
    for (let rest = ids.length; rest > 0; rest -= capacity) units.push(Math.min(rest, capacity));
  }
  // offsets[u] is the first piece of unit u.
  const offsets = [0];
  for (const size of units) offsets.push(offsets.at(-1)! + size);
  const windows = planTextWindows(units, capacity).map((window): ScoringWindow => {
    const first = offsets[window.start]!;
    const inside = pieces.slice(first, offsets[window.end]!);
    return {
      ids: Int32Array.from([special.cls, ...inside.map(({ id }) => id), special.sep]),
      first,
      keepStart: offsets[window.keepStart]!,
      keepEnd: offsets[window.keepEnd]!,
    };
  });
  return { pieces, windows };
}

/** The pieces with their scores. */
export function scoredTokens(pieces: readonly Piece[], scores: Float64Array): ScoredToken[] {
  return pieces.map(({ token, id, start, end }, k) => ({ token, id, start, end, score: scores[k]! }));
}
