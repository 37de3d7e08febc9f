import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { pairInput } from "../../../src/finetuning/features/pair-input.js";
import { WordSplitter } from "../../../src/finetuning/features/word-pieces.js";
import { type TokenizerSettings, tokenizerJson } from "../../../src/interop/tokenizer-json.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";

const peer = createRequire(import.meta.url)("tokenizers") as typeof import("tokenizers");
const load = (settings: TokenizerSettings) => peer.Tokenizer.fromString(tokenizerJson(settings));

const words = "the a cat cats sat on mat école ecole ECOLE É e ##s ##e ##cole . , ! 猫 日 本 日本".split(" ");
const vocabulary = Vocabulary.fromTokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ...words]);
const text = "The cats, sat on\tÉcole 日本 école! ECOLE the猫";

describe("tokenizer.json, read by Hugging Face's tokenizers", () => {
  it.each([
    { lowerCase: true, stripAccents: true },
    { lowerCase: true, stripAccents: false },
    { lowerCase: false, stripAccents: false },
    // Accents follow the case in ours; a file that said "strip" alone would strip.
    { lowerCase: false, stripAccents: true },
  ])("gives our ids with %o", async (settings) => {
    const theirs = load({ vocabulary, ...settings });
    const ours = new Tokenizer({ vocabulary, ...settings });
    const encoding = await theirs.encode(text, null, { addSpecialTokens: false });
    expect(encoding.getIds()).toEqual([...ours.encode(text)]);
    expect(encoding.getIds()).toContain(vocabulary.idOf("日"));
  });

  it("puts [CLS] and [SEP] around a text and a pair, with its segments", async () => {
    const settings = { vocabulary, lowerCase: true, stripAccents: true };
    const theirs = load(settings);
    const ours = new Tokenizer(settings);
    for (const [a, b] of [
      ["the cat", undefined],
      ["the cat", "sat on the mat"],
    ] as const) {
      const encoding = await theirs.encode(a, b ?? null);
      const { inputIds, segmentIds } = pairInput(ours, 64, a, b);
      expect([encoding.getIds(), encoding.getTypeIds()]).toEqual([[...inputIds], [...segmentIds]]);
    }
  });

  it("keeps the ideographs of a word together for tagging", async () => {
    const settings = { vocabulary, lowerCase: true, stripAccents: true };
    const theirs = load({ ...settings, splitIdeographs: false });
    const splitter = new WordSplitter(new Tokenizer(settings), false);
    const encoding = await theirs.encode("日本 cats!", null, { addSpecialTokens: false });
    const ours = ["日本", "cats!"].flatMap((word) => splitter.split(word).ids);
    expect(encoding.getIds()).toEqual(ours);
    expect(ours[0]).toBe(vocabulary.idOf("日本"));
  });

  it("knows words of 200 characters, as the reference does, and none of 201", async () => {
    const letters = Vocabulary.fromTokens(["[UNK]", "[CLS]", "[SEP]", "a", "##a"]);
    const theirs = load({ vocabulary: letters, lowerCase: true, stripAccents: true });
    const ours = new Tokenizer({ vocabulary: letters });
    for (const length of [100, 101, 200, 201]) {
      const encoding = await theirs.encode("a".repeat(length), null, { addSpecialTokens: false });
      expect(encoding.getIds()).toEqual([...ours.encode("a".repeat(length))]);
      expect(encoding.getIds()).toHaveLength(length > 200 ? 1 : length);
    }
  });

  it("takes a special token in the text for the token, which ours does not", async () => {
    const settings = { vocabulary, lowerCase: true, stripAccents: true };
    const encoding = await load(settings).encode("the [MASK]", null, { addSpecialTokens: false });
    expect(encoding.getIds()).toEqual([vocabulary.idOf("the"), vocabulary.idOf("[MASK]")]);
  });

  it("needs [UNK], [CLS] and [SEP]", () => {
    const poor = Vocabulary.fromTokens(["[UNK]", "a"]);
    expect(() => tokenizerJson({ vocabulary: poor, lowerCase: true, stripAccents: true })).toThrow(
      /lacks \[CLS\], \[SEP\]/,
    );
  });
});

// One heading in Greek capitals is lower-cased differently, as in the tokenizer's own test beside the peer.
const dataDir = process.env["ELECTRA_DATA_DIR"] ?? "";
const vocabularyFile = join(dataDir, "bert-uncased/vocab.txt");
const FILES = ["text-ewt/ewt.txt.gz", "text-wiki/squad-articles.txt.gz"];
const present =
  dataDir !== "" &&
  [vocabularyFile, ...FILES.map((file) => join(dataDir, file))].every((path) => existsSync(path));
const missing = present ? "" : " (skipped: ELECTRA_DATA_DIR names no folder with real text)";

describe.skipIf(!present)(`tokenizer.json on real text${missing}`, () => {
  it.each(
    FILES.flatMap(
      (file) =>
        [
          [file, true],
          [file, false],
        ] as const,
    ),
  )("gives our ids on the first lines of %s, lower-cased: %s", async (file, lowerCase) => {
    const real = Vocabulary.parse(readFileSync(vocabularyFile, "utf8"));
    const settings = { vocabulary: real, lowerCase, stripAccents: lowerCase };
    const theirs = load(settings);
    const ours = new Tokenizer(settings);
    const lines = gunzipSync(readFileSync(join(dataDir, file)))
      .toString("utf8")
      .split("\n")
      .slice(0, 1500);
    const encodings = await theirs.encodeBatch(lines, { addSpecialTokens: false });
    const differing = lines.filter((line, i) => encodings[i]!.getIds().join() !== ours.encode(line).join());
    expect(differing.filter((line) => !/\u03a3(?!\p{L})/u.test(line))).toEqual([]);
    expect(encodings.reduce((sum, encoding) => sum + encoding.getLength(), 0)).toBeGreaterThan(10000);
  });
});
