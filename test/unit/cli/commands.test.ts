import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { main } from "../../../src/cli/main.js";
import { toySave } from "../checkpoint/toy-model.js";
import { fakeIo, runCli } from "./run-cli.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cli-"));
  mkdirSync(join(folder, "text"));
  for (const file of ["a", "b"]) {
    const documents = Array.from({ length: 20 }, (_, document) =>
      Array.from(
        { length: 5 },
        (_, line) => `The ${file}th hound ${document} chased ${line} hares over the hill.`,
      ).join("\n"),
    );
    writeFileSync(join(folder, "text", `${file}.txt`), `${documents.join("\n\n")}\n`);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const vocabulary = (name: string): string => join(folder, name, "vocab.txt");
const buildVocab = (name: string, ...more: readonly string[]) =>
  runCli(
    "build-vocab",
    ...[
      "--corpus-dir",
      join(folder, "text"),
      "--output-file",
      vocabulary(name),
      "--vocab-size",
      "80",
      ...more,
    ],
  );

describe("build-vocab", () => {
  it("writes a vocabulary, the same every time, and names the next command", async () => {
    const results = [await buildVocab("one", "--json"), await buildVocab("two", "--json")];
    const [first, second] = ["one", "two"].map((name) => readFileSync(vocabulary(name), "utf8"));
    expect(first).toBe(second);
    const tokens = first!.trimEnd().split("\n");
    expect(tokens.slice(0, 5)).toEqual(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]);
    for (const { code, stdout, stderr } of results) {
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ tokens: tokens.length, files: 2 });
      expect(stderr).toMatch(
        /Next:\n {2}npx electra-native build-dataset --corpus-dir .* --vocab-file .*vocab\.txt/,
      );
    }
    expect(readdirSync(join(folder, "one"))).toEqual(["vocab.txt"]);
  });

  it("keeps upper case when told, and says so in the next command", async () => {
    const { stderr } = await buildVocab("cased", "--no-lower-case");
    expect(readFileSync(vocabulary("cased"), "utf8")).toMatch(/^T$/m);
    expect(stderr).toContain("--no-lower-case");
  });

  it("leaves an earlier vocabulary alone when it fails", async () => {
    await buildVocab("kept");
    const before = readFileSync(vocabulary("kept"), "utf8");
    const { code, stderr } = await buildVocab("kept", "--vocab-size", "3");
    expect(code).toBe(2);
    expect(stderr).toMatch(/error: A vocabulary of 3 has no room/);
    expect(readFileSync(vocabulary("kept"), "utf8")).toBe(before);
  });
});

describe("a command that is interrupted", () => {
  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])("by %s stops, leaves nothing half-done and exits with %i", async (name, expected) => {
    const io = fakeIo();
    io.signals.once("newListener", () => setImmediate(() => io.signals.emit(name)));
    const output = vocabulary(name);
    const argv = ["build-vocab", "--corpus-dir", join(folder, "text"), "--output-file", output, "--json"];
    expect(await main(argv, io)).toBe(expected);
    expect(JSON.parse(io.text("stdout")).error).toMatchObject({ code: "ERR_ELECTRA_INTERRUPTED" });
    expect(existsSync(output)).toBe(false);
    expect(io.signals.listenerCount(name)).toBe(0);
  });
});

describe("build-dataset", () => {
  const build = (output: string, ...more: readonly string[]) =>
    runCli(
      "build-dataset",
      ...["--corpus-dir", join(folder, "text"), "--vocab-file", vocabulary("data"), "--num-shards", "3"],
      ...["--output-dir", join(folder, "data", output), "--json", ...more],
    );

  it("prints its report as one document and the pre-training that finds the records", async () => {
    await buildVocab("data");
    const { code, stdout, stderr } = await build("pretrain_tfrecords");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ documents: 40, sentences: 200, files: 2 });
    expect(stderr.trimEnd()).toMatch(/pretrain --data-dir \S+data --model-name electra-small$/);
  });

  it.each([
    ["True", 40],
    ["1", 40],
    ["False", 2],
    ["false", 2],
    ["0", 2],
  ])("takes --blanks-separate-docs %s for what it says", async (value, documents) => {
    const { stdout } = await build(`docs-${value}`, "--blanks-separate-docs", value);
    expect(JSON.parse(stdout).documents).toBe(documents);
  });

  it("names what is not at the usual place in the next command", async () => {
    const { stderr } = await build("my records", "--max-seq-length", "64");
    const hparams = JSON.parse(/--hparams '(.*)'$/.exec(stderr.trimEnd())![1]!);
    expect(hparams).toEqual({
      max_seq_length: 64,
      pretrain_tfrecords: join(folder, "data", "my records", "pretrain_data.tfrecord*"),
    });
  });

  it("refuses a folder of somebody else", async () => {
    mkdirSync(join(folder, "data", "precious"), { recursive: true });
    writeFileSync(join(folder, "data", "precious", "thesis.txt"), "chapter 1");
    const { code, stdout } = await build("precious");
    expect(code).not.toBe(0);
    expect(JSON.parse(stdout).error.code).toBe("ERR_ELECTRA_OUTPUT_FOLDER");
    expect(readdirSync(join(folder, "data", "precious"))).toEqual(["thesis.txt"]);
  });
});

const golden = process.env["ELECTRA_GOLDEN_DIR"] ?? "test/fixtures/golden";

describe("inspect", () => {
  beforeAll(async () => {
    for (const step of [1, 2])
      await saveCheckpoint(toySave(join(folder, "inspected", "models", "toy"), step));
  });
  const run = (): string => join(folder, "inspected", "models", "toy");

  it.each([
    ["a run", () => [run()], { kind: "run", checkpoints: [2, 1] }],
    [
      "a model by its name",
      () => ["--data-dir", join(folder, "inspected"), "--model-name", "toy"],
      { kind: "run", checkpoint: { step: 2, seed: 7, cursor: { consumed: 16 } } },
    ],
    ["a checkpoint", () => [join(run(), "checkpoint-1")], { kind: "checkpoint", checkpoint: { step: 1 } }],
    [
      "a Hugging Face folder",
      () => [join(run(), "checkpoint-1", "generator")],
      { kind: "hf", generator: { config: { hidden_size: 12 } } },
    ],
    [
      "a tensor file",
      () => [join(run(), "checkpoint-1", "discriminator", "model.safetensors")],
      { kind: "safetensors", metadata: { format: "pt" } },
    ],
    [
      "a TensorFlow folder",
      () => [join(golden, "checkpoint")],
      { kind: "tf", global_step: 5, discriminator: { config: { hidden_size: 64 } }, generator: {} },
    ],
    [
      "a TensorFlow checkpoint by its prefix",
      () => [join(golden, "checkpoint_micro", "sharded.ckpt")],
      { kind: "tensorflow", global_step: 123456789012, checksums: "16 tensors verified", values: 1610 },
    ],
    [
      "an index file",
      () => [join(golden, "checkpoint", "model.ckpt-5.index")],
      { kind: "tensorflow", checksums: "247 tensors verified" },
    ],
    [
      "a file of PyTorch",
      () => ["test/fixtures/pytorch/tensors.bin"],
      { kind: "pytorch", format: "zip", checksums: "11 tensors verified" },
    ],
    [
      "records",
      () => [join(golden, "tfrecord", "broken", "good.tfrecord")],
      { kind: "tfrecord", features: [{ kind: "int64" }, { kind: "int64" }, { kind: "int64" }] },
    ],
    [
      "a vocabulary",
      () => [join(golden, "data", "vocab.txt")],
      { kind: "vocabulary", cased: false, special: { "[PAD]": 0 } },
    ],
  ] as const)("describes %s", async (_name, argv, expected) => {
    const { code, stdout } = await runCli("inspect", ...argv(), "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject(expected);
  });

  it.each([
    ["checkpoint_micro/flipped_data.ckpt", "ERR_ELECTRA_TF_CHECKPOINT", /check sum of "big"/],
    ["checkpoint_micro/truncated_index.ckpt.index", "ERR_ELECTRA_TF_CHECKPOINT", /last 8 bytes/],
    ["tfrecord/broken/bad_data_byte.tfrecord", "ERR_ELECTRA_RECORD_DAMAGED", /check sum/],
    ["tfrecord/broken.json", "ERR_ELECTRA_FILE_KIND", /none of the files/],
  ] as const)("verifies what is in %s and refuses it", async (file, code, message) => {
    const result = await runCli("inspect", join(golden, file), "--json");
    expect(result.code).toBeGreaterThan(0);
    expect(result.stderr + result.stdout).toMatch(message);
    expect(result.stderr + result.stdout).toContain(code);
  });

  it("counts the parameters", async () => {
    const { discriminator } = JSON.parse((await runCli("inspect", run(), "--json")).stdout);
    const variables = toySave("", 1)
      .parameters.names()
      .filter(({ name }) => /^(electra|discriminator)/.test(name));
    const expected = variables.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(discriminator.parameters).toBe(expected);
  });

  it("describes a dataset", async () => {
    const { stdout } = await runCli("inspect", join(folder, "data", "pretrain_tfrecords"), "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      kind: "dataset",
      status: "complete",
      counts: { documents: 40 },
    });
  });

  it("names the models there are when it finds none of that name", async () => {
    const { code, stderr } = await runCli(
      "inspect",
      ...["--data-dir", join(folder, "inspected"), "--model-name", "tyo"],
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(/no model "tyo"[\s\S]*There are: toy\./);
  });

  it("says what a folder without a model holds", async () => {
    const { code, stderr } = await runCli("inspect", join(folder, "text"));
    expect(code).toBe(2);
    expect(stderr).toContain("it holds a.txt, b.txt");
  });
});

describe("doctor", () => {
  it("fails where it cannot write, and says what to do", async () => {
    const { code, stdout, stderr } = await runCli("doctor", "--data-dir", join(folder, "none"), "--json");
    expect(code).toBe(1);
    const { ok, checks } = JSON.parse(stdout);
    expect(ok).toBe(false);
    expect(checks).toContainEqual(
      expect.objectContaining({ name: "disk", status: "fail", detail: expect.stringContaining("ENOENT") }),
    );
    expect(stderr).toMatch(/disk: make .* writable/);
  });

  it("leaves nothing behind in the folder it tried", async () => {
    mkdirSync(join(folder, "tried"));
    const { stdout } = await runCli("doctor", "--data-dir", join(folder, "tried"), "--json");
    const names = JSON.parse(stdout).checks.map(({ name }: { name: string }) => name);
    expect(names).toEqual(
      expect.arrayContaining(["Node.js", "system", "CPU", "engine", "cmake", "CUDA compiler", "disk"]),
    );
    expect(readdirSync(join(folder, "tried"))).toEqual([]);
  });
});
