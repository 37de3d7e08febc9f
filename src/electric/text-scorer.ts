import type { PretrainedModel } from "../inference/pretrained-model.js";

/** A word piece of a text and what it adds to the text's score. */
export interface ScoredToken {
  /** As the vocabulary writes it; one that continues a word begins with `##`. */
  readonly token: string;
  readonly id: number;
  /** UTF-16 offsets, in the text, of the word that it is a piece of. */
  readonly start: number;
  readonly end: number;
  /** Nats; a higher one fits its place better. */
  readonly score: number;
}

/** A text's pseudo-log-likelihood. */
export interface ScoredText {
  /** Sum over the tokens, without [CLS] and [SEP]; 0 for a text without tokens. */
  readonly score: number;
  /** `score` divided by the number of tokens; 0 for a text without tokens. */
  readonly mean: number;
  readonly tokens: readonly ScoredToken[];
}

export interface ScoreOptions {
  readonly signal?: AbortSignal;
}

/** Anything that tells likely texts from unlikely ones. */
export interface TextScorer {
  readonly model: PretrainedModel;
  /** One result for each text, in the order of the texts. */
  score(texts: readonly string[], options?: ScoreOptions): Promise<ScoredText[]>;
  dispose(): Promise<void>;
}

/** Adds up what the tokens of a text score. */
export function totalScore(tokens: readonly ScoredToken[]): ScoredText {
  const score = tokens.reduce((sum, token) => sum + token.score, 0);
  return { score, mean: tokens.length === 0 ? 0 : score / tokens.length, tokens };
}
