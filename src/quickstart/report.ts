import type { EngineInfo } from "../engine/types.js";
import { textTable } from "../telemetry/text-table.js";
import type { FirstUse } from "./first-use.js";
import type { LearningMeasures } from "./measure-learning.js";
import type { TrainingPlan } from "./plan-training.js";
import type { PreparedData } from "./prepare-data.js";
import type { QuickstartRecipe } from "./recipe.js";

/** A condition for "it has learned", and whether it holds. */
export interface Bar {
  readonly name: "generator_below_unigram" | "discriminator_auc_lower";
  readonly description: string;
  readonly measured: number;
  readonly required: number;
  readonly passed: boolean;
}

/** `quickstart-report.json`. Times in seconds, losses in nats per token. */
export interface QuickstartReport {
  readonly passed: boolean;
  readonly bars: readonly Bar[];
  readonly measures: LearningMeasures;
  readonly firstUse: FirstUse | null;
  readonly seconds: {
    /** Of the shell script before the job; null where it was started without it. */
    readonly setUp: number | null;
    /** The job as a whole, the download not counted. */
    readonly job: number;
    readonly download: number;
    readonly vocabulary: number;
    readonly dataset: number;
    readonly speedProbe: number;
    /** Of this call; less than the whole training where it was continued. */
    readonly training: number;
    readonly evaluation: number;
  };
  readonly training: TrainingPlan & {
    readonly step: number;
    /** Tokens of this call. */
    readonly tokens: number;
    readonly parameters: number;
    readonly resumedAtStep: number;
  };
  readonly data: PreparedData & { readonly corpus: string };
  readonly engine: EngineInfo;
  readonly model: string;
  readonly recipe: QuickstartRecipe;
  readonly versions: { readonly electraNative: string; readonly node: string };
}

/** Judges measured values by the recipe's bars. */
export function judge(
  measures: LearningMeasures,
  recipe: Pick<QuickstartRecipe, "bars" | "evaluation">,
): readonly Bar[] {
  const { bars } = recipe;
  const below = measures.generator.unigramLoss - measures.generator.loss;
  const { lower } = measures.discriminator;
  return [
    {
      name: "generator_below_unigram",
      description: `masked-LM loss at least ${bars.belowUnigram} nat below the unigram cross-entropy`,
      measured: below,
      required: bars.belowUnigram,
      passed: below >= bars.belowUnigram,
    },
    {
      name: "discriminator_auc_lower",
      description: `lower end of the AUC's 95 % interval above ${bars.aucLower}`,
      measured: lower,
      required: bars.aucLower,
      passed: lower > bars.aucLower,
    },
  ];
}

/** The report for people. */
export function formatReport(report: QuickstartReport): string {
  const { generator, discriminator, tokens, sequences } = report.measures;
  const interval = `${discriminator.lower.toFixed(3)} to ${discriminator.upper.toFixed(3)}`;
  const own = discriminator.aucOwnGenerator;
  const rows: readonly (readonly [string, string, string, string])[] = [
    ["held-out text", "measured", "beside it", ""],
    [
      "generator, masked-LM loss",
      generator.loss.toFixed(3),
      `${generator.unigramLoss.toFixed(3)} unigram cross-entropy`,
      verdict(report.bars[0]),
    ],
    [
      "discriminator, AUC",
      discriminator.auc.toFixed(3),
      `0.500 guessing; 95 % interval ${interval}`,
      verdict(report.bars[1]),
    ],
    [
      "discriminator, loss",
      discriminator.loss.toFixed(3),
      `${discriminator.baselineLoss.toFixed(3)} always answering the fake rate, ${percent(discriminator.fakeRate)}`,
      "",
    ],
    [
      "AUC on its own generator's words",
      own === null ? "-" : own.toFixed(3),
      "informative: a weak generator is easily caught",
      "",
    ],
  ];
  const { seconds, training } = report;
  return [
    ...(report.firstUse === null ? [] : [formatFirstUse(report.firstUse), ""]),
    textTable(rows),
    "",
    `${tokens} tokens in ${sequences} sequences of ${report.data.heldOut.documents} documents that nothing was learned from.`,
    ...(tokens < report.recipe.evaluation.fewestTokens
      ? [`The bounds were set for ${report.recipe.evaluation.fewestTokens} such tokens; so few say less.`]
      : []),
    `${training.step} steps, ${(training.parameters / 1e6).toFixed(2)} M parameters; ${report.engine.device}, ${report.engine.gemm}, ${report.engine.isa}, ${report.engine.threads} threads.`,
    `Seconds: ${seconds.setUp === null ? "" : `set-up ${seconds.setUp.toFixed(0)}; `}job ${seconds.job.toFixed(0)} (data ${(seconds.vocabulary + seconds.dataset).toFixed(0)}, training ${seconds.training.toFixed(0)}, evaluation ${seconds.evaluation.toFixed(0)}).`,
  ].join("\n");
}

/** The sentence word by word, its two most suspected words marked. */
function formatFirstUse(use: FirstUse): string {
  const ranked = use.words.filter(({ word }) => /^[a-z]{3,}$/i.test(word));
  ranked.sort((a, b) => b.probability - a.probability);
  const suspects = new Set(ranked.slice(0, 2).map(({ start }) => start));
  const rows = use.words.map(({ word, probability, swapped, original, start }) => [
    word,
    `${(100 * probability).toFixed(0).padStart(3)} %`,
    suspects.has(start) ? "suspected" : "",
    swapped ? `swapped, was "${original}"` : "",
  ]);
  return [
    "First use: two words (of three letters or more) of a held-out sentence were swapped for others. Which?",
    "",
    textTable([["word", "replaced?", "", ""], ...rows]),
    "",
    `Over ${use.sentences} such sentences ${use.found} of ${use.swapped} swapped words were among the two most suspected; pointing at random finds ${use.foundByChance.toFixed(0)}.`,
  ].join("\n");
}

function verdict(bar: Bar | undefined): string {
  if (bar === undefined) return "";
  return bar.passed ? "passed" : "MISSED";
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
