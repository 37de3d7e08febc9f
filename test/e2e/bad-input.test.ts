import { spawnSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./cli.js";
import { missingBuild } from "./needs-build.js";
import { writeSyntheticCorpus } from "./synthetic-corpus.js";

const missing = missingBuild();
const base = {
  max_seq_length: 32,
  train_batch_size: 4,
  num_train_steps: 4,
  num_warmup_steps: 1,
  save_checkpoints_steps: 2,
  model_hparam_overrides: { hidden_size: 64, num_hidden_layers: 1 },
};

interface Case {
  readonly what: string;
  /** Damages a fresh copy of good data. */
  readonly damage?: (data: string) => Promise<void>;
  readonly hparams?: string | Record<string, unknown>;
  readonly args?: readonly string[];
  readonly code: 1 | 2;
  readonly errorCode: string;
  /** The value and the place, and the remedy. */
  readonly says: readonly RegExp[];
}

const firstShard = (data: string) => join(data, "pretrain_tfrecords", "pretrain_data.tfrecord-0-of-2");

async function rewrite(path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  await writeFile(path, change(await readFile(path)));
}

const cases: readonly Case[] = [
  {
    what: "a vocabulary that is not there",
    damage: (data) => rm(join(data, "vocab.txt")),
    code: 2,
    errorCode: "ERR_ELECTRA_FILE",
    says: [/vocab\.txt/, /build-vocab/],
  },
  {
    what: "a vocabulary without [MASK]",
    damage: (data) =>
      rewrite(join(data, "vocab.txt"), (text) => Buffer.from(text.toString().replace("[MASK]", "[MASKE]"))),
    code: 2,
    errorCode: "ERR_ELECTRA_VOCAB",
    says: [/\[MASK\]/, /vocab\.txt/],
  },
  {
    what: "no records",
    damage: (data) => rm(join(data, "pretrain_tfrecords"), { recursive: true }),
    code: 2,
    errorCode: "ERR_ELECTRA_NO_RECORDS",
    says: [/pretrain_data\.tfrecord/, /build-dataset/],
  },
  {
    what: "record files that are all empty",
    damage: async (data) => {
      const folder = join(data, "pretrain_tfrecords");
      for (const name of await readdir(folder)) {
        if (name.includes("tfrecord-")) await writeFile(join(folder, name), "");
      }
    },
    code: 2,
    errorCode: "ERR_ELECTRA_NO_RECORDS",
    says: [/hold no records|empty/],
  },
  {
    what: "records of another length than max_seq_length",
    hparams: { ...base, max_seq_length: 64 },
    code: 2,
    errorCode: "ERR_ELECTRA_RECORD_LENGTH",
    says: [/32/, /64/, /max.seq.length/],
  },
  {
    what: "a truncated record file",
    damage: (data) => rewrite(firstShard(data), (bytes) => bytes.subarray(0, bytes.length - 40)),
    code: 1,
    errorCode: "ERR_ELECTRA_RECORD_DAMAGED",
    says: [/tfrecord-0-of-2/, /record/],
  },
  {
    what: "a record whose bytes have changed",
    damage: (data) =>
      rewrite(firstShard(data), (bytes) => {
        const copy = Buffer.from(bytes);
        copy[60] = copy[60]! ^ 0xff;
        return copy;
      }),
    code: 1,
    errorCode: "ERR_ELECTRA_RECORD_DAMAGED",
    says: [/tfrecord-0-of-2/],
  },
  {
    what: "a vocabulary smaller than the ids in the records",
    damage: (data) =>
      rewrite(join(data, "vocab.txt"), (text) =>
        Buffer.from(text.toString().split("\n").slice(0, 60).join("\n")),
      ),
    code: 1,
    errorCode: "ERR_ELECTRA_RECORD_INVALID",
    says: [/tfrecord/, /60/],
  },
  {
    what: "an hparam of the wrong type",
    hparams: { ...base, learning_rate: "fast" },
    code: 2,
    errorCode: "ERR_ELECTRA_BAD_HPARAM",
    says: [/learning_rate/, /fast/],
  },
  {
    what: "a misspelt hparam",
    hparams: { ...base, learning_rat: 0.1 },
    code: 2,
    errorCode: "ERR_ELECTRA_UNKNOWN_HPARAM",
    says: [/learning_rat/, /learning_rate/],
  },
  {
    what: "hparams that are not JSON",
    hparams: '{"max_seq_length": 32,',
    code: 2,
    errorCode: "ERR_ELECTRA_HPARAMS_JSON",
    says: [/--hparams/],
  },
  {
    what: "a model that cannot exist",
    hparams: { ...base, model_hparam_overrides: { hidden_size: 100, num_attention_heads: 3 } },
    code: 2,
    errorCode: "ERR_ELECTRA_MODEL_SHAPE",
    says: [/100/, /3/],
  },
  {
    what: "a length above what the positions allow",
    hparams: { ...base, max_seq_length: 1024 },
    code: 2,
    errorCode: "ERR_ELECTRA_",
    says: [/1024/, /512/],
  },
  {
    what: "a GPU that this build cannot use",
    args: ["--device", "cuda"],
    code: 1,
    errorCode: "ERR_ELECTRA_",
    says: [/cuda/i],
  },
  {
    what: "evaluating before anything was trained",
    hparams: { ...base, do_train: false, do_eval: true },
    code: 1,
    errorCode: "ERR_ELECTRA_NO_CHECKPOINT",
    says: [/checkpoint/],
  },
  {
    what: "a model folder that cannot be made",
    damage: async (data) => {
      // A file where the folder should be: works for root too, whom permissions do not stop.
      await mkdir(join(data, "models"), { recursive: true });
      await writeFile(join(data, "models", "tiny"), "in the way");
    },
    code: 1,
    errorCode: "ERR_ELECTRA_FILE",
    says: [/models.tiny/],
  },
];

describe.skipIf(missing !== undefined)(
  `bad input to pretrain${missing ? ` (skipped: ${missing})` : ""}`,
  () => {
    let folder = "";
    let copies = 0;
    const freshData = async (): Promise<string> => {
      const name = `copy-${copies++}`;
      await cp(join(folder, "good"), join(folder, name), { recursive: true });
      return name;
    };
    const pretrain = async (data: string, hparams: Case["hparams"] = base, args: readonly string[] = []) =>
      await runCli(
        [
          "pretrain",
          "--data-dir",
          data,
          "--model-name",
          "tiny",
          "--threads",
          "1",
          "--json",
          "--hparams",
          typeof hparams === "string" ? hparams : JSON.stringify(hparams),
          ...args,
        ],
        { cwd: folder },
      );

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "electra-bad-input-"));
      await writeSyntheticCorpus(join(folder, "text"), { documents: 4, sentences: 30 });
      for (const args of [
        ["build-vocab", "--corpus-dir", "text", "--output-file", "good/vocab.txt", "--vocab-size", "300"],
        [
          "build-dataset",
          "--corpus-dir",
          "text",
          "--vocab-file",
          "good/vocab.txt",
          "--output-dir",
          "good/pretrain_tfrecords",
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

    it.each(cases)(
      "$what: says so, with exit code $code",
      async ({ damage, hparams, args, code, errorCode, says }) => {
        const data = await freshData();
        await damage?.(join(folder, data));
        const result = await pretrain(data, hparams, args);
        expect(result.code, result.stderr).toBe(code);
        // stdout is one JSON document, failures included.
        const { error } = JSON.parse(result.stdout) as {
          error: { code: string; message: string; hint?: string };
        };
        expect(error.code).toContain(errorCode);
        for (const pattern of says) expect(`${error.message}\n${error.hint ?? ""}`).toMatch(pattern);
        expect(result.stderr).not.toMatch(/\n\s+at .*\.js:\d+/);
      },
    );

    it("a checkpoint of another model is refused with a table, and stays as it was", async () => {
      const data = await freshData();
      expect((await pretrain(data)).code).toBe(0);
      const path = join(folder, data, "models/tiny/checkpoint-4/training.safetensors");
      const before = await readFile(path);
      const wider = {
        ...base,
        num_train_steps: 8,
        model_hparam_overrides: { hidden_size: 128, num_hidden_layers: 1 },
      };
      const result = await pretrain(data, wider);
      expect(result.code).toBe(1);
      expect(JSON.parse(result.stdout).error.code).toBe("ERR_ELECTRA_CHECKPOINT_MISMATCH");
      expect((await readFile(path)).equals(before)).toBe(true);
    });

    it("changed records are refused until that is allowed", async () => {
      const data = await freshData();
      expect((await pretrain(data)).code).toBe(0);
      await rm(firstShard(join(folder, data)));
      const longer = { ...base, num_train_steps: 6 };
      const refused = await pretrain(data, longer);
      expect(refused.code).toBe(2);
      expect(JSON.parse(refused.stdout).error).toMatchObject({ code: "ERR_ELECTRA_DATA_CHANGED" });
      expect(JSON.parse(refused.stdout).error.hint).toContain("--allow-changed-data");
      const allowed = await pretrain(data, longer, ["--allow-changed-data"]);
      expect(allowed.code, allowed.stderr).toBe(0);
      expect(JSON.parse(allowed.stdout)).toMatchObject({ status: "finished", step: 6 });
    });

    it("a full disk ends the run with the reason; the last checkpoint stays", async (context) => {
      const data = await freshData();
      const models = join(folder, data, "models");
      expect((await pretrain(data)).code).toBe(0);
      const { files } = JSON.parse(
        await readFile(join(models, "tiny/checkpoint-4/training.json"), "utf8"),
      ) as { files: Record<string, number> };
      const checkpointBytes = Object.values(files).reduce((sum, bytes) => sum + bytes, 0);
      await rm(models, { recursive: true });
      await mkdir(models);
      // Room for one checkpoint of this model and the logs, not for two.
      const size = `size=${Math.round(1.6 * checkpointBytes)}`;
      const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", size, "tmpfs", models]);
      if (mounted.status !== 0) return context.skip("needs the right to mount a small file system");
      try {
        const result = await pretrain(data, { ...base, num_train_steps: 12, keep_checkpoint_max: 0 });
        expect(result.code).toBe(1);
        const { error } = JSON.parse(result.stdout);
        expect(`${error.message} ${error.hint}`).toMatch(/space|ENOSPC/i);
        const left = (await readdir(join(models, "tiny"))).filter((name) => /^checkpoint-\d+$/.test(name));
        expect(left.length, error.message).toBeGreaterThan(0);
        const newest = join(models, "tiny", left.sort().at(-1)!, "training.json");
        expect(JSON.parse(await readFile(newest, "utf8")).step).toBeGreaterThan(0);
      } finally {
        spawnSync("umount", [models]);
      }
    });
  },
);
