// Measurements of bench/growth.mjs that need a process of their own, because its memory is what is measured:
//
//   node bench/growth-child.mjs dataset '{"corpusDir": …, "vocabFile": …, "outputDir": …, "numProcesses": 1}'
//   node --expose-gc bench/growth-child.mjs cycles '{"cycles": 1000}'
//
// Prints one JSON document.
import { load } from "./long-benchmark.mjs";

const [what, settings] = [process.argv[2], JSON.parse(process.argv[3])];
const mebibytes = () => process.memoryUsage().rss / 2 ** 20;

async function dataset() {
  const { buildDataset } = await load("data/dataset-builder");
  const began = performance.now();
  const { examples, tokens } = await buildDataset({ ...settings, maxSeqLength: 128, numShards: 20, seed: 1 });
  const seconds = (performance.now() - began) / 1000;
  return { seconds, examples, tokens, peak_mb: process.resourceUsage().maxRSS / 1024 };
}

/** Engines made, used for a step and disposed of, one after the other. */
async function cycles() {
  const { Engine } = await load("engine/engine");
  const { resolvePretrainingHparams } = await load("hparams/pretraining-hparams");
  const { pretrainingModelConfig } = await load("pretraining/model-config");
  const { hparams } = resolvePretrainingHparams({
    dataDir: ".",
    modelName: "bench",
    hparams: { debug: true, max_seq_length: 16, train_batch_size: 2 },
  });
  const model = pretrainingModelConfig(hparams, { cls: 101, sep: 102, mask: 103 });
  const length = hparams.max_seq_length;
  const batch = {
    rows: 2,
    length,
    inputIds: new Int32Array(2 * length).map((_, i) => 200 + i),
    lengths: new Int32Array([length, length]),
  };
  const rss = [];
  const began = performance.now();
  for (let cycle = 1; cycle <= settings.cycles; cycle++) {
    const engine = await Engine.create({ model, device: "cpu", seed: 1 });
    await engine.trainStep(batch, { step: 0, learningRate: 1e-4 });
    await engine.dispose();
    // Ten looks in all; the garbage of JavaScript is not what is looked for.
    if (cycle % Math.max(1, Math.floor(settings.cycles / 10)) === 0) {
      globalThis.gc?.();
      rss.push([cycle, mebibytes()]);
    }
  }
  return { seconds: (performance.now() - began) / 1000, rss_mb: rss };
}

console.log(JSON.stringify(await { dataset, cycles }[what]()));
