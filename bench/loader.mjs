// Speed of the record loader: tokens per second of shuffled batches from TFRecord files, warm page cache.
//
//   node bench/loader.mjs [--records 100000] [--length 128] [--batch 128] [--shards 100] [--json]
//
// Prints the median of several epochs, the CPU seconds per million tokens and the longest time for which the main thread was
// blocked. Needs the compiled package (npm run build).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";

const dist = process.env.ELECTRA_DIST ?? new URL("../dist/", import.meta.url).href;
const load = (name) => import(new URL(`data/${name}.js`, dist.endsWith("/") ? dist : `${dist}/`).href);
const { BatchLoader } = await load("batch-loader");
const { PretrainingExampleEncoder } = await load("pretraining-example");
const { SeededRandomSource } = await load("random-source");
const { RecordDataset } = await load("record-dataset");
const { ShardSet } = await load("shard-set");

const { values } = parseArgs({
  options: {
    records: { type: "string", default: "100000" },
    length: { type: "string", default: "128" },
    batch: { type: "string", default: "128" },
    shards: { type: "string", default: "100" },
    epochs: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
  },
});
const [records, length, batchSize, shards, epochs] = ["records", "length", "batch", "shards", "epochs"].map(
  (name) => Number(values[name]),
);
const vocabSize = 30522;

const folder = mkdtempSync(join(tmpdir(), "electra-loader-"));
try {
  const random = new SeededRandomSource(1);
  const encoder = new PretrainingExampleEncoder(length);
  const set = new ShardSet(
    Array.from({ length: shards }, (_, k) => join(folder, `pretrain_data.tfrecord-${k}-of-${shards}`)),
  );
  for (let record = 0; record < records; record++) {
    const inputIds = Int32Array.from({ length }, () => random.randint(0, vocabSize - 1));
    set.append(encoder.encode({ inputIds, firstSegmentLength: length / 2 }));
  }
  const bytes = set.finish().reduce((sum, shard) => sum + shard.bytes, 0);

  const open = () =>
    RecordDataset.open({
      patterns: join(folder, "pretrain_data.tfrecord*"),
      maxSeqLength: length,
      vocabSize,
    });
  let began = performance.now();
  (await open()).close();
  const coldIndex = (performance.now() - began) / 1000;
  began = performance.now();
  const dataset = await open();
  const warmIndex = (performance.now() - began) / 1000;

  const loader = new BatchLoader({ source: dataset, batchSize, order: { kind: "shuffled", seed: 1 } });
  const rates = [];
  const cpu = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  for (let epoch = 0; epoch < epochs; epoch++) {
    if (epoch === 1) delay.enable();
    const cpuBefore = process.cpuUsage();
    began = performance.now();
    let tokens = 0;
    while (loader.cursor < (epoch + 1) * records) {
      const batch = await loader.next();
      for (const real of batch.lengths) tokens += real;
    }
    const used = process.cpuUsage(cpuBefore);
    rates.push(tokens / ((performance.now() - began) / 1000));
    cpu.push((used.user + used.system) / tokens);
  }
  delay.disable();
  loader.close();
  dataset.close();

  const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
  const result = {
    tokens_per_s: Math.round(median(rates)),
    cpu_s_per_million_tokens: Number(median(cpu).toFixed(4)),
    loop_delay_p99_ms: Number((delay.percentile(99) / 1e6).toFixed(2)),
    index_build_s: Number(coldIndex.toFixed(3)),
    index_load_s: Number(warmIndex.toFixed(3)),
    records,
    length,
    batch_size: batchSize,
    shards,
    bytes,
  };
  if (values.json) {
    console.log(JSON.stringify(result));
  } else {
    for (const [name, value] of Object.entries(result)) console.log(`${name.padEnd(26)}${value}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
