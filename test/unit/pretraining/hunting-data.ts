import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildVocabulary } from "../../../src/data/build-vocabulary.js";
import { buildDataset } from "../../../src/data/dataset-builder.js";

/** A data folder in `folder` with 60 words and records of 16 tokens, of so many sentences about hounds and hares. */
export async function makeHuntingData(folder: string, sentences: number): Promise<string> {
  const dataDir = join(folder, "data");
  const corpusDir = join(folder, "text");
  mkdirSync(corpusDir);
  const lines = Array.from(
    { length: sentences },
    (_, i) => `hound ${i % 7} chased hare ${i % 5} over hill ${i % 3} .`,
  );
  writeFileSync(join(corpusDir, "a.txt"), `${lines.join("\n")}\n`);
  const vocabFile = join(dataDir, "vocab.txt");
  await buildVocabulary({ corpusDir, outputFile: vocabFile, vocabSize: 60 });
  const outputDir = join(dataDir, "pretrain_tfrecords");
  await buildDataset({ corpusDir, vocabFile, outputDir, maxSeqLength: 16, numShards: 1 });
  return dataDir;
}
