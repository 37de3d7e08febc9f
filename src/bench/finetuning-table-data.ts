import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { buildVocabulary } from "../data/build-vocabulary.js";
import { listCorpus } from "../data/corpus-reader.js";
import { buildDataset } from "../data/dataset-builder.js";
import { findTaskFile, readTaskText } from "../finetuning/reading/task-file.js";
import type { FinetuningTableRecipe } from "./finetuning-table-recipe.js";

export interface TableDataOptions {
  /** Folders of text, one sentence a line. */
  readonly corpusDirs: readonly string[];
  /** Holds a folder for each task, as the reference's `finetuning_data`. */
  readonly tasksDir: string;
  readonly workDir: string;
  readonly recipe: FinetuningTableRecipe;
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
}

/** What was made of the text, and where the tasks are. */
export interface TableData {
  /** `vocab.txt`, `pretrain_tfrecords/` and the models. */
  readonly dataDir: string;
  readonly examples: number;
  readonly tokens: number;
  /** Value of the hparam `raw_data_dir` for each task. */
  readonly taskFolders: ReadonlyMap<string, string>;
}

interface Prepared {
  readonly key: string;
  readonly examples: number;
  readonly tokens: number;
}

/** Vocabulary, records and the shortened training sets. What an earlier call finished is used again. */
export async function prepareTableData(options: TableDataOptions): Promise<TableData> {
  const { tasksDir, workDir, recipe, signal, log } = options;
  signal?.throwIfAborted();
  const dataDir = join(workDir, "data");
  const marker = join(dataDir, "prepared.json");
  const files = await chooseFiles(options);
  const key = createHash("sha256")
    .update(JSON.stringify([recipe.corpus, files]))
    .digest("hex");
  let prepared = await readPrepared(marker);
  if (prepared?.key !== key) {
    // Models in this folder were trained on other records.
    await rm(dataDir, { recursive: true, force: true });
    log(`text: ${files.length} files`);
    prepared = { key, ...(await prepareRecords(files, dataDir, recipe.corpus, signal)) };
    await replaceFile(marker, JSON.stringify(prepared));
  }
  const taskFolders = new Map<string, string>();
  for (const { name, trainRows } of recipe.finetuning.tasks) {
    const folder = join(tasksDir, name);
    taskFolders.set(
      name,
      trainRows === undefined
        ? folder
        : await shorten(name, folder, join(workDir, "tasks", `${name}-${trainRows}`), trainRows),
    );
  }
  return { dataDir, examples: prepared.examples, tokens: prepared.tokens, taskFolders };
}

/** Of each folder evenly as many files as fit into the recipe's bytes, at least one. */
async function chooseFiles({ corpusDirs, recipe }: TableDataOptions): Promise<string[]> {
  const chosen: string[] = [];
  for (const folder of corpusDirs) {
    const { files } = await listCorpus(folder);
    const paths = files.map(({ path }) => path).sort();
    let bytes = 0;
    for (const path of paths) bytes += (await readText(path)).length;
    const every = Math.max(1, Math.ceil(bytes / recipe.corpus.mostBytes));
    chosen.push(...paths.filter((_, i) => i % every === 0));
  }
  return chosen;
}

async function readText(path: string): Promise<Uint8Array> {
  const stored = await readFile(path);
  return path.endsWith(".gz") ? gunzipSync(stored) : stored;
}

/**
 * Text, one sentence a line, with an empty line wherever a document is to end: the first holds `sizes[0]` sentences, the next
 * `sizes[1]`, and so on in turn. An empty line of the text itself ends a document early.
 */
export function cutDocuments(text: string, sizes: readonly number[]): string {
  const lines: string[] = [];
  let documents = 0;
  let sentences = 0;
  const end = () => {
    if (sentences === 0) return;
    lines.push("");
    documents++;
    sentences = 0;
  };
  for (const line of text.split("\n")) {
    const sentence = line.trim();
    if (sentence === "") {
      end();
      continue;
    }
    lines.push(sentence);
    sentences++;
    if (sentences === sizes[documents % sizes.length]) end();
  }
  end();
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

async function prepareRecords(
  files: readonly string[],
  dataDir: string,
  corpus: FinetuningTableRecipe["corpus"],
  signal: AbortSignal | undefined,
): Promise<Omit<Prepared, "key">> {
  const corpusDir = join(dataDir, "corpus");
  await mkdir(corpusDir, { recursive: true });
  for (const path of files) {
    const name = `${basename(dirname(path))}-${basename(path).replace(/\.gz$/, "")}`;
    const text = new TextDecoder().decode(await readText(path));
    await writeFile(join(corpusDir, name), cutDocuments(text, corpus.documentSentences));
  }
  const abort = signal === undefined ? {} : { signal };
  const vocabFile = join(dataDir, "vocab.txt");
  await buildVocabulary({ corpusDir, outputFile: vocabFile, vocabSize: corpus.vocabSize, ...abort });
  const report = await buildDataset({
    corpusDir,
    vocabFile,
    outputDir: join(dataDir, "pretrain_tfrecords"),
    maxSeqLength: corpus.maxSeqLength,
    heldOutFraction: corpus.heldOutFraction,
    numShards: corpus.recordFiles,
    seed: corpus.seed,
    ...abort,
  });
  // The records are all that training needs.
  await rm(corpusDir, { recursive: true });
  return { examples: report.examples, tokens: report.tokens };
}

/** A training file with evenly chosen rows behind its header, and the dev file as it is. */
async function shorten(task: string, from: string, to: string, rows: number): Promise<string> {
  if ((await stat(join(to, "dev.tsv")).catch(() => undefined)) !== undefined) return to;
  await mkdir(to, { recursive: true });
  const read = async (split: string) =>
    await readTaskText(
      await findTaskFile({ task, split, candidates: [`${split}.tsv`, `${split}.tsv.gz`], folder: from }),
    );
  const [header = "", ...all] = (await read("train")).trimEnd().split("\n");
  const count = Math.min(rows, all.length);
  const kept = Array.from({ length: count }, (_, k) => all[Math.floor((k * all.length) / count)]!);
  await replaceFile(join(to, "train.tsv"), `${[header, ...kept].join("\n")}\n`);
  // Last, because its presence says that the rest is there.
  await replaceFile(join(to, "dev.tsv"), await read("dev"));
  return to;
}

async function readPrepared(path: string): Promise<Prepared | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as Prepared);
}

async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.tmp`, text);
  await rename(`${path}.tmp`, path);
}
