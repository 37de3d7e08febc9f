import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { swapWords } from "../../../src/quickstart/swapped-words.js";
import { Tokenizer } from "../../../src/tokenization/tokenizer.js";
import { Vocabulary } from "../../../src/tokenization/vocabulary.js";

let textDir: string;
beforeAll(async () => {
  textDir = await mkdtemp(join(tmpdir(), "electra-swap-"));
  const suitable = Array.from(
    { length: 9 },
    (_, i) => `Number ${i} the people of this great nation wish, peace.`,
  );
  await writeFile(
    join(textDir, "a.txt"),
    ["too short.", "a part of a sentence that does not begin", ...suitable].join("\n\n"),
  );
});
afterAll(async () => {
  await rm(textDir, { recursive: true, force: true });
});

const tokens = [
  "[UNK]",
  ".",
  ",",
  "of",
  "zeal",
  "tax",
  "##es",
  "peace",
  "rare",
  ..."abcdefghijklmnopqrstuvwxyz0123456789",
];
const tokenizer = new Tokenizer({ vocabulary: Vocabulary.fromTokens(tokens) });
const recipe = { sentences: 5, fewestWords: 6, mostWords: 20, seed: 3 };

it("two words of whole sentences become words of others", async () => {
  const sentences = await swapWords({ textDir, tokenizer, recipe });
  expect(sentences).toHaveLength(5);
  for (const { original, text, swaps, candidates } of sentences) {
    expect(original).toMatch(/^Number \d/);
    expect(candidates).toBe(8);
    expect(swaps).toHaveLength(2);
    let restored = text;
    for (const { start, word, original: before } of [...swaps].reverse()) {
      expect("number the people this great nation wish peace".split(" ")).toContain(word.toLowerCase());
      expect(word.toLowerCase()).not.toBe(before.toLowerCase());
      expect(text.slice(start, start + word.length)).toBe(word);
      restored = restored.slice(0, start) + before + restored.slice(start + word.length);
    }
    expect(restored).toBe(original);
  }
});

it("the choice depends on the seed alone", async () => {
  const options = { textDir, tokenizer, recipe };
  expect(await swapWords(options)).toEqual(await swapWords(options));
  expect(await swapWords({ ...options, recipe: { ...recipe, seed: 4 } })).not.toEqual(
    await swapWords(options),
  );
});
