import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { runElectricRanking } from "../../../src/bench/electric-ranking.js";
import {
  type ElectricRankingRecipe,
  electricRankingRecipe,
} from "../../../src/bench/electric-ranking-recipe.js";
import { formatElectricRanking, judgeRanking } from "../../../src/bench/electric-ranking-report.js";
import type { PairRanking } from "../../../src/electric/pair-ranking.js";
import type { RunEvent } from "../../../src/telemetry/run-event.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";
import { makeDocuments } from "../quickstart/own-text.js";

const { training } = electricRankingRecipe;
const recipe: ElectricRankingRecipe = {
  ...electricRankingRecipe,
  data: { ...electricRankingRecipe.data, vocabSize: 90, maxSeqLength: 48, recordFiles: 2 },
  training: {
    ...training,
    hparams: {
      ...training.hparams,
      model_hparam_overrides: { hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2 },
      embedding_size: 16,
      train_batch_size: 8,
    },
    electric: { ...training.electric, generator_layers: 1 },
    steps: 6,
  },
  sentences: { ...electricRankingRecipe.sentences, most: 25, fewestWords: 5, maskedLm: 5 },
};

describeWithAddon("the ranking benchmark, on a small text with tiny models", () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "electra-ranking-"));
    await mkdir(join(root, "text"));
    for (const { name, text } of makeDocuments(12)) await writeFile(join(root, "text", name), text);
  });
  afterAll(async () => {
    await rm(root, { recursive: true, force: true });
  });

  it("goes on where it was stopped, and measures every scorer on the same pairs", async () => {
    let steps = 0;
    let stop = new AbortController();
    const options = () => ({
      workDir: join(root, "work"),
      cacheDir: join(root, "cache"),
      reportFile: join(root, "results", "report.json"),
      corpusDir: join(root, "text"),
      threads: 1,
      recipe,
      signal: stop.signal,
      sinks: [
        {
          emit: (event: RunEvent) => {
            // In the middle of the second training.
            if (event.type === "step" && ++steps === 9) stop.abort();
          },
          close: async () => {},
        },
      ],
    });
    expect(await runElectricRanking(options())).toBeUndefined();
    stop = new AbortController();
    const report = (await runElectricRanking(options()))!;
    expect(steps).toBe(12);
    expect(JSON.parse(await readFile(join(root, "results", "report.json"), "utf8"))).toEqual(
      JSON.parse(JSON.stringify(report)),
    );

    // Of models with other settings nothing is there yet.
    const other = {
      ...recipe,
      training: { ...recipe.training, maskedLm: { ...training.maskedLm, mask_prob: 0.2 } },
    };
    await runElectricRanking({ ...options(), recipe: other });
    expect(steps).toBe(18);

    expect(report.sentences).toMatchObject({ used: 25, heldOutDocuments: 1 });
    for (const kind of [report.swap, report.replacement]) {
      expect(kind.electric.pairs).toBeGreaterThan(10);
      expect(kind.unigram.pairs).toBe(kind.electric.pairs);
      expect(kind.maskedLm.pairs).toBeLessThanOrEqual(5);
      expect(kind.electric.ties).toBe(0);
      // There are too few pairs, whatever the models say of them.
      expect(kind.bars.enoughPairs).toBe(false);
    }
    expect(report.swap.unigram).toMatchObject({ ties: report.swap.unigram.pairs, share: 0.5 });
    expect(report.passed).toBe(false);
    for (const value of Object.values(report.correlation)) expect(value).not.toBeNaN();
    // The made-up text has few words: knowing their frequencies is better than guessing.
    expect(report.perToken.unigram).toBeGreaterThan(-Math.log(90));
    expect(report.training.electric.parameters).toBeGreaterThan(report.training.maskedLm.parameters);

    const text = formatElectricRanking(report);
    expect(text).toMatch(
      /two words swapped {2}Electric {3}\d+ +\d+\.\d % +\d+\.\d % to \d+\.\d % +0 +MISSED/,
    );
    expect(text).toMatch(/one word replaced {2}unigram/);
    expect(text).toContain(`masked LM ${report.perToken.maskedLm.toFixed(2)}`);
  });
});

it("a kind passes only with enough pairs, and above both chance and the unigram scorer", () => {
  const ranking = (pairs: number, lower: number, upper = lower + 0.02): PairRanking => ({
    pairs,
    above: 0,
    ties: 0,
    share: (lower + upper) / 2,
    lower,
    upper,
  });
  const { bars } = electricRankingRecipe;
  const judge = (pairs: number, lower: number, unigram = ranking(pairs, 0.48)) =>
    judgeRanking({ electric: ranking(pairs, lower), unigram }, bars);
  expect(judge(2000, 0.551)).toEqual({ enoughPairs: true, aboveChance: true, aboveUnigram: true });
  expect(judge(1999, 0.551)).toMatchObject({ enoughPairs: false });
  expect(judge(2000, 0.55)).toMatchObject({ aboveChance: false });
  // The interval of the unigram scorer reaches as high.
  expect(judge(2000, 0.6, ranking(2000, 0.58))).toMatchObject({ aboveChance: true, aboveUnigram: false });
});
