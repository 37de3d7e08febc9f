import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli, startCli } from "./cli.js";
import { missingBuild } from "./needs-build.js";
import { writeSyntheticCorpus } from "./synthetic-corpus.js";

const missing = missingBuild();
const hparams = {
  max_seq_length: 32,
  train_batch_size: 8,
  num_train_steps: 100_000,
  num_warmup_steps: 20,
  model_hparam_overrides: { hidden_size: 64, num_hidden_layers: 2 },
};

describe.skipIf(missing !== undefined)(`signals to a run${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "electra-signals-"));
    await writeSyntheticCorpus(join(folder, "text"), { documents: 4, sentences: 30 });
    for (const args of [
      ["build-vocab", "--corpus-dir", "text", "--output-file", "data/vocab.txt", "--vocab-size", "300"],
      [
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
        "2",
      ],
    ]) {
      expect(await runCli(args, { cwd: folder })).toMatchObject({ code: 0 });
    }
  }, 120_000);
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const cases = [
    { what: "Ctrl-C", signals: ["SIGINT"], code: 130 },
    { what: "Ctrl-C that npx passes on too", signals: ["SIGINT", "SIGINT"], code: 130 },
    { what: "SIGTERM, to the process and to its group", signals: ["SIGTERM", "SIGTERM"], code: 143 },
  ] as const;

  it.each(cases)(
    "$what: finishes the step, writes a checkpoint, exits with $code; the same command goes on",
    async ({ what, signals, code }) => {
      const name = what.replaceAll(/\W+/g, "-");
      const args = ["pretrain", "--data-dir", "data", "--model-name", name, "--threads", "2", "--json"];
      const { child, result } = startCli([...args, "--hparams", JSON.stringify(hparams)], { cwd: folder });
      const events = join(folder, "data/models", name, "events.jsonl");
      while (
        child.exitCode === null &&
        !(existsSync(events) && (await readFile(events, "utf8")).split("\n").length > 20)
      ) {
        await sleep(5);
      }
      for (const signal of signals) {
        child.kill(signal);
        await sleep(5);
      }
      const ended = await result;
      expect(ended.code, ended.stderr).toBe(code);
      const { status, step, checkpoint } = JSON.parse(ended.stdout);
      expect(status).toBe("interrupted");
      expect(step).toBeGreaterThan(15);
      expect(existsSync(join(folder, checkpoint, "training.json"))).toBe(true);
      const done = JSON.parse((await readFile(events, "utf8")).trim().split("\n").at(-1)!);
      expect(done).toMatchObject({ type: "done", reason: "interrupted", step });

      const further = { ...hparams, num_train_steps: step + 2 };
      const resumed = await runCli([...args, "--hparams", JSON.stringify(further)], { cwd: folder });
      expect(resumed.code, resumed.stderr).toBe(0);
      expect(JSON.parse(resumed.stdout)).toMatchObject({ status: "finished", step: step + 2 });
      expect(resumed.stderr).toContain(`step ${step} of ${step + 2}`);
    },
  );
});
