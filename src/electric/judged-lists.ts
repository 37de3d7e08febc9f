import { ElectraError } from "../errors.js";
import type { Truth } from "./development-truth.js";
import { combinedScore, type RerankOptions, type ScoredList } from "./rerank.js";
import { wordErrors, wordsOf } from "./word-errors.js";

/**
 * `word-error-rate`: word errors of the first hypotheses per word of the references, needs references.
 * `oracle-accuracy`: share of the lists whose first hypothesis is the chosen one or, with a reference, one of those with
 * the fewest word errors.
 */
export type RerankMetric = "word-error-rate" | "oracle-accuracy";

/** A list, and what is right for it. */
export interface ListWithTruth {
  readonly list: ScoredList;
  readonly truth: Truth;
}

/** Lists whose hypotheses have been compared with the truth, once for all weights that are to be tried. */
export class JudgedLists {
  readonly metric: RerankMetric;
  readonly #lists: readonly ScoredList[];
  /** Of every list the worth of every hypothesis: its word errors, or 1 where it is right and 0 where not. */
  readonly #worth: readonly (readonly number[])[];
  /** What every list adds to the denominator: the words of its reference, or 1. */
  readonly sizes: readonly number[];

  /** @throws ElectraError `ERR_ELECTRA_RERANK_OPTION` where the metric needs a reference that is not there */
  constructor(lists: readonly ListWithTruth[], metric: RerankMetric) {
    this.metric = metric;
    this.#lists = lists.map(({ list }) => list);
    this.#worth = lists.map(({ list, truth }) => judge(list, truth, metric));
    this.sizes = lists.map(({ truth }) =>
      metric === "word-error-rate" && "reference" in truth ? wordsOf(truth.reference).length : 1,
    );
    if (metric === "word-error-rate" && this.#total(this.sizes) === 0)
      throw refuseRerank("the references have no words", "A word error rate needs references with words.");
  }

  /** Word error rate, or share of right hypotheses, of what re-ranking puts first. */
  value(options: RerankOptions): number {
    return this.#total(this.perList(options)) / this.#total(this.sizes);
  }

  /** The best that any order of the lists could reach. */
  get oracle(): number {
    const best = this.#worth.map((values) =>
      values.reduce((kept, each) => (this.isBetter(each, kept) ? each : kept)),
    );
    return this.#total(best) / this.#total(this.sizes);
  }

  /** Of every list the worth of what re-ranking puts first. */
  perList(options: RerankOptions): number[] {
    return this.#lists.map((list, index) => this.#worth[index]![firstOf(list, options)]!);
  }

  isBetter(a: number, b: number): boolean {
    return this.metric === "word-error-rate" ? a < b : a > b;
  }

  #total(values: readonly number[]): number {
    return values.reduce((sum, each) => sum + each, 0);
  }
}

/** An option or a file that re-ranking cannot work with. */
export function refuseRerank(message: string, hint: string): ElectraError {
  return new ElectraError("ERR_ELECTRA_RERANK_OPTION", message, { hint, exitCode: 2 });
}

/** Place of the hypothesis that re-ranking puts first. */
function firstOf({ entries }: ScoredList, options: RerankOptions): number {
  const totals = entries.map((entry) => combinedScore(entry, options));
  return totals.reduce((kept, total, place) => (total > totals[kept]! ? place : kept), 0);
}

function judge({ id, entries }: ScoredList, truth: Truth, metric: RerankMetric): readonly number[] {
  if ("chosen" in truth) {
    if (metric === "word-error-rate") {
      throw refuseRerank(
        `the list ${JSON.stringify(id)} has no reference, only a chosen hypothesis`,
        "Give references, or choose the metric oracle-accuracy.",
      );
    }
    return entries.map((_, place) => (place === truth.chosen ? 1 : 0));
  }
  const errors = entries.map(({ hypothesis }) => wordErrors(truth.reference, hypothesis));
  if (metric === "word-error-rate") return errors;
  const fewest = Math.min(...errors);
  return errors.map((each) => (each === fewest ? 1 : 0));
}
