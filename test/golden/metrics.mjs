// The reference's scorers and the official evaluation scripts on recorded labels, tags and answers. Where the reference
// raises, the fixture says so and our function must refuse too, with an error of ours.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { dataFile, Skip } from "./data-file.mjs";

const dist = process.env.ELECTRA_DIST
  ? pathToFileURL(`${process.env.ELECTRA_DIST}/`)
  : new URL("../../dist/", import.meta.url);
const load = (path) => import(new URL(path, dist).href);

export const checks = [
  { name: "metrics/answer_strings", run: checkAnswerStrings },
  { name: "metrics/qa_official_eval", run: checkOfficialEvaluation },
  { name: "metrics/glue_scorers", run: checkGlueScorers },
  { name: "metrics/tagging", run: checkTagging },
  { name: "metrics/published_predictions", run: checkPublishedPredictions },
];

const readJson = async (goldenDir, name) =>
  JSON.parse(await readFile(join(goldenDir, "metrics", `${name}.json`), "utf8"));

/** The worst relative difference seen; every comparison goes through it. */
class Comparison {
  count = 0;
  worst = 0;

  /** @param tolerance relative, or absolute below 1: 1e-5 where the reference added in float32 */
  number(actual, expected, tolerance, where) {
    this.count++;
    if (expected === "nan" || expected === null) {
      assert.equal(actual, null, `${where}: ${actual}, expected no value`);
      return;
    }
    assert.equal(typeof actual, "number", `${where}: ${actual}, expected ${expected}`);
    const difference = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
    assert.ok(difference <= tolerance, `${where}: ${actual}, expected ${expected}`);
    this.worst = Math.max(this.worst, difference);
  }

  /** Ordered results against the fixture's object, names and order included. */
  results(actual, expected, where) {
    assert.deepEqual(
      actual.map(([name]) => name),
      Object.keys(expected),
      `${where}: names and order`,
    );
    for (const [name, value] of actual) {
      const float32 = name === "loss" || name === "pearson" || name === "mse";
      this.number(value, expected[name], float32 ? 1e-5 : 1e-12, `${where} ${name}`);
    }
  }

  toString() {
    return `${this.count} values, max rel ${this.worst.toExponential(1)}`;
  }
}

/** Runs a function that must fail where the fixture has `raises`. Returns undefined if it did. */
function orRaises(expected, run, where) {
  if (expected?.raises === undefined) return run();
  assert.throws(run, { name: "ElectraError" }, `${where}: the reference raises ${expected.raises}`);
  return undefined;
}

async function checkAnswerStrings(goldenDir) {
  const { answerF1, exactAnswer, normalizeAnswer } = await load("metrics/answer-text.js");
  const fixture = await readJson(goldenDir, "answer_strings");
  for (const [text, ...forms] of fixture.normalize) {
    for (const form of forms) assert.equal(normalizeAnswer(text), form, JSON.stringify(text));
  }
  const compared = new Comparison();
  for (const pair of fixture.pairs) {
    const where = JSON.stringify([pair.gold, pair.pred]);
    for (const [script, emptyEquals] of [
      ["squad2", 1],
      ["squad1", 0],
      ["mrqa", 0],
    ]) {
      assert.equal(exactAnswer(pair.gold, pair.pred), pair[`${script}_exact`], `${where} ${script} exact`);
      const f1 = answerF1(pair.gold, pair.pred, emptyEquals);
      compared.number(f1, pair[`${script}_f1`], 1e-12, `${where} ${script} f1`);
    }
  }
  assert.ok(fixture.normalize.length > 0 && fixture.pairs.length > 0, "the fixture is empty");
  return `${fixture.normalize.length} texts, ${fixture.pairs.length} pairs, ${compared}`;
}

async function checkOfficialEvaluation(goldenDir) {
  const v2 = await load("metrics/squad-v2-evaluation.js");
  const { evaluateMrqa, evaluateSquadV1 } = await load("metrics/answer-evaluation.js");
  const fixture = await readJson(goldenDir, "qa_official_eval");
  assert.ok(fixture.cases.length > 0, "the fixture holds no case");
  const compared = new Comparison();
  let refused = 0;
  const answers = (run, expected, where) => {
    const result = orRaises(expected, run, where);
    if (result === undefined) refused++;
    else
      compared.results(
        [
          ["exact_match", result.exact_match],
          ["f1", result.f1],
        ],
        expected,
        where,
      );
  };
  for (const entry of fixture.cases) {
    const questions = questionsOf(entry.dataset);
    const { predictions, na_scores: nullOdds, squad2 } = entry;
    const [first] = Object.keys(predictions);
    const withoutFirst = Object.fromEntries(Object.entries(predictions).slice(1));
    assert.equal(first, questions[0].id);

    for (const [threshold, expected] of Object.entries(squad2.results_by_na_threshold)) {
      const options = { nullOdds, threshold: Number(threshold) };
      const { values } = v2.evaluateSquadV2(questions, predictions, options);
      compared.results(values, expected, `${entry.case} at ${threshold}`);
    }
    for (const [given, exact, f1] of [
      [predictions, squad2.exact_raw, squad2.f1_raw],
      [
        withoutFirst,
        squad2.raw_scores_with_first_prediction_missing.exact,
        squad2.raw_scores_with_first_prediction_missing.f1,
      ],
    ]) {
      const raw = v2.squadV2RawScores(questions, given);
      assert.deepEqual([...raw.keys()], Object.keys(exact), `${entry.case}: questions scored`);
      for (const [id, score] of raw) {
        compared.number(score.exact, exact[id], 0, `${entry.case} ${id} exact`);
        compared.number(score.f1, f1[id], 1e-12, `${entry.case} ${id} f1`);
      }
    }
    for (const measure of ["exact", "f1", "oracle"]) {
      const precision = v2.squadV2AveragePrecision(questions, predictions, nullOdds, measure);
      const expected = squad2.average_precision?.[`pr_${measure}`] ?? null;
      compared.number(precision, expected, 1e-12, `${entry.case} average precision ${measure}`);
    }

    const answerable = questions.filter(({ answers: given }) => given.length > 0);
    const named = [
      ["squad1_on_answerable", () => evaluateSquadV1(answerable, predictions)],
      [
        "squad1_first_prediction_missing",
        () => evaluateSquadV1(answerable, without(answerable, predictions)),
      ],
      ["mrqa_on_answerable", () => evaluateMrqa(answerable, predictions)],
    ];
    for (const [name, run] of named) answers(run, entry[name], `${entry.case} ${name}`);
    for (const [name, countUnanswered] of [
      ["skip_no_answer", false],
      ["count_as_zero", true],
    ]) {
      answers(
        () => evaluateMrqa(answerable, without(answerable, predictions), { countUnanswered }),
        entry.mrqa_first_prediction_missing[name],
        `${entry.case} mrqa ${name}`,
      );
    }
  }
  const noGold = [{ id: "q", answers: [] }];
  answers(() => evaluateSquadV1(noGold, { q: "x" }), fixture.squad1_question_without_gold, "no gold answer");
  return `${fixture.cases.length} cases, ${compared}, ${refused} refused`;
}

/** Predictions without that of the first question. */
function without([first], predictions) {
  return Object.fromEntries(Object.entries(predictions).filter(([id]) => id !== first?.id));
}

async function checkGlueScorers(goldenDir) {
  const scores = await load("metrics/classification-scores.js");
  const fixture = await readJson(goldenDir, "glue_scorers");
  assert.ok(fixture.classification.length > 0 && fixture.regression.length > 0, "the fixture is empty");
  const compared = new Comparison();
  fixture.classification.forEach((entry, i) => {
    compared.results(scores.accuracyScores(entry), entry.accuracy_scorer, `classification ${i} accuracy`);
    compared.results(scores.matthewsScores(entry), entry.mcc_scorer, `classification ${i} mcc`);
    compared.results(scores.referenceF1Scores(entry), entry.f1_scorer, `classification ${i} f1`);
  });
  fixture.regression.forEach((entry, i) => {
    // The reference squares in float32 what it reports as mse; its losses are the squares themselves.
    const losses = entry.targets.map((target, k) => (entry.predictions[k] - target) ** 2);
    const outputs = { predictions: entry.predictions, labels: entry.targets, losses };
    compared.results(scores.regressionScores(outputs), entry.scorer, `regression ${i} (${entry.kind})`);
  });
  return `${compared}`;
}

async function checkTagging(goldenDir) {
  const { spansOfTags, tagsOfSpans } = await load("metrics/tag-spans.js");
  const { spanScores, wordScores } = await load("metrics/tagging-scores.js");
  const fixture = await readJson(goldenDir, "tagging");
  assert.ok(fixture.get_span_labels.length > 0 && fixture.scorers.length > 0, "the fixture is empty");
  for (const { tags, spans, bioes, bio } of fixture.get_span_labels) {
    const where = tags.join(" ");
    assert.deepEqual(spansOfTags(tags), spans, where);
    assert.deepEqual(tagsOfSpans(tags.length, spans, "bioes"), bioes, where);
    assert.deepEqual(tagsOfSpans(tags.length, spans, "bio"), bio, where);
  }
  for (const [tag, expected] of Object.entries(fixture.malformed_tags)) {
    const sequence = tag === "(empty sequence)" ? [] : [tag];
    assert.ok(expected.raises !== undefined, `${tag}: the fixture is expected to list refusals only`);
    orRaises(expected, () => spansOfTags(sequence), `tag "${tag}"`);
  }
  const tags = Object.entries(fixture.label_mapping)
    .sort(([, a], [, b]) => a - b)
    .map(([tag]) => tag);
  const compared = new Comparison();
  fixture.scorers.forEach((entry, i) => {
    const sentences = entry.updates.map(({ labels, predictions, labels_mask: mask, loss }) => {
      const words = Math.round(mask.reduce((sum, bit) => sum + bit, 0));
      return { labels: labels.slice(0, words), predictions: predictions.slice(0, words), loss };
    });
    compared.results(spanScores(sentences, tags), entry.entity_f1, `scorer ${i} spans`);
    compared.results(wordScores(sentences), entry.accuracy, `scorer ${i} words`);
    const failing = wordScores(sentences, { autoFailLabel: fixture.label_mapping.O });
    compared.results(failing, entry.accuracy_autofail_O, `scorer ${i} words, O failing`);
  });
  const refused = Object.keys(fixture.malformed_tags).length;
  return `${fixture.get_span_labels.length} tag sequences, ${refused} refused, ${compared}`;
}

/**
 * Predictions that teams published for SQuAD, and what the official scripts say of them on these parts of the dev sets.
 * The part is known by its hash: for another one other numbers would be true.
 */
const published = [
  {
    data: "squadv1/dev.json",
    sha256: "3ad7aad5d46c87df121d65b63ddc7adde333aa0f21dba468d748085f5ba5acaa",
    version: 1,
    scores: {
      "v1.1-bert-ensemble.dev.json": { exact_match: 86.19509412435825, f1: 91.75227119098763 },
      "v1.1-logistic-regression.dev.json": { exact_match: 38.96177980604678, f1: 49.71332235250927 },
    },
  },
  {
    data: "squad/dev.json",
    sha256: "cab9c6d66b579b4c1cd2f800102158389d6b5f1b415b93918339bd98f69c9171",
    version: 2,
    scores: {
      "v2.0-bert-single.dev.json": {
        exact: 78.27285254937988,
        f1: 81.30575643080651,
        total: 2177,
        HasAns_exact: 73.75643224699829,
        HasAns_f1: 79.41906668084532,
        HasAns_total: 1166,
        NoAns_exact: 83.48170128585559,
        NoAns_f1: 83.48170128585559,
        NoAns_total: 1011,
      },
      "v2.0-bidaf-elmo.dev.json": {
        exact: 63.665594855305464,
        f1: 66.69455457645282,
        total: 2177,
        HasAns_exact: 57.03259005145797,
        HasAns_f1: 62.68786047421761,
        HasAns_total: 1166,
        NoAns_exact: 71.31552917903066,
        NoAns_f1: 71.31552917903066,
        NoAns_total: 1011,
      },
    },
  },
];

async function checkPublishedPredictions(goldenDir) {
  const { evaluateSquadV2 } = await load("metrics/squad-v2-evaluation.js");
  const { evaluateSquadV1 } = await load("metrics/answer-evaluation.js");
  const compared = new Comparison();
  let scored = 0;
  for (const { data, sha256, version, scores } of published) {
    const file = await readFile(dataFile(goldenDir, data));
    if (createHash("sha256").update(file).digest("hex") !== sha256) {
      throw new Skip(
        `${data} of the data folder is another part of the set than the published scores are for`,
      );
    }
    const questions = questionsOf(JSON.parse(file.toString("utf8")));
    for (const [name, expected] of Object.entries(scores)) {
      const path = dataFile(goldenDir, `squad-predictions/${name}`);
      const predictions = JSON.parse(await readFile(path, "utf8"));
      const { exact_match, f1 } = version === 1 ? evaluateSquadV1(questions, predictions) : {};
      const values =
        version === 1 ? Object.entries({ exact_match, f1 }) : evaluateSquadV2(questions, predictions).values;
      compared.results(values, expected, name);
      scored++;
    }
  }
  return `${scored} files of predictions, ${compared}`;
}

function questionsOf({ data }) {
  return data
    .flatMap(({ paragraphs }) => paragraphs)
    .flatMap(({ qas }) => qas)
    .map(({ id, answers }) => ({ id, answers: answers.map(({ text }) => text) }));
}
