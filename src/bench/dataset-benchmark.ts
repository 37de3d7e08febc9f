import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildDataset } from "../data/dataset-builder.js";
import { Tokenizer } from "../tokenization/tokenizer.js";
import { type Spread, spreadOf } from "./spread.js";
import { readTextSource } from "./text-source.js";

export interface DatasetBenchmarkOptions {
  readonly vocabFile: string;
  /** A text file, plain or compressed with gzip. */
  readonly input: string;
  /** Tokens of an example. Default 128. */
  readonly maxSeqLength?: number;
  /** Worker threads. Default 1. */
  readonly threads?: number;
  /** Builds that are timed, after one that is not. Default 5. */
  readonly repeat?: number;
  readonly signal?: AbortSignal;
}

/** Speeds are in 10⁶ bytes of text a second. */
export interface DatasetBenchmark {
  /** From the median build. */
  readonly mb_per_s: number;
  readonly examples: number;
  readonly tokens: number;
  readonly input_mb: number;
  readonly max_seq_length: number;
  readonly threads: number;
  /** Record files that were made. */
  readonly shards: number;
  readonly repeat: number;
  /** A whole build, from files to files. */
  readonly seconds: Spread;
  /** Between the builds: tokenizing the same text, line by line from strings, on one thread. */
  readonly tokenize_mb_per_s: number;
  readonly tokenize_seconds: Spread;
  /** Seconds of a build as a multiple of those of tokenizing alone, pair by pair. */
  readonly times_tokenizing: Spread;
}

/**
 * Text of a record file. The default of 1000 files is made for tens of gigabytes; with a benchmark's few megabytes one would
 * time the making of files, half a millisecond each on some file systems.
 */
const bytesPerShard = 1e6;

/**
 * Times dataset building, a record file for each megabyte of text (at most 1000), alternating with tokenization alone. The text
 * is cut at line breaks into a file for each thread, because a job takes whole files; these and the records lie in a temporary
 * folder.
 *
 * @throws ElectraError as `readTextSource` and `buildDataset`; the signal's reason when aborted
 */
export async function benchmarkDataset(options: DatasetBenchmarkOptions): Promise<DatasetBenchmark> {
  const { vocabFile, maxSeqLength = 128, threads = 1, repeat = 5, signal } = options;
  const { vocabulary, text } = await readTextSource(options);
  const lines = text.toString("utf8").split("\n");
  const folder = await mkdtemp(join(tmpdir(), "electra-bench-dataset-"));
  try {
    const corpusDir = join(folder, "corpus");
    await mkdir(corpusDir);
    const parts = cutAtLineBreaks(text, threads);
    for (const [index, part] of parts.entries()) await writeFile(join(corpusDir, `part-${index}.txt`), part);

    const shards = Math.max(threads, Math.min(1000, Math.ceil(text.length / bytesPerShard)));
    const builds: number[] = [];
    const tokenizings: number[] = [];
    let counts = { examples: 0, tokens: 0 };
    for (let round = 0; round <= repeat; round++) {
      signal?.throwIfAborted();
      let started = performance.now();
      const tokenizer = new Tokenizer({ vocabulary });
      for (const line of lines) tokenizer.encode(line);
      const tokenizing = (performance.now() - started) / 1e3;
      const outputDir = join(folder, `records-${round}`);
      started = performance.now();
      counts = await buildDataset({
        corpusDir,
        vocabFile,
        outputDir,
        maxSeqLength,
        numProcesses: threads,
        numShards: shards,
        ...(signal === undefined ? {} : { signal }),
      });
      const building = (performance.now() - started) / 1e3;
      await rm(outputDir, { recursive: true });
      if (round === 0) continue; // the engine was still compiling
      tokenizings.push(tokenizing);
      builds.push(building);
    }
    const seconds = spreadOf(builds);
    const tokenizing = spreadOf(tokenizings);
    return {
      mb_per_s: text.length / 1e6 / seconds.median,
      examples: counts.examples,
      tokens: counts.tokens,
      input_mb: text.length / 1e6,
      max_seq_length: maxSeqLength,
      threads,
      shards,
      repeat,
      seconds,
      tokenize_mb_per_s: text.length / 1e6 / tokenizing.median,
      tokenize_seconds: tokenizing,
      times_tokenizing: spreadOf(builds.map((building, index) => building / tokenizings[index]!)),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Cuts a text into at most `count` parts of about the same size that end with a line. */
export function cutAtLineBreaks(text: Buffer, count: number): Buffer[] {
  const parts: Buffer[] = [];
  let start = 0;
  for (let part = 1; part <= count && start < text.length; part++) {
    const lineBreak = text.indexOf(0x0a, Math.max(start, Math.floor((part * text.length) / count) - 1));
    const end = part === count || lineBreak < 0 ? text.length : lineBreak + 1;
    parts.push(text.subarray(start, end));
    start = end;
  }
  return parts;
}
