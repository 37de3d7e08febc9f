import { ElectraError } from "../errors.js";
import type { NBestEntry, NBestList } from "./nbest-list.js";

/** What the scorer says of a hypothesis. */
export interface Likelihood {
  /** Pseudo-log-likelihood, the sum over its tokens. */
  readonly score: number;
  /** That divided by the number of tokens. */
  readonly mean: number;
}

/** A hypothesis that has been scored. */
export interface ScoredEntry extends NBestEntry {
  readonly likelihood: Likelihood;
}

export interface ScoredList extends NBestList {
  readonly entries: readonly ScoredEntry[];
}

export interface RankedEntry extends ScoredEntry {
  /** score + weight · likelihood */
  readonly total: number;
}

/** The best hypothesis comes first. */
export interface RankedList extends NBestList {
  readonly entries: readonly RankedEntry[];
}

export interface RerankOptions {
  /** How much the scorer counts: a number of at least 0. */
  readonly weight: number;
  /** Count the mean over a hypothesis's tokens instead of the sum, which favours short hypotheses. Default false. */
  readonly normalize?: boolean;
}

/** score + weight · pseudo-log-likelihood */
export function combinedScore({ score, likelihood }: ScoredEntry, options: RerankOptions): number {
  return score + options.weight * (options.normalize === true ? likelihood.mean : likelihood.score);
}

/**
 * Ranks every list by `score + weight · pseudo-log-likelihood`. Equal totals stay in their order.
 *
 * @throws ElectraError `ERR_ELECTRA_RERANK_OPTION`
 */
export function rerank(lists: readonly ScoredList[], options: RerankOptions): RankedList[] {
  const { weight } = options;
  if (!Number.isFinite(weight) || weight < 0) {
    throw new ElectraError("ERR_ELECTRA_RERANK_OPTION", `the weight is ${weight}`, {
      hint: "Give a number of at least 0; 0 leaves the order to the lists' own scores.",
      exitCode: 2,
    });
  }
  return lists.map((list) => {
    const entries = list.entries.map((entry) => ({ ...entry, total: combinedScore(entry, options) }));
    return { ...list, entries: entries.sort((a, b) => b.total - a.total) };
  });
}
