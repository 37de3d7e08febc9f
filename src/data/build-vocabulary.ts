import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { DurableFiles } from "../checkpoint/durable-files.js";
import { WordCounter } from "../tokenization/word-counter.js";
import {
  trainWordPiece,
  type WordPieceTrainerOptions,
  type WordPieceTraining,
} from "../tokenization/wordpiece-trainer.js";
import { listCorpus, readLines } from "./corpus-reader.js";
import { fileFailure } from "./file-failure.js";

export interface BuildVocabularyOptions extends WordPieceTrainerOptions {
  /** Folder of `.txt` and `.gz` files; sub-folders are not walked. */
  readonly corpusDir: string;
  /** The vocabulary, one token a line. An earlier file of this name is replaced, at once and only at the end. */
  readonly outputFile: string;
  readonly lowerCase?: boolean;
  readonly stripAccents?: boolean;
  readonly signal?: AbortSignal;
  /** Told now and then how many bytes of the corpus have been read. */
  readonly onProgress?: (bytesRead: number, bytesTotal: number) => void;
}

export interface VocabularyReport extends WordPieceTraining {
  readonly filesRead: number;
  readonly skippedFiles: readonly string[];
  readonly seconds: number;
}

/**
 * Trains a WordPiece vocabulary on the text of a folder and writes it. The same text and settings give the same
 * file.
 *
 * @throws ElectraError of the corpus reader, the trainer and the file system; the signal's reason when aborted
 */
export async function buildVocabulary(options: BuildVocabularyOptions): Promise<VocabularyReport> {
  const {
    corpusDir,
    outputFile,
    lowerCase = true,
    stripAccents = true,
    signal,
    onProgress,
    ...training
  } = options;
  const began = performance.now();
  const { files, skipped } = await listCorpus(corpusDir);
  const counter = new WordCounter({ lowerCase, stripAccents });
  const bytesTotal = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let bytesBefore = 0;
  for (const { path, bytes } of files) {
    const reading = {
      onRead: (read: number) => onProgress?.(bytesBefore + read, bytesTotal),
      ...(signal === undefined ? {} : { signal }),
    };
    for await (const { lines } of readLines(path, reading)) {
      for (const line of lines) counter.add(line);
    }
    bytesBefore += bytes;
  }
  signal?.throwIfAborted();
  const result = trainWordPiece(counter.counts(), training);
  await replaceFile(outputFile, `${result.vocabulary.tokens.join("\n")}\n`);
  return {
    ...result,
    filesRead: files.length,
    skippedFiles: skipped,
    seconds: (performance.now() - began) / 1000,
  };
}

async function replaceFile(path: string, text: string): Promise<void> {
  const files = new DurableFiles();
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await files.remove(temporary);
    await files.createTextFile(temporary, text);
    await files.rename(temporary, path);
  } catch (error) {
    await files.remove(temporary).catch(() => {});
    throw fileFailure(error, "cannot write the vocabulary", path);
  }
}
