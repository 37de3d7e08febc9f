import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { saveCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { engineParameterStore } from "../../../src/checkpoint/engine-parameter-store.js";
import { ElectricScorer } from "../../../src/electric/electric-scorer.js";
import { logProbability } from "../../../src/electric/log-probability.js";
import { MaskedLmScorer } from "../../../src/electric/masked-lm-scorer.js";
import { Engine } from "../../../src/engine/engine.js";
import type { PretrainingModelConfig } from "../../../src/engine/types.js";
import { runCli } from "../cli/run-cli.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";
import { saveTinyModel, tinyConfig, tinyTokens } from "../inference/tiny-model.js";

const electricConfig: PretrainingModelConfig = {
  ...tinyConfig,
  objective: "electric",
  generator_kind: "two_towers",
};

/** A run with a checkpoint of Electric, random weights. */
async function saveElectric(hparams: Record<string, boolean>): Promise<{ runDir: string; engine: Engine }> {
  const runDir = await mkdtemp(join(tmpdir(), "electra-electric-"));
  const engine = await Engine.create({ model: electricConfig, threads: 1, seed: 5 });
  await saveCheckpoint({
    runDir,
    step: 3,
    seed: 5,
    cursor: 0,
    hparams: { max_seq_length: electricConfig.max_seq_length, ...hparams },
    versions: {},
    fingerprints: {
      data: null,
      package: null,
      isa: null,
      gemm: null,
      precision: null,
      device: null,
      threads: null,
    },
    parameters: engineParameterStore(engine),
    configs: { discriminator: electricConfig.discriminator, generator: electricConfig.generator! },
    tokenizer: { vocabText: `${tinyTokens.join("\n")}\n`, doLowerCase: true, stripAccents: true },
    keepCheckpointMax: 1,
  });
  return { runDir, engine };
}

const idsOf = (text: string): Int32Array =>
  Int32Array.from(text.split(" "), (token) => tinyTokens.indexOf(token));
const batchOf = (ids: Int32Array) => ({
  inputIds: ids,
  lengths: Int32Array.of(ids.length),
  rows: 1,
  length: ids.length,
});

const texts = [
  "the cat sat.",
  "",
  "cat",
  `${"the cat sat on ".repeat(5)}.`,
  `x${"y".repeat(30)} the cat`,
  "The caz",
];

describeWithAddon("scoring with Electric", () => {
  let electric: { runDir: string; engine: Engine };
  const folders: string[] = [];
  beforeAll(async () => {
    electric = await saveElectric({ electra_objective: false, electric_objective: true });
    folders.push(electric.runDir);
  });
  afterAll(async () => {
    await electric.engine.dispose();
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });

  it("adds up the negative raw outputs of the saved discriminator over the text's tokens", async () => {
    await using scorer = await ElectricScorer.open(electric.runDir, { threads: 1 });
    expect(scorer.trainedAs).toBe("electric");
    const [found] = await scorer.score(["The caz sat."]);
    const outputs = await electric.engine.forward(batchOf(idsOf("[CLS] the c ##a ##z sat . [SEP]")), {
      network: "discriminator",
      outputs: ["disc/logits"],
    });
    const energies = [...outputs["disc/logits"]!.data.subarray(1, 7)];
    expect(found!.tokens.map(({ token, start, end }) => [token, start, end])).toEqual([
      ["the", 0, 3],
      ["c", 4, 7],
      ["##a", 4, 7],
      ["##z", 4, 7],
      ["sat", 8, 11],
      [".", 11, 12],
    ]);
    for (const [k, { score }] of found!.tokens.entries()) expect(score).toBeCloseTo(-energies[k]!, 6);
    const sum = energies.reduce((total, energy) => total - energy, 0);
    expect(Math.abs(sum)).toBeGreaterThan(1e-3);
    expect(found!.score).toBeCloseTo(sum, 6);
    expect(found!.mean).toBeCloseTo(sum / 6, 6);
  });

  it("gives a text the same score in any company and order, also one longer than the model reads", async () => {
    await using scorer = await ElectricScorer.open(electric.runDir, { threads: 1 });
    const together = await scorer.score(texts);
    const reversed = (await scorer.score([...texts].reverse())).reverse();
    for (const [k, text] of texts.entries()) {
      const [alone] = await scorer.score([text]);
      expect(together[k]!.score).toBeCloseTo(alone!.score, 6);
      expect(reversed[k]!.score).toBeCloseTo(alone!.score, 6);
      expect(together[k]!.tokens.every(({ score }) => score !== 0)).toBe(true);
    }
    expect(together.map(({ tokens }) => tokens.length)).toEqual([4, 0, 1, 26, 33, 4]);
    expect(together[1]).toEqual({ score: 0, mean: 0, tokens: [] });
  });

  it("reads a long text in windows and takes each token from where it stands farther from the edge", async () => {
    await using scorer = await ElectricScorer.open(electric.runDir, { threads: 1 });
    // 12 tokens, 10 of which fit: the windows are 0–9 and 5–11, and share at 7.5.
    const [long] = await scorer.score(["a b c d e f g h i j k l"]);
    const [start] = await scorer.score(["a b c d e f g h i j"]);
    const [end] = await scorer.score(["f g h i j k l"]);
    const scores = (from: typeof long) => from!.tokens.map(({ score }) => score);
    for (const [k, score] of [...scores(start).slice(0, 8), ...scores(end).slice(3)].entries())
      expect(scores(long)[k]).toBeCloseTo(score, 6);
  });

  it("takes a lone folder, which does not say how it was trained, and refuses one that was trained otherwise", async () => {
    const lone = await mkdtemp(join(tmpdir(), "electra-lone-"));
    folders.push(lone);
    await cp(join(electric.runDir, "checkpoint-3", "discriminator"), lone, { recursive: true });
    await using scorer = await ElectricScorer.open(lone, { threads: 1 });
    expect(scorer.trainedAs).toBe("unknown");
    const other = await saveElectric({ electric_objective: false });
    folders.push(other.runDir);
    await other.engine.dispose();
    await expect(ElectricScorer.open(other.runDir, { threads: 1 })).rejects.toMatchObject({
      code: "ERR_ELECTRA_NOT_ELECTRIC",
      exitCode: 2,
    });
  });

  it("the command prints a line for each line and one document with --json, and names the next command", async () => {
    const file = join(electric.runDir, "lines.txt");
    await writeFile(file, "the cat sat.\n\nThe caz\n");
    await using scorer = await ElectricScorer.open(electric.runDir, { threads: 1 });
    const [first, , last] = await scorer.score(["the cat sat.", "", "The caz"]);
    const plain = await runCli("score", "--model", electric.runDir, "--threads", "1", "--per-token", file);
    expect(plain.code, plain.stderr).toBe(0);
    const lines = plain.stdout.split("\n").map((line) => line.split("\t"));
    expect(lines.map(([score, text]) => [score, text])).toEqual([
      [first!.score.toFixed(4), "the cat sat."],
      ["0.0000", ""],
      [last!.score.toFixed(4), "The caz"],
      ["", undefined],
    ]);
    expect(lines[2]![2]).toBe(
      last!.tokens.map(({ token, score }) => `${token}=${score.toFixed(4)}`).join(" "),
    );
    expect(plain.stderr).toMatch(/Next:\n {2}npx electra-native rerank --model /);
    const json = await runCli("score", "--model", electric.runDir, "--threads", "1", "--json", file);
    expect(JSON.parse(json.stdout)).toMatchObject({
      step: 3,
      method: "electric",
      texts: [
        { line: 1, count: 4 },
        { line: 2, score: 0 },
        { line: 3, text: "The caz" },
      ],
    });
  });

  it("the rerank command picks the weight, ranks the lists, and names the next command", async () => {
    await using scorer = await ElectricScorer.open(electric.runDir, { threads: 1 });
    const pair = ["the cat sat", "sat the cat the"];
    const [a, b] = await scorer.score(pair);
    // The likelier one is right, but stands second.
    const [right, wrong] = a!.score > b!.score ? pair : pair.toReversed();
    const nbest = join(electric.runDir, "nbest.txt");
    const references = join(electric.runDir, "references.txt");
    await writeFile(nbest, `u ||| ${wrong} ||| -1\nu ||| ${right} ||| -1.0001\n`);
    await writeFile(references, `${right}\n`);
    const common = ["rerank", "--model", electric.runDir, "--threads", "1", "--nbest", nbest];
    const development = ["--dev-nbest", nbest, "--dev-references", references];
    const tuned = await runCli(...common, ...development);
    expect(tuned.code, tuned.stderr).toBe(0);
    expect(tuned.stdout.split("\n")[0]).toMatch(
      new RegExp(`^u \\|\\|\\| ${right} \\|\\|\\| PseudoLogLikelihood= `),
    );
    expect(tuned.stderr).toMatch(/weight [\d.]+: word error rate 0\.00 % on 1 development lists; \d/);
    expect(tuned.stderr).toMatch(/Next:\n {2}npx electra-native rerank .* --weight [\d.]+\n$/);
    const judged = await runCli(...common, "--weight", "1", "--references", references);
    expect(judged.stderr).toMatch(
      /word error rate on these 1 lists: 0\.00 %; [\d.]+ % without re-ranking, 0\.00 % at best\n1 lists better, 0 worse/,
    );
    const document = await runCli(...common, ...development, "--references", references, "--json");
    expect(JSON.parse(document.stdout)).toMatchObject({
      measured: { lists: 1, value: 0, oracle: 0, better: 1 },
    });
    const suffixed = await runCli(...common, ...development, "--suffix", " .", "--json");
    const [top] = await scorer.score([`${right} .`]);
    const { lists, suffix } = JSON.parse(suffixed.stdout) as {
      suffix: string;
      lists: { entries: { hypothesis: string; pseudo_log_likelihood: number }[] }[];
    };
    expect(suffix).toBe(" .");
    const entry = lists[0]!.entries.find(({ hypothesis }) => hypothesis === right)!;
    expect(entry.pseudo_log_likelihood).toBeCloseTo(top!.score, 5);
    expect(suffixed.stderr).toContain("--suffix ' .'");
    expect((await runCli(...common, "--weight", "0", "--best")).stdout).toBe(`${wrong}\n`);
    expect(await runCli(...common)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Give --weight"),
    });
    expect((await runCli(...common, "--weight", "-1")).code).toBe(2);
    await writeFile(nbest, Uint8Array.of(0xe9));
    expect((await runCli(...common, "--weight", "1")).stderr).toContain(`${nbest} is not valid UTF-8`);
    await writeFile(nbest, "u ||| the cat\n");
    expect((await runCli(...common, "--weight", "1")).stderr).toContain(`${nbest}:1: 2 fields between bars`);
  });
});

describeWithAddon("scoring with a masked language model", () => {
  let saved: { runDir: string; engine: Engine };
  beforeAll(async () => {
    saved = await saveTinyModel();
  });
  afterAll(async () => {
    await saved.engine.dispose();
    await rm(saved.runDir, { recursive: true, force: true });
  });

  /** log P(target at position | masked text), straight from the engine that was saved. */
  async function direct(masked: string, position: number, target: string): Promise<number> {
    const outputs = await saved.engine.forward(batchOf(idsOf(masked)), {
      network: "generator",
      positions: Int32Array.of(position),
      outputs: ["mlm/logits"],
    });
    // One slot of the model's three is used.
    const logits = [...outputs["mlm/logits"]!.data.subarray(0, tinyTokens.length)];
    return logits[tinyTokens.indexOf(target)]! - Math.log(logits.reduce((sum, z) => sum + Math.exp(z), 0));
  }

  it("masks one token at a time and adds up the log-probabilities", async () => {
    await using scorer = await MaskedLmScorer.open(saved.runDir, { threads: 1 });
    const [found] = await scorer.score(["the caz"]);
    const expected = [
      await direct("[CLS] [MASK] c ##a ##z [SEP]", 1, "the"),
      await direct("[CLS] the [MASK] ##a ##z [SEP]", 2, "c"),
      await direct("[CLS] the c [MASK] ##z [SEP]", 3, "##a"),
      await direct("[CLS] the c ##a [MASK] [SEP]", 4, "##z"),
    ];
    for (const [k, { score }] of found!.tokens.entries()) expect(score).toBeCloseTo(expected[k]!, 5);
    expect(found!.score).toBeCloseTo(
      expected.reduce((sum, each) => sum + each, 0),
      5,
    );
  });

  it("also masks the later pieces of the same word, and of no other, when told", async () => {
    await using scorer = await MaskedLmScorer.open(saved.runDir, { threads: 1, withinWordLeftToRight: true });
    const [found] = await scorer.score(["the caz sat"]);
    const expected = [
      await direct("[CLS] [MASK] c ##a ##z sat [SEP]", 1, "the"),
      await direct("[CLS] the [MASK] [MASK] [MASK] sat [SEP]", 2, "c"),
      await direct("[CLS] the c [MASK] [MASK] sat [SEP]", 3, "##a"),
      await direct("[CLS] the c ##a [MASK] sat [SEP]", 4, "##z"),
      await direct("[CLS] the c ##a ##z [MASK] [SEP]", 5, "sat"),
    ];
    for (const [k, { score }] of found!.tokens.entries()) expect(score).toBeCloseTo(expected[k]!, 5);
  });

  it("gives a text the same score in any company and order, also one longer than the model reads", async () => {
    for (const withinWordLeftToRight of [false, true]) {
      await using scorer = await MaskedLmScorer.open(saved.runDir, { threads: 1, withinWordLeftToRight });
      const together = await scorer.score(texts);
      const reversed = (await scorer.score([...texts].reverse())).reverse();
      for (const [k, text] of texts.entries()) {
        const [alone] = await scorer.score([text]);
        expect(together[k]!.score).toBeCloseTo(alone!.score, 6);
        expect(reversed[k]!.score).toBeCloseTo(alone!.score, 6);
        expect(together[k]!.tokens.every(({ score }) => score < 0)).toBe(true);
      }
    }
  });

  it("is what the score command uses when told, and without a discriminator it says so", async () => {
    const generator = join(saved.runDir, "checkpoint-7", "generator");
    const file = join(saved.runDir, "lines.txt");
    await writeFile(file, "the caz\n");
    for (const [flag, withinWordLeftToRight] of [
      ["--masked-lm", false],
      ["--within-word", true],
    ] as const) {
      await using scorer = await MaskedLmScorer.open(generator, { threads: 1, withinWordLeftToRight });
      const [found] = await scorer.score(["the caz"]);
      const result = await runCli("score", "--model", generator, "--threads", "1", flag, "--mean", file);
      expect(result.stdout).toBe(`${found!.mean.toFixed(4)}\tthe caz\n`);
      expect(result.stderr).toContain(`/generator ${flag} --nbest`);
    }
    const refused = await runCli("score", "--model", generator, file);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("--masked-lm") });
  });

  it("refuses Electric's generator of two towers", async () => {
    const electric = await saveElectric({ electric_objective: true });
    await electric.engine.dispose();
    await expect(MaskedLmScorer.open(electric.runDir)).rejects.toThrow("two towers");
    await rm(electric.runDir, { recursive: true, force: true });
  });
});

it("log-probabilities are normalised in double precision, also of large logits", () => {
  expect(logProbability([1000, 1000 + Math.log(3)], 1)).toBeCloseTo(Math.log(0.75), 12);
  expect(logProbability([0, -800], 1)).toBe(-800);
});
