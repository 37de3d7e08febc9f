import { createWriteStream, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./cli.js";
import { missingBuild } from "./needs-build.js";
import { removePrograms, root, run, writeProgram } from "./programs.js";
import { writeSyntheticCorpus } from "./synthetic-corpus.js";

const missing = missingBuild();
const reason = missing ? ` (skipped: ${missing})` : "";

afterAll(removePrograms);

/** What makes a run a matter of seconds, whatever the document asks for. */
const debugSize = {
  debug: true,
  num_train_steps: 3,
  num_warmup_steps: 1,
  train_batch_size: 4,
  eval_batch_size: 4,
  num_eval_steps: 1,
};

/** The blocks of a document that are fenced as a language. */
function blocksOf(document: string, language: string): string[] {
  const text = readFileSync(join(root, document), "utf8");
  const fenced = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm");
  return [...text.matchAll(fenced)].map(([, block]) => block!);
}

/** The words of a command as the shell would give them to a program. */
async function shellWords(command: string, dataDir: string): Promise<string[]> {
  const { code, stdout, stderr } = await run("sh", ["-c", `set -f; printf '%s\\0' ${command}`], {
    DATA_DIR: dataDir,
  });
  expect(code, stderr).toBe(0);
  return stdout.split("\0").slice(0, -1);
}

/** An archive of one document for each text: OpenWebText in small. */
async function archiveEachText(texts: string, archives: string): Promise<void> {
  mkdirSync(archives);
  for (const name of readdirSync(texts)) {
    const archive = pack();
    archive.entry({ name }, readFileSync(join(texts, name), "utf8"));
    archive.finalize();
    await pipeline(archive, createWriteStream(join(archives, `${name}.tar`)));
  }
}

/** Data of the reference's tasks, a few rows of each kind. */
function writeReferenceTasks(dataDir: string): void {
  const rows = Array.from({ length: 12 }, (_, i) => i);
  const mnli = ["contradiction", "entailment", "neutral"];
  const mnliRow = (i: number) =>
    ["-".repeat(8).split("").join("\t"), `kalo ${i}`, "mi ru", mnli[i % 3]].join("\t");
  const squad = {
    version: "v2.0",
    data: [
      {
        paragraphs: rows.map((i) => ({
          context: "kalo mi ne ru",
          qas: [
            {
              id: `q${i}`,
              question: "mi ?",
              is_impossible: i % 4 === 0,
              answers: i % 4 === 0 ? [] : [{ text: "ne", answer_start: 8 }],
            },
          ],
        })),
      },
    ],
  };
  const texts: Readonly<Record<string, string>> = {
    "cola/train.tsv": rows.map((i) => `s\t${i % 2}\t\tkalo mi ${i}\n`).join(""),
    "mnli/train.tsv": `header\n${rows.map((i) => `${mnliRow(i)}\n`).join("")}`,
    "squad/train.json": JSON.stringify(squad),
    "chunk/train.txt": rows.map((i) => `kalo NN B-NP\nmi${i} VB B-VP\n\n`).join(""),
  };
  for (const [name, text] of Object.entries(texts)) {
    const dev = name === "mnli/train.tsv" ? "mnli/dev_matched.tsv" : name.replace("train", "dev");
    for (const file of [name, dev]) {
      const path = join(dataDir, "finetuning_data", file);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
  }
}

describe.skipIf(missing !== undefined)(`the commands of docs/from-google-electra.md${reason}`, () => {
  const commands = blocksOf("docs/from-google-electra.md", "sh").flatMap((block) => block.trim().split("\n"));
  let dataDir = "";
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "electra-examples-"));
    // Five files at least: the document builds with five processes.
    await writeSyntheticCorpus(join(dataDir, "text"), { documents: 6, sentences: 30 });
    await archiveEachText(join(dataDir, "text"), join(dataDir, "openwebtext"));
    writeReferenceTasks(dataDir);
  });
  afterAll(async () => {
    await rm(dataDir, { recursive: true, force: true });
  });

  it("are there for every step of the reference's README", () => {
    const names = commands.map((command) => command.split(" ")[2]);
    expect(new Set(names)).toEqual(
      new Set(["build-vocab", "build-dataset", "build-openwebtext", "pretrain", "finetune"]),
    );
    expect(commands.length).toBeGreaterThan(10);
  });

  // In the document's order: each uses what those before it made.
  it.each(commands)("%s", async (command) => {
    const words = await shellWords(command, dataDir);
    expect(words.slice(0, 2)).toEqual(["npx", "electra-native"]);
    const args = words.slice(2);
    if (args[0] === "pretrain") {
      const place = args.indexOf("--hparams");
      const given = place < 0 ? {} : (JSON.parse(args[place + 1]!) as Record<string, unknown>);
      if (place >= 0) args.splice(place, 2);
      args.push("--hparams", JSON.stringify({ ...given, ...debugSize }));
    }
    if (args[0] === "finetune") {
      const place = args.indexOf("--hparams");
      const given = JSON.parse(args[place + 1]!) as Record<string, unknown>;
      args[place + 1] = JSON.stringify({
        ...given,
        max_seq_length: 48,
        train_batch_size: 4,
        num_train_epochs: 1,
      });
    }
    const { code, stdout, stderr } = await runCli([...args, "--json"], { cwd: dataDir });
    expect(code, stderr).toBe(0);
    const document = JSON.parse(stdout) as Record<string, unknown>;
    expect(document).not.toHaveProperty("error");
    if (args[0]?.startsWith("build-") && args[0] !== "build-vocab")
      expect(document["examples"]).toBeGreaterThan(4);
    if (args[0] === "finetune") {
      expect(document["status"]).toBe("finished");
      expect(Object.keys(document["summary"] as object).length).toBeGreaterThan(0);
    }
    if (args[0] === "pretrain" && !("split" in document)) {
      expect(document).toMatchObject({ status: "finished", step: debugSize.num_train_steps });
    }
    if ("split" in document) {
      const results = readdirSync(join(dataDir, "models/electra_small_owt/results")).sort();
      expect(results).toEqual(["unsup_results.json", "unsup_results.txt"]);
    }
  });

  it("know the JSON file of hparams too", async () => {
    writeFileSync(join(dataDir, "hparams.json"), JSON.stringify(debugSize));
    const { code, stderr } = await runCli(
      ["pretrain", "--data-dir", dataDir, "--model-name", "from-file", "--hparams", "hparams.json"],
      { cwd: dataDir },
    );
    expect(code, stderr).toBe(0);
  });
});

describe.skipIf(missing !== undefined)(`examples/train-loop.ts${reason}`, () => {
  let work = "";
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), "electra-train-loop-"));
  });
  afterAll(async () => {
    await rm(work, { recursive: true, force: true });
  });

  it("learns a made-up language until the held-out loss stops falling, and leaves a checkpoint", async () => {
    const program = writeProgram("train-loop", readFileSync(join(root, "examples/train-loop.ts"), "utf8"));
    const { code, stdout, stderr } = await run(process.execPath, [program], { TMPDIR: work });
    expect(code, stderr).toBe(0);
    const losses = [...stdout.matchAll(/held-out loss ([\d.]+)/g)].map(([, loss]) => Number(loss));
    expect(losses.length).toBeGreaterThan(2);
    expect(Math.min(...losses)).toBeLessThan(losses[0]!);
    const model = /^best checkpoint in (.+)$/m.exec(stdout)?.[1] ?? "";
    const inspected = await runCli(["inspect", model, "--json"], { cwd: work });
    expect(inspected.code, inspected.stderr).toBe(0);
    const document = JSON.parse(inspected.stdout) as {
      kind: string;
      checkpoints: number[];
      broken: unknown[];
    };
    expect(document).toMatchObject({ kind: "run", broken: [] });
    // The best, not the last.
    const best = 20 * (losses.indexOf(Math.min(...losses)) + 1);
    expect(document.checkpoints).toEqual([best]);
  });
});

describe.skipIf(missing !== undefined)(`examples/rerank${reason}`, () => {
  const lists = join(root, "examples/rerank");
  let work = "";
  let model = "";
  /** The first lists of a file: the whole is a matter of a minute on a slow machine. */
  const writeFirst = (name: string, count: number): void => {
    const lines = readFileSync(join(lists, name), "utf8").split("\n");
    const ids = [...new Set(lines.map((line) => line.split(" ||| ")[0]!))].slice(0, count);
    const kept = lines.filter((line) => ids.includes(line.split(" ||| ")[0]!));
    writeFileSync(join(work, name), `${kept.join("\n")}\n`);
  };
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), "electra-rerank-"));
    for (const name of ["dev.nbest", "dev.references", "test.nbest", "test.references"]) writeFirst(name, 12);
    mkdirSync(join(work, "text"));
    const sentences = readFileSync(join(lists, "dev.references"), "utf8").replace(/^.*? \|\|\| /gm, "");
    writeFileSync(join(work, "text", "sentences.txt"), sentences);
    const vocab = ["--vocab-file", "vocab.txt"];
    for (const args of [
      ["build-vocab", "--corpus-dir", "text", "--output-file", "vocab.txt", "--vocab-size", "300"],
      ["build-dataset", "--corpus-dir", "text", ...vocab, "--output-dir", "pretrain_tfrecords"].concat([
        "--max-seq-length",
        "32",
        "--num-shards",
        "2",
      ]),
      ["pretrain", "--data-dir", ".", "--model-name", "electric", "--preset", "fixed", "--hparams"].concat(
        JSON.stringify({
          ...{ electra_objective: false, electric_objective: true, max_seq_length: 32, train_batch_size: 8 },
          ...{ num_train_steps: 5, num_warmup_steps: 1, model_hparam_overrides: { num_hidden_layers: 1 } },
        }),
      ),
    ]) {
      const { code, stderr } = await runCli(args, { cwd: work });
      expect(code, stderr).toBe(0);
    }
    model = join(work, "models", "electric");
  });
  afterAll(async () => {
    await rm(work, { recursive: true, force: true });
  });

  it("the program picks a weight and measures it on other lists, and the command finds the same", async () => {
    const program = writeProgram("rerank", readFileSync(join(lists, "rerank.ts"), "utf8"));
    const { code, stdout, stderr } = await run(process.execPath, [program, model, work]);
    expect(code, stderr).toBe(0);
    const [sum, mean] = stdout.split(/^mean over the tokens/m) as [string, string];
    for (const part of [sum, mean]) {
      const [, before, after] = /development: ([\d.]+) % word errors -> ([\d.]+) %/.exec(part)!.map(Number);
      expect(after).toBeLessThanOrEqual(before!);
    }
    const weight = /^sum over the tokens, weight ([\d.]+)$/m.exec(stdout)![1]!;
    const [, before, after] = /test: +([\d.]+) % word errors -> ([\d.]+) %/.exec(sum)!;
    const files = ["--nbest", "test.nbest", "--references", "test.references"];
    const development = ["--dev-nbest", "dev.nbest", "--dev-references", "dev.references"];
    const command = await runCli(["rerank", "--model", model, "--suffix", ".", ...files, ...development], {
      cwd: work,
    });
    expect(command.code, command.stderr).toBe(0);
    expect(command.stderr).toContain(`weight ${weight}: word error rate`);
    expect(command.stderr).toContain(
      `word error rate on these 12 lists: ${after} %; ${before} % without re-ranking`,
    );
  });

  it("has lists of whole speeches apart, with a reference for each and something to gain", () => {
    const read = (name: string): string[][] =>
      readFileSync(join(lists, name), "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => line.split(" ||| "));
    for (const name of ["dev", "test"]) {
      const references = new Map(read(`${name}.references`) as [string, string][]);
      const entries = read(`${name}.nbest`) as [string, string, string][];
      expect(new Set(entries.map(([id]) => id))).toEqual(new Set(references.keys()));
      for (const [, text] of [...entries, ...references]) expect(text).toMatch(/^[a-z'.]+( [a-z'.]+)*$/);
      // The recogniser's own order, every text once.
      expect(new Set(entries.map(([id, text]) => `${id} ${text}`)).size).toBe(entries.length);
      const firsts = new Map([...entries].reverse().map(([id, text]) => [id, text]));
      const wrong = [...references].filter(([id, spoken]) => firsts.get(id) !== spoken);
      const mendable = wrong.filter(([id, spoken]) =>
        entries.some(([i, text]) => i === id && text === spoken),
      );
      expect(wrong.length).toBeGreaterThan(references.size / 4);
      expect(mendable.length).toBeGreaterThan(references.size / 20);
    }
    const spoken = (name: string) => read(`${name}.references`).map(([, text]) => text);
    expect(spoken("dev").filter((text) => spoken("test").includes(text))).toEqual([]);
  });
});

describe.skipIf(missing !== undefined)(`the program of docs/library.md${reason}`, () => {
  let work = "";
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), "electra-library-"));
    await writeSyntheticCorpus(join(work, "text"), { documents: 30, sentences: 20 });
  });
  afterAll(async () => {
    await rm(work, { recursive: true, force: true });
  });

  it("does what the page says", async () => {
    const program = writeProgram("library", blocksOf("docs/library.md", "ts").join("\n"));
    const { code, stdout, stderr } = await run(process.execPath, [program], {}, work);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^finished 20 .*checkpoint-20$/m);
    expect(stdout).toMatch(/^\[ 8, 32 \] true$/m);
    expect(stdout).toContain("Float32Array(2) [ -1.5, -1.5 ] 10");
    expect(stdout).toMatch(/^(calm|loud) \{ calm: 0\.\d+, loud: 0\.\d+ \}\n\d+$/m);
    expect(stdout).toMatch(/^ERR_ELECTRA_UNKNOWN_HPARAM .*learning_rate/m);
  });
});
