import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SeededRandom } from "../../src/metrics/seeded-random.js";
import { runCli, startCli } from "./cli.js";
import { missingBuild } from "./needs-build.js";
import { writeSyntheticTasks } from "./synthetic-tasks.js";

const hparams = {
  init_checkpoint: null,
  model_hparam_overrides: { hidden_size: 64, num_hidden_layers: 2 },
  embedding_size: 32,
  max_seq_length: 32,
  train_batch_size: 16,
  learning_rate: 5e-4,
  layerwise_lr_decay: 0,
  beam_size: 5,
};

const missing = missingBuild();

const MAKE_FEATURES = `
  const { DIST, REQUEST, WORKERS } = process.env;
  const { FeatureStore } = await import(DIST + "finetuning/cache/feature-store.js");
  const { setUpFinetuning } = await import(DIST + "finetuning/training/finetuning-setup.js");
  const { tasks, tokenizer, hparams, recipe } = await setUpFinetuning(JSON.parse(REQUEST));
  const options = { tasks, allTasks: tasks, taskIds: [0, 1, 2], split: "train", tokenizer, hparams, recipe };
  const store = await FeatureStore.open({ ...options, shuffleSeed: 9, keepWindows: true, workers: Number(WORKERS) });
  process.stdout.write(String(await store.rowCount()));
  await store.complete();
  await store.close();
`;

describe.skipIf(missing !== undefined)(`finetune${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let folder = "";
  const argumentsOf = (
    name: string,
    more: Readonly<Record<string, unknown>>,
    ...flags: readonly string[]
  ) => [
    ...["finetune", "--data-dir", "data", "--model-name", name, "--threads", "2", "--json"],
    ...["--hparams", JSON.stringify({ ...hparams, ...more }), ...flags],
  ];
  const run = (name: string, more: Readonly<Record<string, unknown>>, ...flags: readonly string[]) =>
    runCli(argumentsOf(name, more, ...flags), { cwd: folder });
  const trialFolder = (name: string, task: string, trial = 1) =>
    join(folder, "data/models", name, "finetuning_models", `${task}_model_${trial}`);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "electra-finetune-"));
    await writeSyntheticTasks(join(folder, "data"));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it("teaches one model a task of every kind, described in JSON, together", async () => {
    const tasks = ["colour", "echo", "zoo", "count", "names", "where"];
    const { code, stdout, stderr } = await run("all", {
      task_names: tasks,
      num_train_epochs: 7,
      write_test_outputs: true,
    });
    expect(code, stderr).toBe(0);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ status: "finished", trials: [{ trial: 1, degenerate: {}, steps: 1050 }] });
    const results = result.trials[0].results;
    expect(Object.keys(results)).toEqual(tasks);
    // Guessing gives a third, a half, nothing …
    expect(results.colour.accuracy).toBeGreaterThan(80);
    expect(results.echo.accuracy).toBeGreaterThan(80);
    expect(results.zoo.micro_f1).toBeGreaterThan(90);
    expect(results.count.pearson).toBeGreaterThan(80);
    expect(results.names.f1).toBeGreaterThan(80);
    expect(results.where.HasAns_exact).toBeGreaterThan(80);
    expect(results.where.NoAns_exact).toBeGreaterThan(80);
    const model = join(folder, "data/models/all");
    const lines = (await readFile(join(model, `results/${tasks.join(",")}_results.txt`), "utf8")).split("\n");
    expect(lines).toHaveLength(tasks.length + 1);
    expect(stderr).toContain(lines[0]);
    const answers = JSON.parse(
      await readFile(join(model, `results/${tasks.join(",")}_qa/where_preds.json`), "utf8"),
    );
    expect(Object.keys(answers)).toHaveLength(80);
    const predictions = JSON.parse(
      await readFile(join(model, "test_predictions/colour_test_1_predictions.json"), "utf8"),
    );
    expect(Object.keys(predictions)).toHaveLength(20);
  }, 120_000);

  it("killed again and again, ends with the very weights and results of a run that nobody disturbed", async () => {
    const settings = {
      task_names: ["colour"],
      num_train_epochs: 9,
      num_trials: 2,
      save_checkpoints_steps: 15,
    };
    const undisturbed = await run("undisturbed", settings);
    expect(undisturbed.code, undisturbed.stderr).toBe(0);
    const random = new SeededRandom(5);
    const trials = [1, 2].map((trial) => trialFolder("disturbed", "colour", trial));
    let kills = 0;
    for (; kills < 5; kills++) {
      const { child, result } = startCli(argumentsOf("disturbed", settings), { cwd: folder });
      const reached = await steps(trials, 30 + random.below(60), () => child.exitCode === null);
      child.kill("SIGKILL");
      await result;
      if (!reached) break;
    }
    expect(kills).toBe(5);
    const final = await run("disturbed", settings);
    expect(final.code, final.stderr).toBe(0);
    const summary = (text: string) => JSON.parse(text).summary;
    expect(summary(final.stdout)).toEqual(summary(undisturbed.stdout));
    for (const trial of [1, 2]) {
      const file = (name: string) =>
        readFile(join(trialFolder(name, "colour", trial), "checkpoint-225/finetuned/model.safetensors"));
      expect((await file("undisturbed")).equals(await file("disturbed")), `trial ${trial}`).toBe(true);
      const events = await readFile(join(trialFolder("disturbed", "colour", trial), "events.jsonl"), "utf8");
      const done = events
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
        .filter(({ type }) => type === "step");
      expect(done.map(({ step }) => step)).toEqual(Array.from({ length: 225 }, (_, i) => i + 1));
    }
  }, 120_000);

  it("after Ctrl-C goes on with the same command, and says so when everything is done", async () => {
    const settings = { task_names: ["names"], num_train_epochs: 30 };
    const { child, result } = startCli(argumentsOf("stopped", settings, "--seed", "7"), { cwd: folder });
    await steps([trialFolder("stopped", "names")], 20, () => child.exitCode === null);
    child.kill("SIGINT");
    const stopped = await result;
    expect(stopped.code, stopped.stderr).toBe(130);
    const { status, trials } = JSON.parse(stopped.stdout);
    expect(status).toBe("interrupted");
    expect(trials[0].steps).toBeGreaterThanOrEqual(20);
    expect(stopped.stderr).toContain("npx electra-native finetune --data-dir data --model-name stopped");
    expect(stopped.stderr).toMatch(/ --seed 7 --threads 2\n/);

    const again = await run("stopped", settings, "--seed", "7");
    expect(JSON.parse(again.stdout)).toMatchObject({ status: "finished", trials: [{ steps: 750 }] });
    expect(again.stderr).toContain(`step ${trials[0].steps} of 750`);
    const complete = await run("stopped", settings, "--seed", "7");
    expect(complete.code).toBe(0);
    expect(JSON.parse(complete.stdout)).toMatchObject({ status: "complete", trials: [{ status: "kept" }] });
    expect(complete.stderr).toContain("--overwrite");
    const other = await run("stopped", { ...settings, learning_rate: 1e-3 }, "--seed", "7");
    expect(other.code).toBe(2);
    expect(JSON.parse(other.stdout).error).toMatchObject({ code: "ERR_ELECTRA_TRIAL_EXISTS" });
    const anew = await run("stopped", { ...settings, num_train_epochs: 1 }, "--seed", "7", "--overwrite");
    expect(JSON.parse(anew.stdout)).toMatchObject({ status: "finished", trials: [{ steps: 25 }] });
  }, 120_000);

  it("names the file and line of a row that it cannot use, before it trains, or leaves such rows out", async () => {
    const data = join(folder, "bad");
    await writeSyntheticTasks(data, { rows: 40 });
    await appendFile(join(data, "finetuning_data/colour/dev.csv"), '"a text",pink\n');
    const bad = (more: object) => [
      ...["finetune", "--data-dir", "bad", "--model-name", "bad", "--json"],
      ...["--hparams", JSON.stringify({ ...hparams, task_names: ["colour"], num_train_epochs: 1, ...more })],
    ];
    const refused = await runCli(bad({}), { cwd: folder });
    expect(refused.code).toBe(1);
    const { error } = JSON.parse(refused.stdout);
    expect(error).toMatchObject({ code: "ERR_ELECTRA_ROW" });
    expect(error.message).toMatch(/colour\/dev\.csv, line 82: unknown label "pink"/);
    expect(existsSync(join(data, "models/bad/finetuning_models/colour_model_1/events.jsonl"))).toBe(false);
    const skipped = await runCli(bad({ skip_bad_rows: true }), { cwd: folder });
    expect(skipped.code, skipped.stderr).toBe(0);
    expect(skipped.stderr).toMatch(/colour: 1 of the rows of dev left out\n.*line 82: unknown label "pink"/);
  }, 60_000);

  it("takes a task of one's own as a module", async () => {
    const file = join(folder, "shout.mjs");
    await writeFile(
      file,
      `const texts = Array.from({ length: 64 }, (_, eid) => ({ eid, word: eid % 2 ? "dog" : "cat", label: eid % 2 }));
       export default {
         name: "shout",
         create: ({ tokenizer }) => {
           const [cls, sep] = tokenizer.vocabulary.require(["[CLS]", "[SEP]"]);
           return {
             name: "shout",
             devSplits: ["dev"],
             testSplits: [],
             head: async () => ({ kind: "classification", labels: ["cat", "dog"] }),
             examples: async () => ({ examples: texts, skipped: { count: 0, rows: [] } }),
             featurize: ({ eid, word, label }) => {
               const inputIds = Int32Array.of(cls, ...tokenizer.encode(word), sep);
               return [{ eid, inputIds, segmentIds: new Uint8Array(3), target: { kind: "classification", label } }];
             },
             scorer: async () => {
               let right = 0;
               let all = 0;
               return {
                 add: ({ target }, { logits }) => {
                   all++;
                   if ((logits[1] > logits[0]) === (target.label === 1)) right++;
                 },
                 results: () => [["share_right", right / all]],
               };
             },
           };
         },
       };`,
    );
    const { code, stdout, stderr } = await run("own", { num_train_epochs: 20 }, "--task-file", file);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout).summary.shout.metrics.share_right.median).toBe(1);
    expect(readdirSync(join(folder, "data/models/own/finetuning_tfrecords/shout_tfrecords"))).toEqual([]);
  }, 60_000);

  it("makes the same features with any number of threads", async () => {
    const data = join(folder, "many");
    await writeSyntheticTasks(data, { rows: 1200 });
    const files: Buffer[] = [];
    for (const workers of [0, 1, 3]) {
      const place = join(folder, `features-${workers}`);
      const settings = { ...hparams, task_names: ["where", "names", "zoo"], preprocessed_data_dir: place };
      const request = JSON.stringify({ dataDir: data, modelName: "many", hparams: settings });
      // In a process of its own: compiled modules alone have compiled workers beside them.
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        ["--input-type=module", "-e", MAKE_FEATURES],
        {
          env: {
            ...process.env,
            DIST: new URL("../../dist/", import.meta.url).href,
            REQUEST: request,
            WORKERS: `${workers}`,
          },
          encoding: "utf8",
        },
      );
      expect(status, stderr).toBe(0);
      expect(stdout).toBe("3600");
      files.push(await readFile(join(place, readdirSync(place)[0]!)));
    }
    // What a thread cannot do reaches the command as what it is.
    const tooShort = { ...hparams, task_names: ["where"], max_seq_length: 7, do_eval: false };
    const refused = await runCli(
      [
        "finetune",
        "--data-dir",
        "many",
        "--model-name",
        "m",
        "--json",
        "--hparams",
        JSON.stringify(tooShort),
      ],
      { cwd: folder },
    );
    expect([refused.code, JSON.parse(refused.stdout).error.message]).toEqual([
      2,
      "max_seq_length 7 leaves no room for the context beside a question of 5 tokens.",
    ]);
    expect(files[1]!.equals(files[0]!)).toBe(true);
    expect(files[2]!.equals(files[0]!)).toBe(true);
  }, 60_000);
});

/** Waits until this run has made so many steps. @returns false if it ended before */
async function steps(trials: readonly string[], count: number, alive: () => boolean): Promise<boolean> {
  const linesOf = async (trial: string) => {
    const events = join(trial, "events.jsonl");
    return existsSync(events) ? (await readFile(events, "utf8")).split("\n").length : 0;
  };
  let before: number | undefined;
  while (alive()) {
    const now = (await Promise.all(trials.map(linesOf))).reduce((sum, lines) => sum + lines, 0);
    // A log shrinks when the run takes over and cuts it back.
    if (before === undefined || now < before) before = now;
    if (now >= before + count) return true;
    await sleep(2);
  }
  return false;
}
