import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type QuickstartRecipe, quickstartRecipe } from "../../../src/quickstart/recipe.js";
import { formatReport, judge } from "../../../src/quickstart/report.js";
import { runQuickstart } from "../../../src/quickstart/run-quickstart.js";
import type { StepEvent } from "../../../src/telemetry/run-event.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";
import { makeDocuments } from "./own-text.js";

const recipe: QuickstartRecipe = {
  ...quickstartRecipe,
  data: { ...quickstartRecipe.data, vocabSize: 90, maxSeqLength: 48, recordFiles: 2 },
  training: {
    ...quickstartRecipe.training,
    hparams: {
      ...quickstartRecipe.training.hparams,
      model_hparam_overrides: { hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2 },
      embedding_size: 16,
      generator_layers: 1,
      train_batch_size: 8,
    },
    steps: 12,
    fewestSteps: 12,
    probeSteps: 2,
  },
  evaluation: { ...quickstartRecipe.evaluation, resamples: 50 },
  firstUse: { ...quickstartRecipe.firstUse, sentences: 4, fewestWords: 6 },
};

describeWithAddon("the job of the quickstart, on a small text with a tiny model", () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "electra-quickstart-"));
    await mkdir(join(root, "text"));
    for (const { name, text } of makeDocuments(12)) await writeFile(join(root, "text", name), text);
  });
  afterAll(async () => {
    await rm(root, { recursive: true, force: true });
  });

  it("stops when told to, goes on where it was, and finds everything done the third time", async () => {
    const steps: number[] = [];
    let stop = new AbortController();
    const options = () => ({
      workDir: join(root, "work"),
      cacheDir: join(root, "cache"),
      reportFile: join(root, "report.json"),
      corpusDir: join(root, "text"),
      threads: 1,
      recipe,
      signal: stop.signal,
      sinks: [
        {
          emit: (event: StepEvent | { readonly type: string }) => {
            if (event.type !== "step") return;
            const { step } = event as StepEvent;
            steps.push(step);
            if (step === 5) stop.abort();
          },
          close: async () => {},
        },
      ],
    });
    expect(await runQuickstart(options())).toBeUndefined();
    expect(steps.at(-1)).toBeLessThan(12);
    stop = new AbortController();
    const report = (await runQuickstart(options()))!;
    expect(steps).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].filter((step) => steps.includes(step)));
    expect(steps).toHaveLength(12);
    expect(report.training.step).toBe(12);
    expect(report.training.resumedAtStep).toBeGreaterThanOrEqual(5);
    expect(JSON.parse(await readFile(join(root, "report.json"), "utf8"))).toEqual(
      JSON.parse(JSON.stringify(report)),
    );
    expect(
      (await stat(join(report.model, "checkpoint-12", "discriminator", "model.safetensors"))).isFile(),
    ).toBe(true);

    const { measures } = report;
    expect(measures.tokens).toBe(report.data.heldOut.tokens);
    expect(measures.discriminator.lower).toBeLessThanOrEqual(measures.discriminator.auc);
    expect(measures.discriminator.fakeRate).toBeGreaterThan(0.08);
    expect(measures.discriminator.fakeRate).toBeLessThan(0.16);
    // The made-up text has few words: their entropy is below that of a uniform choice.
    expect(measures.generator.unigramLoss).toBeLessThan(Math.log(90));
    expect(report.firstUse!.sentences).toBe(4);
    expect(report.firstUse!.words.filter(({ swapped }) => swapped)).toHaveLength(2);

    const again = (await runQuickstart(options()))!;
    expect(steps).toHaveLength(12);
    expect(again.measures).toEqual(measures);
    expect(again.firstUse).toEqual(report.firstUse);
    const text = formatReport(again);
    expect(text).toContain("unigram cross-entropy");
    expect(text).toContain("so few say less");
    expect(text).toContain(`${measures.generator.loss.toFixed(3)}`);
  });
});

it("a bar is passed only beyond its bound", () => {
  const measures = (loss: number, lower: number) =>
    ({
      generator: { loss, unigramLoss: 6 },
      discriminator: { lower },
    }) as Parameters<typeof judge>[0];
  const passed = (loss: number, lower: number) =>
    judge(measures(loss, lower), recipe).map((bar) => bar.passed);
  expect(passed(5.5, 0.531)).toEqual([true, true]);
  expect(passed(5.51, 0.53)).toEqual([false, false]);
});
