import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SeededRandom } from "../../src/metrics/seeded-random.js";
import { runCli, startCli } from "./cli.js";
import { missingBuild } from "./needs-build.js";
import { writeSyntheticCorpus } from "./synthetic-corpus.js";

const STEPS = 200;
const hparams = {
  max_seq_length: 32,
  train_batch_size: 8,
  num_train_steps: STEPS,
  num_warmup_steps: 20,
  learning_rate: 2e-3,
  save_checkpoints_steps: 20,
  keep_checkpoint_max: 2,
  model_hparam_overrides: { hidden_size: 64, num_hidden_layers: 2 },
};

const missing = missingBuild();

describe.skipIf(missing !== undefined)(
  `a run killed again and again${missing ? ` (skipped: ${missing})` : ""}`,
  () => {
    let folder = "";
    const train = (name: string) =>
      startCli(
        [
          "pretrain",
          "--data-dir",
          "data",
          "--model-name",
          name,
          "--threads",
          "2",
          "--hparams",
          JSON.stringify(hparams),
          "--json",
        ],
        { cwd: folder },
      );
    const modelDir = (name: string) => join(folder, "data/models", name);

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "electra-kill-"));
      await writeSyntheticCorpus(join(folder, "text"));
      const build = (args: string[]) => runCli(args, { cwd: folder });
      expect(
        await build([
          "build-vocab",
          "--corpus-dir",
          "text",
          "--output-file",
          "data/vocab.txt",
          "--vocab-size",
          "400",
        ]),
      ).toMatchObject({ code: 0 });
      expect(
        await build([
          "build-dataset",
          "--corpus-dir",
          "text",
          "--vocab-file",
          "data/vocab.txt",
          "--output-dir",
          "data/pretrain_tfrecords",
          "--max-seq-length",
          "32",
          "--num-shards",
          "3",
        ]),
      ).toMatchObject({ code: 0 });
    }, 120_000);

    afterAll(async () => {
      await rm(folder, { recursive: true, force: true });
    });

    it("ends with bit for bit the weights and moments of a run that nobody disturbed", async () => {
      const undisturbed = await train("undisturbed").result;
      expect(undisturbed.stderr).not.toContain("error:");
      expect(undisturbed.code).toBe(0);

      const random = new SeededRandom(31);
      const kills = { anywhere: 0, inCheckpoint: 0 };
      // Seven kills at moments spread over the run, three while a checkpoint's temporary folder exists.
      for (let attempt = 0; attempt < 10; attempt++) {
        const inCheckpoint = attempt % 3 === 1;
        const { child, result } = train("disturbed");
        const steps = await reach(
          modelDir("disturbed"),
          inCheckpoint ? { temporaryFolderOf: child.pid, number: 1 + random.below(3) } : 3 + random.below(25),
          () => child.exitCode === null,
        );
        // Not always at the first moment of the write: some files may be there, or all but the last.
        if (inCheckpoint) await sleep(random.below(20));
        child.kill("SIGKILL");
        await result;
        if (steps === "ended") break;
        kills[inCheckpoint ? "inCheckpoint" : "anywhere"]++;
      }
      expect(kills).toEqual({ anywhere: 7, inCheckpoint: 3 });
      const final = await train("disturbed").result;
      expect(final.code).toBe(0);
      expect(JSON.parse(final.stdout)).toMatchObject({ status: "finished", step: STEPS });

      for (const file of [
        "discriminator/model.safetensors",
        "generator/model.safetensors",
        "training.safetensors",
      ]) {
        const path = (name: string) => join(modelDir(name), `checkpoint-${STEPS}`, file);
        const [a, b] = [await readFile(path("undisturbed")), await readFile(path("disturbed"))];
        expect(a.equals(b), `${file} differs`).toBe(true);
      }
      // The log knows every step once, in order: what a killed run had written beyond its checkpoint was cut off.
      const steps = (await readFile(join(modelDir("disturbed"), "events.jsonl"), "utf8"))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
        .filter((event) => event.type === "step")
        .map((event) => event.step);
      expect(steps).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
      // Nothing half-written is left behind, but for folders killed at birth: without their maker's mark they might be
      // another machine's, and are left alone for ten minutes.
      const left = readdirSync(modelDir("disturbed")).filter((name) => /\.(tmp|old|del)-/.test(name));
      expect(left.filter((name) => readdirSync(join(modelDir("disturbed"), name)).length > 0)).toEqual([]);
    }, 300_000);
  },
);

/** Waits until this run has made so many steps, or is writing a checkpoint. */
async function reach(
  modelDir: string,
  goal: number | { temporaryFolderOf: number | undefined; number: number },
  alive: () => boolean,
): Promise<"reached" | "ended"> {
  const events = join(modelDir, "events.jsonl");
  // Steps of earlier runs are in the log already: count those that come from now on.
  const lines = async () => (existsSync(events) ? (await readFile(events, "utf8")).split("\n").length : 0);
  let before: number | undefined;
  const seen = new Set<string>();
  while (alive()) {
    if (typeof goal === "object") {
      // By its process number: an older kill may have left a folder of its own.
      const mark = `.tmp-${goal.temporaryFolderOf}`;
      for (const name of existsSync(modelDir) ? readdirSync(modelDir) : []) {
        if (name.endsWith(mark)) seen.add(name);
      }
      if (seen.size >= goal.number) return "reached";
      await sleep(1);
      continue;
    }
    const now = await lines();
    // The log shrinks when the run takes over and cuts it back.
    if (before === undefined || now < before) before = now;
    if (now >= before + goal) return "reached";
    await sleep(2);
  }
  return "ended";
}
