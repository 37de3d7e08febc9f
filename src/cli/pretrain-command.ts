import { basename, dirname, resolve } from "node:path";
import { shellQuote } from "./output.js";

/** The command line that trains on new records. Pre-training finds records and vocabulary by itself where the reference has them. */
export function pretrainCommand(outputDir: string, vocabFile: string, maxSeqLength: number): string {
  const dataDir = dirname(outputDir);
  const hparams: Record<string, unknown> = {};
  if (maxSeqLength !== 128) hparams["max_seq_length"] = maxSeqLength;
  if (basename(outputDir) !== "pretrain_tfrecords") {
    hparams["pretrain_tfrecords"] = `${outputDir}/pretrain_data.tfrecord*`;
  }
  if (resolve(vocabFile) !== resolve(dataDir, "vocab.txt")) hparams["vocab_file"] = vocabFile;
  const given = Object.keys(hparams).length === 0 ? "" : ` --hparams ${shellQuote(JSON.stringify(hparams))}`;
  return `npx electra-native pretrain --data-dir ${shellQuote(dataDir)} --model-name electra-small${given}`;
}
