// Records and the example builder against files that Google's code wrote.
//
// For each set: every file parses to the recorded examples; the corpus, tokenized and built with the recorded random draws, gives
// the same files byte for byte (once the order of the features inside a record, which is that of a hash in TensorFlow and
// carries no meaning, is taken over). Broken files: as many records as TensorFlow gives, then an error.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const dist = process.env.ELECTRA_DIST ?? new URL("../../dist/", import.meta.url).href;
const distUrl = (dist.startsWith("file:") ? dist : pathToFileURL(resolve(dist)).href).replace(/\/*$/, "/");
const load = (path) => import(new URL(path, distUrl).href);

const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));
const featureNames = ["input_ids", "input_mask", "segment_ids"];

/** The sets of a folder: `<name>.json` beside a folder `<name>`, but for the broken files. */
function setNames(goldenDir) {
  const folder = join(goldenDir, "tfrecord");
  return readdirSync(folder)
    .filter((name) => name.endsWith(".json") && name !== "broken.json")
    .map((name) => name.slice(0, -".json".length));
}

async function checkSet(goldenDir, name) {
  const { decodeExample } = await load("data/example-proto.js");
  const { readRecordFile, readRecords } = await load("data/tfrecord-reader.js");
  const { PretrainingExampleDecoder } = await load("data/pretraining-example-decoder.js");
  const folder = join(goldenDir, "tfrecord");
  const golden = readJson(join(folder, `${name}.json`));
  const { options } = golden;
  const length = options.max_seq_length;
  const vocabulary = await readVocabulary(goldenDir, options.vocab_file);
  const decoder = new PretrainingExampleDecoder({ maxSeqLength: length, vocabSize: vocabulary.size });

  const files = Object.entries(golden.files);
  assert.ok(files.length > 0, "the set has no files");
  const orders = new Map();
  let parsed = 0;
  for (const [file, expected] of files) {
    const path = join(folder, name, file);
    const bytes = readFileSync(path);
    const records = [...readRecords(bytes, path)];
    assert.equal(records.length, expected.length, `${file}: number of records`);
    for (const [index, { payload, ...place }] of records.entries()) {
      const features = decodeExample(payload, place);
      orders.set([...features.keys()].join(), [...features.keys()]);
      const inputIds = new Int32Array(length);
      const segmentIds = new Int32Array(length);
      const tokens = decoder.decode(payload, 0, payload.length, inputIds, segmentIds, 0, place);
      for (const feature of featureNames) {
        const values = Array.from(features.get(feature).values, Number);
        assert.deepEqual(values, expected[index][feature], `${file}: record ${index}, ${feature}`);
      }
      assert.deepEqual(
        [...inputIds],
        expected[index].input_ids,
        `${file}: record ${index}, decoded into a batch`,
      );
      assert.deepEqual([...segmentIds], expected[index].segment_ids);
      assert.equal(tokens, expected[index].input_mask.filter((bit) => bit === 1).length);
      parsed++;
    }
    let streamed = 0;
    for await (const { payload } of readRecordFile(path, { chunkBytes: 1000 })) {
      assert.deepEqual(
        Buffer.from(payload),
        Buffer.from(records[streamed++].payload),
        `${file}: streamed record`,
      );
    }
    assert.equal(streamed, records.length, `${file}: streamed records`);
  }
  assert.equal(orders.size, 1, "the files mix several orders of features");
  const [order] = orders.values();

  const rebuilt = await rebuild(folder, golden, vocabulary, order);
  for (const [file] of files) {
    const shard = Number(/-(\d+)-of-\d+$/.exec(file)[1]);
    const bytes = readFileSync(join(folder, name, file));
    assert.ok(rebuilt.has(shard), `${file} belongs to no shard of this job`);
    assert.ok(Buffer.concat(rebuilt.get(shard)).equals(bytes), `${file}: rebuilt bytes differ`);
  }
  assert.equal(rebuilt.size, files.length, "number of files");
  const same = order.join() === featureNames.join();
  return `${parsed} records parsed, ${files.length} files rebuilt byte for byte${same ? "" : ` in TensorFlow's feature order (${order.join(", ")})`}`;
}

/** Builds a set's records again: shard number -> records. */
async function rebuild(folder, golden, vocabulary, order) {
  const { ExampleBuilder } = await load("data/example-builder.js");
  const { PretrainingExampleEncoder } = await load("data/pretraining-example.js");
  const { RecordedRandomSource } = await load("data/random-source.js");
  const { splitWork } = await load("data/work-split.js");
  const { readLines } = await load("data/corpus-reader.js");
  const { Tokenizer } = await load("tokenization/tokenizer.js");
  const { stripWhiteSpace } = await load("tokenization/white-space.js");
  const { options } = golden;

  const tokenizer = new Tokenizer({
    vocabulary,
    lowerCase: options.do_lower_case,
    stripAccents: options.strip_accents,
  });
  const [clsId, sepId] = vocabulary.require(["[CLS]", "[SEP]"]);
  const random = new RecordedRandomSource(golden.random_draws);
  const builder = new ExampleBuilder({
    maxSeqLength: options.max_seq_length,
    clsId,
    sepId,
    random,
  });
  const encoder = new PretrainingExampleEncoder(options.max_seq_length, order);
  const { shards } = splitWork([], options.num_out_files, options.num_jobs)[options.job_id];
  const records = new Map(shards.map((shard) => [shard, []]));
  let written = 0;
  const keep = (example) => {
    if (example !== undefined) records.get(shards[written++ % shards.length]).push(encoder.encode(example));
  };
  for await (const { lines } of readLines(join(folder, golden.corpus))) {
    for (const line of lines) {
      if (stripWhiteSpace(line) !== "") keep(builder.addSentence(tokenizer.encode(line)));
      else if (options.blanks_separate_docs) keep(builder.endDocument());
    }
  }
  keep(builder.endDocument());
  assert.equal(written, golden.n_written, "number of examples");
  assert.equal(random.remaining, 0, "recorded draws that were not asked for");
  return records;
}

async function readVocabulary(goldenDir, name) {
  const { Vocabulary } = await load("tokenization/vocabulary.js");
  const path = join(goldenDir, "data", name);
  return Vocabulary.parse(readFileSync(path, "utf8"), { source: path });
}

async function checkBrokenFiles(goldenDir) {
  const { decodeExample } = await load("data/example-proto.js");
  const { readRecordFile, readRecords } = await load("data/tfrecord-reader.js");
  const { RecordDataset } = await load("data/record-dataset.js");
  const folder = join(goldenDir, "tfrecord", "broken");
  const golden = readJson(join(goldenDir, "tfrecord", "broken.json"));
  let failures = 0;
  for (const [file, expected] of Object.entries(golden.files)) {
    const path = join(folder, file);
    const bytes = readFileSync(path);
    assert.equal(bytes.length, expected.bytes, `${file}: size`);
    const whole = { records: 0, end: 0, error: undefined };
    try {
      for (const { payload, offset } of readRecords(bytes, path)) {
        whole.records++;
        whole.end = offset + payload.length + 16;
      }
    } catch (error) {
      whole.error = error;
    }
    const streamed = { records: 0, error: undefined };
    try {
      for await (const _ of readRecordFile(path, { chunkBytes: 64 })) streamed.records++;
    } catch (error) {
      streamed.error = error;
    }
    assert.equal(streamed.records, whole.records, `${file}: streamed records`);
    assert.equal(streamed.error?.message, whole.error?.message, `${file}: streamed error`);
    if (expected.records_before_error !== null) {
      assert.equal(whole.records, expected.records_before_error, `${file}: records before the end`);
    }
    // TensorFlow takes a short tail for the end of the file and dies of a huge length: whatever is left over is an error here.
    const mustFail = expected.tf_error !== null || whole.end !== bytes.length;
    if (mustFail) {
      failures++;
      assert.equal(
        whole.error?.code,
        "ERR_ELECTRA_RECORD_DAMAGED",
        `${file}: must be reported, got ${whole.error}`,
      );
      const { message } = whole.error;
      assert.ok(
        message.startsWith(`${path}: record ${whole.records} (at byte ${whole.end}): `),
        `${file}: the message must name file, record and byte: ${message}`,
      );
    } else {
      assert.equal(whole.error, undefined, `${file}: ${whole.error}`);
    }
    // The index sees all damage but that inside a payload, and says the same.
    if (mustFail && !/check sum of its \d+ bytes/.test(whole.error.message)) {
      const opened = RecordDataset.open({
        patterns: path,
        maxSeqLength: golden.max_seq_length,
        vocabSize: 2 ** 31,
      });
      await assert.rejects(opened, { message: whole.error.message }, `${file}: opened as a data set`);
    }
  }

  const first = [...readRecords(readFileSync(join(folder, "good.tfrecord")))][0];
  assert.deepEqual(plain(decodeExample(first.payload)), golden.record0, "record 0 of good.tfrecord");
  let refused = 0;
  for (const [name, expected] of Object.entries(golden.protos)) {
    const outcome = await readProto(join(folder, `proto_${name}.tfrecord`), golden.max_seq_length);
    if (expected.tf_error !== null) {
      // Lists in several pieces are legal; TensorFlow's fast parser refuses them all the same.
      if (name === "split_packed_lists" && outcome.batch !== undefined) {
        assert.deepEqual(outcome.batch, golden.record0, name);
        continue;
      }
      refused++;
      assert.match(
        String(outcome.error?.code),
        /^ERR_ELECTRA_RECORD_(INVALID|LENGTH)$/,
        `${name}: must be refused`,
      );
      continue;
    }
    const values = typeof expected.parsed === "string" ? golden.record0 : expected.parsed;
    for (const feature of featureNames) {
      assert.deepEqual(plain(outcome.features)[feature], values[feature], `${name}: ${feature}`);
    }
    if (
      featureNames.every((feature) => values[feature].every((value) => value >= 0 && value < 2 ** 31 - 1))
    ) {
      assert.deepEqual(outcome.batch, values, `${name}: decoded into a batch`);
    } else {
      assert.match(
        outcome.error.message,
        /input_ids\[\d+\] is -?\d+, outside/,
        `${name}: ids outside any vocabulary`,
      );
    }
  }
  return `${Object.keys(golden.files).length} files (${failures} reported as damaged), ${Object.keys(golden.protos).length} protos (${refused} refused)`;
}

/** Integer features as plain lists. */
function plain(features) {
  return Object.fromEntries(
    [...features]
      .filter(([, { kind }]) => kind === "int64")
      .map(([key, { values }]) => [key, Array.from(values, Number)]),
  );
}

async function readProto(path, length) {
  const { decodeExample } = await load("data/example-proto.js");
  const { readRecords } = await load("data/tfrecord-reader.js");
  const { PretrainingExampleDecoder } = await load("data/pretraining-example-decoder.js");
  const decoder = new PretrainingExampleDecoder({ maxSeqLength: length, vocabSize: 2 ** 31 - 1 });
  const [{ payload, ...place }] = readRecords(readFileSync(path), path);
  const outcome = { features: undefined, batch: undefined, error: undefined };
  try {
    outcome.features = decodeExample(payload, place);
  } catch (error) {
    outcome.error = error;
  }
  try {
    const inputIds = new Int32Array(length);
    const segmentIds = new Int32Array(length);
    const tokens = decoder.decode(payload, 0, payload.length, inputIds, segmentIds, 0, place);
    outcome.batch = {
      input_ids: [...inputIds],
      input_mask: Array.from({ length }, (_, index) => (index < tokens ? 1 : 0)),
      segment_ids: [...segmentIds],
    };
  } catch (error) {
    outcome.error = error;
  }
  return outcome;
}

const defaultFolder = fileURLToPath(new URL("../fixtures/golden", import.meta.url));
const folder = process.env.ELECTRA_GOLDEN_DIR ?? defaultFolder;
// Sets that must be there, and whatever else the folder holds.
const names = new Set(["main", "cased_nodocs_job1of2", "accents_kept"]);
if (existsSync(join(folder, "tfrecord"))) {
  for (const name of setNames(folder)) names.add(name);
}

export const checks = [
  ...[...names].map((name) => ({ name: `tfrecord/${name}`, run: (goldenDir) => checkSet(goldenDir, name) })),
  { name: "tfrecord/broken", run: checkBrokenFiles },
];
