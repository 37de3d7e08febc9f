// What the reference makes of the files of its tasks, before any model: recorded files are written to a temporary folder
// and read, and examples and features must come out equal, value by value.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { readFixture } from "./safetensors-fixture.mjs";

const dist = process.env.ELECTRA_DIST
  ? pathToFileURL(`${process.env.ELECTRA_DIST}/`)
  : new URL("../../dist/", import.meta.url);
const load = (path) => import(new URL(path, dist).href);

export const checks = [
  { name: "metrics/glue_files", run: checkGlueFiles },
  { name: "metrics/chunk_files", run: checkChunkFiles },
  { name: "metrics/final_text", run: checkFinalText },
  { name: "metrics/qa_end_to_end", run: checkQuestionAnswering },
];

const readJson = async (goldenDir, name) =>
  JSON.parse(await readFile(join(goldenDir, "metrics", `${name}.json`), "utf8"));

/** A task of the reference whose data folder holds `files`, by name. */
async function withTask({ goldenDir, vocab, name, files, hparams }, use) {
  const { Vocabulary } = await load("tokenization/vocabulary.js");
  const { Tokenizer } = await load("tokenization/tokenizer.js");
  const { resolveFinetuningHparams } = await load("hparams/finetuning-hparams.js");
  const { createTask } = await load("finetuning/tasks/create-task.js");
  const dataDir = await mkdtemp(join(tmpdir(), "electra-golden-"));
  try {
    for (const [file, text] of Object.entries(files)) {
      const path = join(dataDir, "finetuning_data", name, file);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
    }
    const resolved = resolveFinetuningHparams({
      dataDir,
      modelName: "m",
      hparams: { task_names: [name], ...hparams },
    });
    const vocabulary = Vocabulary.parse(await readFile(join(goldenDir, vocab), "utf8"), { source: vocab });
    const tokenizer = new Tokenizer({ vocabulary, lowerCase: resolved.hparams.do_lower_case });
    return await use(await createTask(name, { hparams: resolved.hparams, tokenizer }), resolved.hparams);
  } finally {
    await rm(dataDir, { recursive: true });
  }
}

async function checkGlueFiles(goldenDir) {
  const { truncatedPair } = await load("finetuning/features/pair-input.js");
  const fixture = await readJson(goldenDir, "glue_files");
  assert.ok(Object.keys(fixture.files).length > 0, "the fixture holds no file");
  let examples = 0;
  let skippedRows = 0;
  for (const [key, { lines, examples: expected, features }] of Object.entries(fixture.files)) {
    const [name, file] = key.split("/");
    // The reference leaves out rows that it cannot use.
    const hparams = { max_seq_length: fixture.max_seq_length, skip_bad_rows: true };
    const files = { [`${file}.tsv`]: `${lines.join("\n")}\n` };
    await withTask({ goldenDir, vocab: fixture.vocab, name, files, hparams }, async (task) => {
      const head = await task.head();
      const set = await task.examples(file === "dev_matched" ? "dev" : file);
      skippedRows += set.skipped.count;
      const labelOf = ([, , , label]) =>
        head.kind === "regression" ? Number(label) : head.labels.indexOf(label);
      assert.deepEqual(
        set.examples.map(({ eid, textA, textB, label }) => [eid, textA, textB ?? null, label]),
        expected.map((example) => [...example.slice(0, 3), labelOf(example)]),
        `${key}: examples`,
      );
      assert.equal(set.examples.length, features.length);
      set.examples.forEach((example, i) => {
        const [row, ...more] = task.featurize(example, file === "train");
        const want = features[i];
        assert.equal(more.length, 0);
        assert.equal(row.inputIds.length, want.length, `${key} ${i}: length`);
        assert.deepEqual([...row.inputIds], want.input_ids.slice(0, want.length), `${key} ${i}: input_ids`);
        assert.deepEqual(
          [...row.segmentIds],
          want.segment_ids.slice(0, want.length),
          `${key} ${i}: segment_ids`,
        );
        assert.equal(row.eid, want[`${name}_eid`]);
        if (head.kind === "regression") {
          assert.equal(
            Math.fround(row.target.value),
            Math.fround(want[`${name}_targets`]),
            `${key} ${i}: target`,
          );
        } else assert.equal(row.target.label, want[`${name}_label_ids`], `${key} ${i}: label`);
        examples++;
      });
    });
  }
  const pairs = fixture.truncate_seq_pair.rows;
  for (const [a, b, limit, newA, newB] of pairs) {
    assert.deepEqual(truncatedPair(a, b, limit), [newA, newB], `truncating ${a} and ${b} to ${limit}`);
  }
  return `${Object.keys(fixture.files).length} files, ${examples} examples equal, ${skippedRows} rows left out, ${pairs.length} truncations`;
}

async function checkChunkFiles(goldenDir) {
  const fixture = await readJson(goldenDir, "chunk_files");
  const { max_seq_length: length, vocab, files: texts, label_mapping: mapping, splits } = fixture;
  assert.ok(Object.keys(splits).length > 0, "the fixture holds no split");
  const files = Object.fromEntries(Object.entries(texts).map(([split, text]) => [`${split}.txt`, text]));
  const hparams = { max_seq_length: length };
  return await withTask({ goldenDir, vocab, name: "chunk", files, hparams }, async (task) => {
    const { labels } = await task.head();
    assert.deepEqual(Object.fromEntries(labels.map((label, id) => [label, id])), mapping, "labels");
    let sentences = 0;
    let kept = 0;
    for (const [split, expected] of Object.entries(splits)) {
      const { examples } = await task.examples(split);
      assert.equal(examples.length, expected.length, `${split}: sentences`);
      examples.forEach((example, i) => {
        const want = expected[i];
        const where = `${split} ${i}`;
        assert.equal(example.eid, want.eid);
        assert.deepEqual(example.words, want.words, where);
        assert.deepEqual(example.labels, want.labels, where);
        const [{ inputIds, segmentIds, target }] = task.featurize(example, split === "train");
        assert.equal(inputIds.length, want.length, `${where}: length`);
        assert.deepEqual([...inputIds], want.input_ids, `${where}: input_ids`);
        assert.deepEqual([...segmentIds], want.segment_ids, `${where}: segment_ids`);
        assert.deepEqual([...target.positions], want.labeled_positions, `${where}: positions`);
        assert.equal(target.labels.length, want.labeled, `${where}: labels`);
        assert.deepEqual([...target.labels], want.padded_labels.slice(0, want.labeled), `${where}: labels`);
        sentences++;
        kept += want.labeled;
      });
    }
    return `${sentences} sentences, ${kept} labelled words, ${labels.length} labels equal`;
  });
}

async function checkFinalText(goldenDir) {
  const { finalAnswerText } = await load("finetuning/answers/final-text.js");
  const { BasicTokenizer } = await load("tokenization/basic-tokenizer.js");
  const { rows } = await readJson(goldenDir, "final_text");
  assert.ok(rows.length > 0, "the fixture is empty");
  let projected = 0;
  for (const [lowerCase, predicted, original, expected] of rows) {
    const got = finalAnswerText(predicted, original, new BasicTokenizer({ lowerCase }));
    assert.equal(got, expected, JSON.stringify([lowerCase, predicted, original]));
    if (expected !== original) projected++;
  }
  return `${rows.length} texts equal, ${projected} of them parts of the original`;
}

/** Data set -> examples -> features -> recorded outputs -> answers, null odds, metrics. */
async function checkQuestionAnswering(goldenDir) {
  const { vocab, cases } = await readJson(goldenDir, "qa_end_to_end");
  const tensors = await readFixture(join(goldenDir, "metrics", "qa_results.safetensors"));
  assert.ok(Object.keys(cases).length > 0, "the fixture holds no case");
  const parts = [];
  let worst = 0;
  for (const [name, fixture] of Object.entries(cases)) {
    const { task: taskName, dataset, hparams } = fixture;
    const squad = taskName.includes("squad");
    const text = squad
      ? JSON.stringify(dataset)
      : dataset.map((line) => `${JSON.stringify(line)}\n`).join("");
    const files = Object.fromEntries(
      ["train", "dev"].map((split) => [squad ? `${split}.json` : `${split}.jsonl`, text]),
    );
    await withTask({ goldenDir, vocab, name: taskName, files, hparams }, async (task, resolved) => {
      await compareQuestions(task, fixture, name);
      const scored = await answerQuestions(task, resolved, fixture, tensors, name);
      worst = Math.max(worst, scored.worst);
      parts.push(`${name} ${scored.answers} answers from ${scored.windows} windows`);
    });
  }
  return `${parts.join(", ")}; odds and metrics max rel ${worst.toExponential(1)}`;
}

/** Examples and the features of training. */
async function compareQuestions(task, fixture, name) {
  const { examples } = await task.examples("train");
  assert.deepEqual(
    examples.map((example) => ({
      eid: example.eid,
      id: example.id,
      question_text: example.question,
      doc_tokens: example.words,
      orig_answer_text: example.answerText,
      start_position: example.startWord,
      end_position: example.endWord,
      is_impossible: example.impossible,
    })),
    fixture.train_examples.map(({ qas_id, qid, eid, ...rest }) => {
      const { question_text, doc_tokens, orig_answer_text, start_position, end_position, is_impossible } =
        rest;
      return {
        eid,
        id: qas_id ?? qid,
        question_text,
        doc_tokens,
        orig_answer_text,
        start_position,
        end_position,
        is_impossible,
      };
    }),
    `${name}: examples`,
  );
  assert.equal((await task.examples("dev")).examples.length, fixture.dev_examples, `${name}: dev examples`);
  const rows = examples.flatMap((example) => task.featurize(example, true));
  assert.equal(rows.length, fixture.train_features.length, `${name}: train features`);
  rows.forEach((row, i) => {
    const want = fixture.train_features[i];
    const where = `${name}: train feature ${i}`;
    compareRow(row, want, where);
    assert.deepEqual(
      [row.target.start, row.target.end, row.target.impossible],
      [want.start_positions, want.end_positions, want.is_impossible],
      `${where}: targets`,
    );
  });
}

function compareRow(row, want, where) {
  assert.equal(row.inputIds.length, want.length, `${where}: length`);
  if (want.input_ids !== undefined) {
    assert.deepEqual([...row.inputIds], want.input_ids, `${where}: input_ids`);
    assert.deepEqual([...row.segmentIds], want.segment_ids, `${where}: segment_ids`);
  }
}

/** Recorded outputs of a model through the scorer. */
async function answerQuestions(task, hparams, fixture, tensors, name) {
  const { examples } = await task.examples("dev");
  const rows = examples.flatMap((example) => task.featurize(example, false));
  assert.equal(rows.length, fixture.dev_features.length, `${name}: dev features`);
  const get = (key) => tensors.get(`${name}/${key}`);
  const eids = get("eid").data;
  assert.equal(eids.length, rows.length, `${name}: recorded outputs`);
  const scorer = await task.scorer("dev");
  rows.forEach((row, i) => {
    const want = fixture.dev_features[i];
    const where = `${name}: dev feature ${i}`;
    compareRow(row, want, where);
    assert.equal(row.eid, want.eid, where);
    assert.equal(row.eid, eids[i], where);
    assert.equal(row.window.firstPosition, want.first_doc_token, `${where}: first_doc_token`);
    assert.equal(row.window.index, want.doc_span_index, `${where}: doc_span_index`);
    assert.deepEqual([...row.window.wordOfPiece], want.token_to_orig, `${where}: token_to_orig`);
    assert.deepEqual([...row.window.isMaxContext], want.is_max_context, `${where}: is_max_context`);
    const part = (key) => {
      const { shape, data } = get(key);
      const size = shape.slice(1).reduce((product, n) => product * n, 1);
      return data.subarray(i * size, (i + 1) * size);
    };
    scorer.add(row, {
      loss: part("loss")[0],
      ...(hparams.answerable_classifier ? { answerableLogit: part("answerable_logit")[0] } : {}),
      ...(hparams.joint_prediction
        ? {
            beams: {
              startLogProbs: part("start_top_log_probs"),
              startIndex: part("start_top_index"),
              endLogProbs: part("end_top_log_probs"),
              endIndex: part("end_top_index"),
            },
          }
        : { startLogits: part("start_logits"), endLogits: part("end_logits") }),
    });
  });
  const { predictions, nullOdds } = scorer.predictions();
  assert.deepEqual(predictions, fixture.predictions, `${name}: answers`);
  let worst = 0;
  const compare = (actual, expected, where) => {
    const difference = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
    assert.ok(difference <= 1e-6, `${name} ${where}: ${actual}, expected ${expected}`);
    worst = Math.max(worst, difference);
  };
  assert.deepEqual(Object.keys(nullOdds ?? {}), Object.keys(fixture.null_odds ?? {}), `${name}: null odds`);
  for (const [id, odds] of Object.entries(nullOdds ?? {}))
    compare(odds, fixture.null_odds[id], `odds of ${id}`);
  const results = scorer.results();
  assert.deepEqual(
    results.map(([metric]) => metric),
    Object.keys(fixture.metrics),
    `${name}: names and order of metrics`,
  );
  for (const [metric, value] of results) compare(value, fixture.metrics[metric], metric);
  return { worst, answers: Object.keys(predictions).length, windows: rows.length };
}
