// A training loop of one's own, with the library: train until the loss on held-out records has not fallen for three
// evaluations, and keep a checkpoint of the best weights.
//
//   node examples/train-loop.ts [data-dir [max-seq-length]]
//
// data-dir holds vocab.txt and pretrain_tfrecords/; without one, made-up text is used. Needs the compiled package, and
// Node.js 22.18 or newer to run TypeScript as it is (docs/library.md has the two lines for older versions).
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  BatchLoader,
  buildDataset,
  buildVocabulary,
  discriminatorConfig,
  Engine,
  engineParameterStore,
  generatorConfig,
  learningRateAt,
  pretrainingModelConfig,
  RecordDataset,
  resolvePretrainingHparams,
  saveCheckpoint,
  splitRecords,
  Vocabulary,
} from "electra-native";

const dataDir = process.argv[2] ?? (await makeData());
const settings = {
  max_seq_length: Number(process.argv[3] ?? 32),
  learning_rate: 2e-3,
  num_warmup_steps: 10,
  num_train_steps: 200,
  train_batch_size: 16,
  model_hparam_overrides: { hidden_size: 64, num_hidden_layers: 2 },
  generator_hidden_size: 0.5,
};

// What `pretrain` does with settings and data, step by step.
const vocabText = readFileSync(join(dataDir, "vocab.txt"), "utf8");
const vocabulary = Vocabulary.parse(vocabText);
const [cls, sep, mask] = vocabulary.require(["[CLS]", "[SEP]", "[MASK]"]);
const { hparams } = resolvePretrainingHparams({
  dataDir,
  modelName: "train-loop",
  hparams: { ...settings, vocab_size: vocabulary.size },
});
const dataset = await RecordDataset.open({
  patterns: hparams.pretrain_tfrecords,
  maxSeqLength: hparams.max_seq_length,
  vocabSize: vocabulary.size,
});
const { train, heldOut } = splitRecords(dataset, 0.1);
const engine = await Engine.create({ model: pretrainingModelConfig(hparams, { cls, sep, mask }), seed: 1 });
console.log(
  `${engine.info.device}, ${engine.info.gemm}; ${train.length} records, ${heldOut.length} held out`,
);

const length = hparams.max_seq_length;
const loader = new BatchLoader({ source: train, batchSize: 16, order: { kind: "shuffled", seed: 1 } });
let best = Number.POSITIVE_INFINITY;
let patience = 3;
for (let step = 0; step < hparams.num_train_steps && patience > 0; ) {
  const batch = await loader.next();
  if (batch === undefined) break;
  const learningRate = learningRateAt(
    {
      learningRate: hparams.learning_rate,
      numTrainSteps: hparams.num_train_steps,
      numWarmupSteps: hparams.num_warmup_steps,
    },
    step,
  );
  const { loss } = await engine.trainStep({ ...batch, length, firstRow: 0 }, { step, learningRate });
  step++;
  if (step % 20 !== 0) continue;
  const heldOutLoss = await evaluate();
  console.log(`step ${step}: training loss ${loss.toFixed(3)}, held-out loss ${heldOutLoss.toFixed(3)}`);
  patience = heldOutLoss < best ? 3 : patience - 1;
  if (heldOutLoss >= best) continue;
  best = heldOutLoss;
  await save(step);
}
loader.close();
dataset.close();
await engine.dispose();
console.log(`best checkpoint in ${hparams.model_dir}`);

/** Mean loss per batch over the held-out records; always with the same masks, so that the values can be compared. */
async function evaluate(): Promise<number> {
  let sum = 0;
  let batches = 0;
  const rows = new BatchLoader({ source: heldOut, batchSize: 16, order: { kind: "ordered" } });
  for await (const batch of rows) {
    sum += (await engine.evaluate({ ...batch, length }, { step: 0 })).loss;
    batches++;
  }
  return sum / batches;
}

/** A checkpoint as `pretrain` writes it: `inspect` and Hugging Face's `from_pretrained` read it. */
async function save(step: number): Promise<void> {
  const { isa, gemm, precision, device, threads, version } = engine.info;
  await saveCheckpoint({
    runDir: hparams.model_dir,
    step,
    seed: 1,
    cursor: loader.cursor,
    hparams: settings,
    versions: { "electra-native": version, node: process.versions.node },
    fingerprints: {
      data: { ...dataset.fingerprint },
      package: version,
      isa,
      gemm,
      precision,
      device,
      threads,
    },
    parameters: engineParameterStore(engine),
    configs: { discriminator: discriminatorConfig(hparams), generator: generatorConfig(hparams) },
    tokenizer: { vocabText, doLowerCase: true, stripAccents: true },
    keepCheckpointMax: 1,
  });
}

/** Vocabulary and records of a made-up language in which every word has few followers. */
async function makeData(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "electra-train-loop-"));
  const words = Array.from(
    { length: 120 },
    (_, i) => `${"bcdfglmnrst"[i % 11]}${"aeiou"[i % 5]}${"klmnprst"[i % 8]}a`,
  );
  const lines = Array.from({ length: 600 }, (_, line) =>
    Array.from({ length: 10 }, (_, place) => words[(line * 31 + place * (7 + (line % 3))) % 120]).join(" "),
  );
  const text = join(folder, "text");
  mkdirSync(text);
  writeFileSync(join(text, "made-up.txt"), `${lines.join(".\n")}.\n`);
  const vocabFile = join(folder, "vocab.txt");
  await buildVocabulary({ corpusDir: text, outputFile: vocabFile, vocabSize: 200 });
  const outputDir = join(folder, "pretrain_tfrecords");
  await buildDataset({ corpusDir: text, vocabFile, outputDir, maxSeqLength: 32, numShards: 2 });
  return folder;
}
