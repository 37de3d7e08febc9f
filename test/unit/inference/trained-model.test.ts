import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it, test } from "vitest";
import { SafetensorsReader } from "../../../src/checkpoint/safetensors.js";
import type { Engine } from "../../../src/engine/engine.js";
import { MaskedTokenFiller } from "../../../src/inference/masked-token-filler.js";
import { PretrainedModel } from "../../../src/inference/pretrained-model.js";
import { ReplacedTokenDetector } from "../../../src/inference/replaced-token-detector.js";
import { describeWithAddon } from "../engine/describe-with-addon.js";
import { saveTinyModel, tinyTokens } from "./tiny-model.js";

const golden =
  process.env["ELECTRA_GOLDEN_DIR"] ?? fileURLToPath(new URL("../../fixtures/golden/", import.meta.url));

describeWithAddon("a trained model", () => {
  let runDir: string;
  let engine: Engine;
  const folders: string[] = [];
  beforeAll(async () => {
    ({ runDir, engine } = await saveTinyModel());
    folders.push(runDir);
  });
  afterAll(async () => {
    await engine.dispose();
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });

  const copyOf = async (half: "discriminator" | "generator"): Promise<string> => {
    const folder = await mkdtemp(join(tmpdir(), "electra-half-"));
    folders.push(folder);
    await cp(join(runDir, "checkpoint-7", half), folder, { recursive: true });
    return folder;
  };

  const idsOf = (text: string): number[] => text.split(" ").map((word) => tinyTokens.indexOf(word));

  it("is found by its run, its checkpoint and its half, and gives the same answers from each", async () => {
    const answers = [];
    const half = await copyOf("discriminator");
    for (const path of [
      runDir,
      join(runDir, "checkpoint-7"),
      join(runDir, "checkpoint-7", "discriminator"),
      half,
    ]) {
      const detector = await ReplacedTokenDetector.open(path, { threads: 1 });
      answers.push(await detector.detect(["the cat sat."]));
      // Alone, nothing says how long the texts of the training were.
      expect(detector.model.maxLength).toBe(path === half ? 64 : 12);
      await detector.dispose();
    }
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  it("judges each word as its most suspicious piece, with the discriminator that was saved", async () => {
    const detector = await ReplacedTokenDetector.open(runDir, { threads: 1 });
    const [words] = await detector.detect(["The caz sat"]);
    await detector.dispose();
    const ids = Int32Array.from(idsOf("[CLS] the c ##a ##z sat [SEP]"));
    const outputs = await engine.forward(
      { inputIds: ids, lengths: Int32Array.of(ids.length), rows: 1, length: ids.length },
      { network: "discriminator", outputs: ["disc/probabilities"] },
    );
    const expected = outputs["disc/probabilities"]!.data;
    expect(words!.map(({ word, start, end }) => [word, start, end])).toEqual([
      ["The", 0, 3],
      ["caz", 4, 7],
      ["sat", 8, 11],
    ]);
    const probabilities = [expected[1]!, Math.max(expected[2]!, expected[3]!, expected[4]!), expected[5]!];
    for (const [index, probability] of probabilities.entries()) {
      expect(words![index]!.probability).toBeCloseTo(probability, 6);
    }
  });

  it("judges texts together as it judges them apart, also longer ones than it reads and empty ones", async () => {
    const texts = [
      "the cat sat.",
      "",
      `${"the cat sat on ".repeat(9)}.`,
      "cat",
      `x${"y".repeat(30)} the cat`,
    ];
    const detector = await ReplacedTokenDetector.open(runDir, { threads: 1 });
    const together = await detector.detect(texts);
    for (const [index, text] of texts.entries()) {
      const [apart] = await detector.detect([text]);
      expect(together[index]!.map(({ word }) => word)).toEqual(apart!.map(({ word }) => word));
      for (const [k, { probability }] of together[index]!.entries()) {
        expect(probability).toBeCloseTo(apart![k]!.probability, 5);
        expect(probability).toBeGreaterThan(0);
        expect(probability).toBeLessThan(1);
      }
    }
    expect(together[1]).toEqual([]);
    expect(together[2]).toHaveLength(37);
    await detector.dispose();
  });

  it("fills every mask with the tokens that the saved generator thinks likeliest", async () => {
    const filler = await MaskedTokenFiller.open(runDir, { threads: 1 });
    const masks = await filler.fill("The [MASK] sat[MASK]", { topK: 3 });
    await filler.dispose();
    const ids = Int32Array.from(idsOf("[CLS] the [MASK] sat [MASK] [SEP]"));
    const outputs = await engine.forward(
      { inputIds: ids, lengths: Int32Array.of(ids.length), rows: 1, length: ids.length },
      { network: "generator", positions: Int32Array.of(2, 4), outputs: ["mlm/logits"] },
    );
    const logits = outputs["mlm/logits"]!.data;
    expect(masks.map(({ start }) => start)).toEqual([4, 14]);
    for (const [slot, { proposals }] of masks.entries()) {
      const row = [...logits.subarray(slot * tinyTokens.length, (slot + 1) * tinyTokens.length)];
      const ranked = row
        .map((logit, id) => ({ logit, id }))
        .filter(({ id }) => id < 2 || id > 4)
        .sort((a, b) => b.logit - a.logit);
      expect(proposals.map(({ id }) => id)).toEqual(ranked.slice(0, 3).map(({ id }) => id));
      expect(proposals.map(({ token }) => token)).toEqual(proposals.map(({ id }) => tinyTokens[id]));
      expect(proposals[0]!.probability).toBeLessThan(1);
    }
  });

  test.each<[string, string, number | undefined]>([
    ["there is no [MASK]", "the cat", undefined],
    ["the model reads 12", `[MASK] ${"cat ".repeat(11)}`, undefined],
    ["topK must be an integer of 1 to", "[MASK]", 0],
  ])("says that %s", async (message, text, topK) => {
    const filler = await MaskedTokenFiller.open(runDir, { threads: 1 });
    await expect(filler.fill(text, topK === undefined ? {} : { topK })).rejects.toThrow(message);
    await filler.dispose();
  });

  it("says what a half can do, and what it cannot do alone", async () => {
    const generator = await copyOf("generator");
    await expect(ReplacedTokenDetector.open(generator)).rejects.toThrow(
      "holds no discriminator, only a generator: it can fill in masked words, but not tell replaced words",
    );
    const discriminator = await copyOf("discriminator");
    await expect(MaskedTokenFiller.open(discriminator)).rejects.toMatchObject({
      code: "ERR_ELECTRA_MODEL_HALF",
    });
    const filler = await MaskedTokenFiller.open(generator, { threads: 1 });
    expect(await filler.fill("the [MASK]")).toHaveLength(1);
    await filler.dispose();
  });

  it("is refused without its vocabulary, with a longer one, or with another LayerNorm", async () => {
    const folder = await copyOf("discriminator");
    await writeFile(join(folder, "vocab.txt"), `${[...tinyTokens, "more"].join("\n")}\n`);
    await expect(ReplacedTokenDetector.open(folder)).rejects.toThrow(
      `has ${tinyTokens.length + 1} tokens, but the model knows ${tinyTokens.length}`,
    );
    await rm(join(folder, "vocab.txt"));
    await expect(ReplacedTokenDetector.open(folder)).rejects.toThrow("vocab.txt cannot be read");
    const path = join(folder, "config.json");
    const config = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
    await writeFile(path, JSON.stringify({ ...config, layer_norm_eps: 1e-5 }));
    await expect(ReplacedTokenDetector.open(folder)).rejects.toThrow("layer_norm_eps is 0.00001");
  });

  for (const [half, name, output] of [
    ["discriminator", "pretraining", "disc/logits"],
    ["generator", "masked_lm", "mlm/logits"],
  ] as const) {
    const fixture = join(golden, "hf", name);
    const reason = existsSync(fixture)
      ? ""
      : ` (skipped: ${join("hf", name)} is not among the golden fixtures)`;
    it.skipIf(reason !== "")(`saved by Hugging Face gives its logits: ${name}${reason}`, async () => {
      const folder = await mkdtemp(join(tmpdir(), "electra-hf-"));
      folders.push(folder);
      for (const file of ["config.json", "model.safetensors"])
        await cp(join(fixture, file), join(folder, file));
      const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as {
        vocab_size: number;
      };
      // The fixture has no vocabulary; any with the special tokens will do.
      const words = Array.from({ length: config.vocab_size - 4 }, (_, i) => `w${i}`);
      await writeFile(join(folder, "vocab.txt"), ["[UNK]", "[CLS]", "[SEP]", "[MASK]", ...words].join("\n"));
      const io = await SafetensorsReader.open(join(fixture, "io.safetensors"));
      const read = async (key: string) => Int32Array.from(await io.readIntegers(key));
      const [inputIds, segmentIds, mask] = [
        await read("input_ids"),
        await read("token_type_ids"),
        await read("attention_mask"),
      ];
      const [rows = 0, length = 0] = io.tensors.get("input_ids")!.shape;
      const expected = await io.readFloat32("masked/logits");
      await io.close();
      const lengths = Int32Array.from({ length: rows }, (_, row) =>
        mask.subarray(row * length, (row + 1) * length).reduce((sum, each) => sum + each, 0),
      );
      const model = await PretrainedModel.open(folder, half, { threads: 1 });
      const positions = Int32Array.from({ length: rows * length }, (_, k) =>
        k % length < lengths[Math.floor(k / length)]! ? k % length : -1,
      );
      const outputs = await model.engine.forward(
        { inputIds, segmentIds, lengths, rows, length },
        half === "generator"
          ? { network: half, positions, outputs: [output] }
          : { network: half, outputs: [output] },
      );
      await model.dispose();
      const { data: found } = outputs[output]!;
      const width = half === "generator" ? config.vocab_size : 1;
      // The engine answers in rows of its own padded length.
      const pitch = found.length / rows / width;
      let largest = 0;
      let difference = 0;
      for (let row = 0; row < rows; row++) {
        for (let k = 0; k < lengths[row]! * width; k++) {
          const wanted = expected[row * length * width + k]!;
          largest = Math.max(largest, Math.abs(wanted));
          difference = Math.max(difference, Math.abs(found[row * pitch * width + k]! - wanted));
        }
      }
      expect(difference / largest).toBeLessThan(1e-4);
    });
  }
});
