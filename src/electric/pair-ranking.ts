import { wilsonInterval } from "../metrics/wilson-interval.js";
import type { Likelihood } from "./rerank.js";
import type { ChangedSentence } from "./sentence-changes.js";
import type { ScoreOptions } from "./text-scorer.js";

/** Anything that scores texts, also without a model. */
export interface PairScorer {
  score(
    texts: readonly string[],
    options?: ScoreOptions,
  ): readonly Likelihood[] | Promise<readonly Likelihood[]>;
}

/** How often a scorer prefers real sentences to changed ones. */
export interface PairRanking {
  readonly pairs: number;
  /** Pairs in which the real sentence scores higher. */
  readonly above: number;
  readonly ties: number;
  /** Share of pairs in which the real sentence scores higher, ties counting half: 0.5 is guessing. */
  readonly share: number;
  /** 95 % interval (Wilson). */
  readonly lower: number;
  readonly upper: number;
}

/** The scores of a scorer over pairs. */
export interface ScoredPairs {
  readonly original: readonly Likelihood[];
  readonly changed: readonly Likelihood[];
}

/** Scores both sentences of every pair, each different sentence once. */
export async function scorePairs(
  pairs: readonly ChangedSentence[],
  scorer: PairScorer,
  options: ScoreOptions = {},
): Promise<ScoredPairs> {
  const texts = [...new Set(pairs.flatMap(({ original, changed }) => [original, changed]))];
  const scores = await scorer.score(texts, options);
  const found = new Map(texts.map((text, index) => [text, scores[index]!]));
  return {
    original: pairs.map(({ original }) => found.get(original)!),
    changed: pairs.map(({ changed }) => found.get(changed)!),
  };
}

/** Compares the sums: both sentences of a pair have as many tokens. */
export function rankPairs({ original, changed }: ScoredPairs): PairRanking {
  let above = 0;
  let ties = 0;
  for (const [index, { score }] of original.entries()) {
    const other = changed[index]!.score;
    if (score > other) above++;
    else if (score === other) ties++;
  }
  const pairs = original.length;
  return { pairs, above, ties, ...wilsonInterval(above + ties / 2, pairs) };
}
