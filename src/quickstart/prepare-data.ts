import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildDataset } from "../data/dataset-builder.js";
import { SentenceSplitter } from "../data/sentence-splitter.js";
import { Tokenizer } from "../tokenization/tokenizer.js";
import { Vocabulary } from "../tokenization/vocabulary.js";
import { WordCounter } from "../tokenization/word-counter.js";
import { trainWordPiece } from "../tokenization/wordpiece-trainer.js";
import { cutSentence } from "./cut-sentence.js";
import type { QuickstartRecipe } from "./recipe.js";
import type { SourceDocument } from "./sotu-package.js";

export interface PrepareDataOptions {
  readonly documents: readonly SourceDocument[];
  /** Data folder of the job; made when missing. What an earlier job made of another corpus in it is removed. */
  readonly dataDir: string;
  readonly recipe: QuickstartRecipe["data"];
  readonly signal?: AbortSignal;
  /** Told what is being done. */
  readonly log?: (line: string) => void;
}

/** One side of the split. */
export interface PreparedSide {
  readonly documents: number;
  readonly sentences: number;
  readonly examples: number;
  /** Without [CLS], [SEP] and padding. */
  readonly tokens: number;
}

export interface PreparedData {
  readonly vocabSize: number;
  readonly train: PreparedSide;
  readonly heldOut: PreparedSide;
  readonly heldOutNames: readonly string[];
  /** Tokens that did not fit into an example, of all. */
  readonly discardedRate: number;
  readonly unknownRate: number;
  readonly seconds: { readonly vocabulary: number; readonly dataset: number };
}

/** Patterns of the held-out records, for the hparam `heldout_tfrecords`. */
export function heldOutPattern(dataDir: string): string {
  return join(dataDir, "heldout_tfrecords", "pretrain_data.tfrecord*");
}

/** Folder of the held-out text, one sentence (or part of one) a line. */
export function heldOutTextDir(dataDir: string): string {
  return join(dataDir, "corpus", "heldout");
}

/**
 * Vocabulary and records of a corpus. Whole documents are held out, always the same ones, and neither the vocabulary nor
 * the model sees them. Each sentence becomes an example of its own. A second call with the same corpus and recipe finds
 * everything done.
 */
export async function prepareData(options: PrepareDataOptions): Promise<PreparedData & { reused: boolean }> {
  const { documents, dataDir, recipe, signal, log = () => {} } = options;
  const key = dataKey(documents, recipe);
  const marker = join(dataDir, "prepared.json");
  const known = await readMarker(marker);
  if (known?.key === key) return { ...known.prepared, reused: true };
  // Models in this folder were trained on other records; they and the marker go first, so that a stop leaves no mixture.
  for (const name of [
    "prepared.json",
    "plan.json",
    "models",
    "corpus",
    "pretrain_tfrecords",
    "heldout_tfrecords",
  ]) {
    await rm(join(dataDir, name), { recursive: true, force: true });
  }
  await mkdir(dataDir, { recursive: true });
  const [train, heldOut] = splitDocuments(documents, recipe);
  const started = performance.now();

  log(`vocabulary: ${recipe.vocabSize} pieces from ${train.length} documents`);
  const counter = new WordCounter();
  for (const { text } of train) counter.add(text);
  const { vocabulary } = trainWordPiece(counter.counts(), { vocabSize: recipe.vocabSize });
  const vocabFile = join(dataDir, "vocab.txt");
  await writeFile(vocabFile, vocabulary.toText());
  signal?.throwIfAborted();
  const vocabularyDone = performance.now();

  const tokenizer = new Tokenizer({ vocabulary: Vocabulary.parse(vocabulary.toText()) });
  const build = async (side: "train" | "heldout", records: string, texts: readonly SourceDocument[]) => {
    const corpusDir = join(dataDir, "corpus", side);
    const sentences = await writeSentences(corpusDir, texts, tokenizer, recipe.maxSeqLength - 2);
    const report = await buildDataset({
      corpusDir,
      vocabFile,
      outputDir: join(dataDir, records),
      maxSeqLength: recipe.maxSeqLength,
      numShards: recipe.recordFiles,
      seed: recipe.seed,
      ...(signal === undefined ? {} : { signal }),
    });
    log(`${side}: ${texts.length} documents, ${sentences} sentences, ${report.tokens} tokens`);
    const tokens = report.tokens - report.discardedTokens;
    return { side: { documents: texts.length, sentences, examples: report.examples, tokens }, report };
  };
  const trained = await build("train", "pretrain_tfrecords", train);
  const held = await build("heldout", "heldout_tfrecords", heldOut);
  const tokens = trained.report.tokens + held.report.tokens;
  const prepared: PreparedData = {
    vocabSize: vocabulary.size,
    train: trained.side,
    heldOut: held.side,
    heldOutNames: heldOut.map(({ name }) => name),
    discardedRate: (trained.report.discardedTokens + held.report.discardedTokens) / Math.max(1, tokens),
    unknownRate: (trained.report.unknownTokens + held.report.unknownTokens) / Math.max(1, tokens),
    seconds: {
      vocabulary: (vocabularyDone - started) / 1000,
      dataset: (performance.now() - vocabularyDone) / 1000,
    },
  };
  await writeFile(`${marker}.tmp`, `${JSON.stringify({ key, prepared }, null, 2)}\n`);
  await rename(`${marker}.tmp`, marker);
  return { ...prepared, reused: false };
}

/** Training and held-out documents; the choice depends on the names' order alone, and each side gets at least one. */
export function splitDocuments(
  documents: readonly SourceDocument[],
  recipe: Pick<QuickstartRecipe["data"], "heldOutEvery" | "heldOutFirst">,
): [train: SourceDocument[], heldOut: SourceDocument[]] {
  const first = Math.min(recipe.heldOutFirst, documents.length - 1);
  const isHeldOut = (index: number): boolean => index >= first && (index - first) % recipe.heldOutEvery === 0;
  return [
    documents.filter((_, index) => !isHeldOut(index)),
    documents.filter((_, index) => isHeldOut(index)),
  ];
}

async function writeSentences(
  folder: string,
  documents: readonly SourceDocument[],
  tokenizer: Tokenizer,
  capacity: number,
): Promise<number> {
  await mkdir(folder, { recursive: true });
  const splitter = new SentenceSplitter();
  let sentences = 0;
  for (const { name, text } of documents) {
    const lines: string[] = [];
    for (const line of text.split("\n")) {
      for (const sentence of splitter.split(line)) {
        sentences++;
        lines.push(...cutSentence(sentence, tokenizer, capacity));
      }
    }
    // A blank line ends an example.
    await writeFile(join(folder, name.replace(/\.gz$/i, "")), `${lines.join("\n\n")}\n`);
  }
  return sentences;
}

/** What the prepared data depend on. */
function dataKey(documents: readonly SourceDocument[], recipe: QuickstartRecipe["data"]): string {
  const hash = createHash("sha256").update(JSON.stringify(recipe));
  for (const { name, text } of documents) hash.update(`\0${name}\0${text.length}\0`).update(text);
  return hash.digest("hex");
}

async function readMarker(path: string): Promise<{ key: string; prepared: PreparedData } | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as { key: string; prepared: PreparedData };
  } catch {
    // None, or one that a stop cut short: everything is done anew.
    return undefined;
  }
}
