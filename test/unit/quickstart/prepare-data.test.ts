import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { heldOutTextDir, prepareData, splitDocuments } from "../../../src/quickstart/prepare-data.js";
import { makeDocuments } from "./own-text.js";

const recipe = { vocabSize: 90, maxSeqLength: 24, heldOutEvery: 5, heldOutFirst: 2, seed: 1, recordFiles: 2 };

describe("preparing the data", () => {
  let dataDir: string;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "electra-prepare-"));
  });
  afterEach(async () => {
    await rm(dataDir, { recursive: true, force: true });
  });

  it("holds out whole documents, always the same, and loses no token", async () => {
    const prepared = await prepareData({ documents: makeDocuments(12), dataDir, recipe });
    expect(prepared.heldOutNames).toEqual(["1802.txt", "1807.txt"]);
    expect(await readdir(heldOutTextDir(dataDir))).toEqual(["1802.txt", "1807.txt"]);
    expect(prepared).toMatchObject({ discardedRate: 0, train: { documents: 10 }, heldOut: { documents: 2 } });
    expect(prepared.train.examples).toBeGreaterThanOrEqual(prepared.train.sentences);
  });

  it("does nothing a second time, and everything again for another corpus or recipe", async () => {
    const options = { documents: makeDocuments(6), dataDir, recipe };
    const first = await prepareData(options);
    const vocabulary = await readFile(join(dataDir, "vocab.txt"), "utf8");
    const { reused, ...second } = await prepareData(options);
    expect([first.reused, reused]).toEqual([false, true]);
    expect({ ...second, reused: false }).toEqual(first);
    expect((await prepareData({ ...options, documents: makeDocuments(7) })).reused).toBe(false);
    const other = await prepareData({ ...options, recipe: { ...recipe, vocabSize: 80 } });
    expect(other).toMatchObject({ reused: false, vocabSize: 80 });
    expect(await readFile(join(dataDir, "vocab.txt"), "utf8")).not.toBe(vocabulary);
  });

  it("learns the vocabulary from the training side alone", async () => {
    const documents = makeDocuments(6).map(({ name, text }) => ({
      name,
      text: name === "1802.txt" ? `${text} ${"Zyzzyva zyzzyva. ".repeat(200)}` : text,
    }));
    await prepareData({ documents, dataDir, recipe });
    expect(await readFile(join(dataDir, "vocab.txt"), "utf8")).not.toContain("zy");
  });
});

it("each side of the split gets something, however few documents there are", () => {
  for (let count = 2; count < 30; count++) {
    const [train, heldOut] = splitDocuments(makeDocuments(count, 1), { heldOutEvery: 10, heldOutFirst: 4 });
    expect(train.length + heldOut.length).toBe(count);
    expect(Math.min(train.length, heldOut.length)).toBeGreaterThan(0);
  }
});
