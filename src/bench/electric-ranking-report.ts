import type { PairRanking } from "../electric/pair-ranking.js";
import type { EngineInfo } from "../engine/types.js";
import { textTable } from "../telemetry/text-table.js";
import type { ElectricRankingRecipe } from "./electric-ranking-recipe.js";

/** `swap`: two words of a sentence change places. `replacement`: one word becomes another of about its frequency. */
export type ChangeKind = "swap" | "replacement";

/** How the scorers rank the pairs of one kind. */
export interface KindRanking {
  readonly electric: PairRanking;
  /** On the same pairs. */
  readonly unigram: PairRanking;
  /** On the pairs of the sample that the masked language model scores. */
  readonly maskedLm: PairRanking;
  readonly bars: {
    readonly enoughPairs: boolean;
    /** Electric's lower bound is above the recipe's. */
    readonly aboveChance: boolean;
    /** Electric's lower bound is above the unigram scorer's upper one. */
    readonly aboveUnigram: boolean;
  };
}

/** Spearman's rank correlation between Electric's scores and the exact ones of the masked language model. */
export interface ScoreCorrelation {
  /** Unchanged sentences that both scored. */
  readonly sentences: number;
  /** Of the sums; length alone makes most of it. */
  readonly sums: number | null;
  /** Of the means over the tokens. */
  readonly means: number | null;
  /** Of what a change costs a sentence, real one minus changed one; length plays no part. */
  readonly swapDifferences: number | null;
  readonly replacementDifferences: number | null;
}

/** What `bench/electric-ranking.mjs` writes. Scores are in nats. */
export interface ElectricRankingReport {
  readonly passed: boolean;
  readonly swap: KindRanking;
  readonly replacement: KindRanking;
  readonly correlation: ScoreCorrelation;
  /** Mean score of a token of the sample's unchanged sentences. */
  readonly perToken: { readonly maskedLm: number; readonly unigram: number };
  readonly sentences: {
    readonly suitable: number;
    readonly used: number;
    readonly heldOutDocuments: number;
  };
  readonly training: {
    readonly steps: number;
    readonly electric: TrainedModel;
    readonly maskedLm: TrainedModel;
  };
  readonly engine: EngineInfo;
  readonly corpus: string;
  readonly recipe: ElectricRankingRecipe;
  readonly versions: { readonly electraNative: string; readonly node: string };
}

export interface TrainedModel {
  readonly folder: string;
  readonly parameters: number;
}

/** Whether Electric ranks the pairs of a kind as well as asked. */
export function judgeRanking(
  rankings: Pick<KindRanking, "electric" | "unigram">,
  { fewestPairs, lower }: ElectricRankingRecipe["bars"],
): KindRanking["bars"] {
  const { electric, unigram } = rankings;
  return {
    enoughPairs: electric.pairs >= fewestPairs,
    aboveChance: electric.lower > lower,
    aboveUnigram: electric.lower > unigram.upper,
  };
}

/** The report for people. */
export function formatElectricRanking(report: ElectricRankingReport): string {
  const { correlation, sentences, training, engine } = report;
  const rows = [
    ["one change", "scorer", "pairs", "real above", "95 % interval", "ties", ""],
    ...kindRows("two words swapped", report.swap),
    ...kindRows("one word replaced", report.replacement),
  ];
  const correlations = [
    ["Electric beside the masked LM", "Spearman"],
    ["sum over the tokens", correlationText(correlation.sums)],
    ["mean over the tokens", correlationText(correlation.means)],
    ["what a swap costs", correlationText(correlation.swapDifferences)],
    ["what a replacement costs", correlationText(correlation.replacementDifferences)],
  ];
  return [
    textTable(rows),
    "",
    textTable(correlations),
    "",
    `${sentences.used} of ${sentences.suitable} whole sentences from ${sentences.heldOutDocuments} documents that nothing was learned from; the masked LM scored ${correlation.sentences} of them.`,
    `Mean log-probability of a token: masked LM ${report.perToken.maskedLm.toFixed(2)}, unigram ${report.perToken.unigram.toFixed(2)}.`,
    `${training.steps} steps each; Electric ${millions(training.electric)}, masked LM ${millions(training.maskedLm)} parameters; ${engine.device}, ${engine.gemm}, ${engine.isa}, ${engine.threads} threads.`,
  ].join("\n");
}

function kindRows(change: string, ranking: KindRanking): string[][] {
  const { enoughPairs, aboveChance, aboveUnigram } = ranking.bars;
  const verdict = enoughPairs && aboveChance && aboveUnigram ? "passed" : "MISSED";
  const row = (scorer: string, { pairs, share, lower, upper, ties }: PairRanking, end = ""): string[] => [
    change,
    scorer,
    String(pairs),
    percent(share),
    `${percent(lower)} to ${percent(upper)}`,
    String(ties),
    end,
  ];
  return [
    row("Electric", ranking.electric, verdict),
    row("unigram", ranking.unigram),
    row("masked LM", ranking.maskedLm),
  ];
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function correlationText(value: number | null): string {
  return value === null ? "-" : value.toFixed(3);
}

function millions({ parameters }: TrainedModel): string {
  return `${(parameters / 1e6).toFixed(2)} M`;
}
