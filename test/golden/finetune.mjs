// Golden checks of fine-tuning: the reference's weights and batches go in; logits, losses, beams, gradients, and weights
// after steps with layer-wise rates must come out. Everything is read from the fixtures: tasks, heads, shapes.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { checkBeams } from "./beam-checks.mjs";
import {
  assertBelow,
  batchOf,
  checkGradients,
  checkWeights,
  clearMoments,
  keyBias,
  largest,
  loadWeights,
  relative,
  Worst,
} from "./model-checks.mjs";
import { readFixture } from "./safetensors-fixture.mjs";
import { finetuningTolerances } from "./tolerances.mjs";

const dist = process.env.ELECTRA_DIST
  ? pathToFileURL(`${process.env.ELECTRA_DIST}/`)
  : new URL("../../dist/", import.meta.url);
const load = (path) => import(new URL(path, dist).href);

const cases = [
  "classification_mnli",
  "multitask",
  "qa_squad_independent",
  "qa_squad_joint",
  "qa_squadv1_no_answerable",
  "regression_sts",
  "tagging_chunk",
];

/** The checks run the engine, on any device. */
export const usesDevice = true;

export const checks = [
  ...cases.map((name) => ({
    name: `finetune/${name}`,
    run: (goldenDir, machine) => checkCase(goldenDir, name, machine),
  })),
  // Padding computed, as in the reference. Candidates of a beam may then lie in it.
  ...["multitask", "qa_squad_joint"].map((name) => ({
    name: `finetune/${name}.keep`,
    run: (goldenDir, machine) => checkCase(goldenDir, name, machine, true),
  })),
];

/** The heads of a fixture, by what its records hold. */
function tasksOf({ config, variables }, tensors) {
  const shapeOf = (name) => variables.find((variable) => variable.name === name)?.shape;
  return config.task_names.map((name) => {
    const has = (feature) => tensors.has(`step0/input/${name}_${feature}`);
    const classes = () => shapeOf(`task_specific/${name}/dense/kernel`)[1];
    if (has("label_ids")) return { name, head: { kind: "classification", classes: classes() } };
    if (has("targets")) return { name, head: { kind: "regression" } };
    if (has("labels")) return { name, head: { kind: "tagging", classes: classes() } };
    assert.ok(has("start_positions"), `${name}: the fixture holds no features that a head is known for`);
    return {
      name,
      head: {
        kind: "span",
        jointPrediction: config.joint_prediction,
        answerableClassifier: config.answerable_classifier,
        answerableUsesStartLogits: config.answerable_uses_start_logits,
        answerableWeight: config.answerable_weight,
        beamSize: config.beam_size,
      },
    };
  });
}

async function open(goldenDir, name, machine, keepPadding) {
  const json = JSON.parse(await readFile(join(goldenDir, "finetune", `${name}.json`), "utf8"));
  const tensors = await readFixture(join(goldenDir, "finetune", `${name}.safetensors`));
  const { FinetuningEngine } = await load("engine/finetuning-engine.js");
  const { layerwiseMultiplier } = await load("hparams/layerwise-learning-rate.js");
  const { config, bert_config: bert } = json;
  const scaleOf = (variable) =>
    layerwiseMultiplier(variable, {
      decay: config.layerwise_lr_decay,
      numHiddenLayers: bert.num_hidden_layers,
    });
  const model = {
    encoder: { ...bert, embedding_size: config.embedding_size ?? bert.hidden_size },
    tasks: tasksOf(json, tensors),
    max_seq_length: config.max_seq_length,
    keep_padding: keepPadding,
    weight_decay_rate: config.weight_decay_rate,
    head_dropout_prob: 0,
  };
  const engine = await FinetuningEngine.create({
    model,
    learningRateScale: scaleOf,
    device: "cpu",
    threads: 2,
    seed: 1,
    ...machine,
  });
  const tolerance = finetuningTolerances(engine.info.precision, model);
  return { json, tensors, engine, model, scaleOf, tolerance };
}

/** The batch of a step, with words and targets of its tasks. */
function finetuningBatch(tensors, prefix, { tasks }) {
  const rows = batchOf(tensors, prefix);
  const input = (feature) => tensors.get(`${prefix}/input/${feature}`)?.data;
  const taskIds = input("task_id");
  const targets = {};
  const offsets = new Int32Array(rows.rows + 1);
  const positions = [];
  const wordClasses = [];
  for (let b = 0; b < rows.rows; b++) {
    const task = tasks[taskIds[b]];
    if (task?.head.kind === "tagging") {
      for (let i = 0; i < rows.length; i++) {
        const at = b * rows.length + i;
        if (input(`${task.name}_labels_mask`)[at] === 0) continue;
        positions.push(input(`${task.name}_labeled_positions`)[at]);
        wordClasses.push(input(`${task.name}_labels`)[at]);
      }
    }
    offsets[b + 1] = positions.length;
    const take = (target, feature, type) => {
      targets[target] ??= new type(rows.rows);
      targets[target][b] = input(`${task.name}_${feature}`)[b];
    };
    if (task?.head.kind === "classification") take("classes", "label_ids", Int32Array);
    if (task?.head.kind === "regression") take("values", "targets", Float32Array);
    if (task?.head.kind === "span") {
      take("starts", "start_positions", Int32Array);
      take("ends", "end_positions", Int32Array);
      take("impossible", "is_impossible", Int32Array);
    }
  }
  const words = { offsets, positions: Int32Array.from(positions) };
  return { ...rows, taskIds, words, targets: { ...targets, wordClasses: Int32Array.from(wordClasses) } };
}

/** QA: a shift of all scores of a row changes nothing, so their biases have no gradient. */
const gradientIsZero = (tasks) => (name) =>
  keyBias(name) ||
  tasks.some(
    ({ name: task, head }) =>
      head.kind === "span" &&
      (name === `task_specific/${task}/dense/bias` || name === `task_specific/${task}/dense_1/bias`),
  );

async function checkCase(goldenDir, name, machine, keepPadding = false) {
  const where = keepPadding ? `${name}.keep` : name;
  const { json, tensors, engine, model, scaleOf, tolerance } = await open(
    goldenDir,
    name,
    machine,
    keepPadding,
  );
  const worst = new Worst();
  try {
    await loadWeights(engine, tensors, "init/", where);
    const batch = finetuningBatch(tensors, "step0", model);
    const isZero = gradientIsZero(model.tasks);
    const outputs = model.tasks.flatMap(trainingOutputs);
    const result = await engine.forwardBackward(batch, { outputs: ["loss", ...outputs] });
    checkOutputs(result.outputs, tensors, batch, model, { tolerance, worst, where });
    await checkGradients(engine, json, tensors, { tolerance, worst, where, isZero });
    checkLoss(result, json.steps[0], tensors, batch, model, { tolerance, worst, where, updates: 0 });

    // Inference gives the same, dropout being off, and beams.
    const beams = model.tasks.flatMap(beamOutputs);
    const predicted = await engine.predict(batch, { outputs: ["loss", ...outputs, ...beams] });
    checkOutputs(predicted.outputs, tensors, batch, model, {
      tolerance,
      worst,
      where: `${where}, predicted`,
    });
    for (const { name: task, head } of model.tasks)
      if (head.kind === "span" && head.jointPrediction)
        checkBeams(predicted.outputs, tensors, { task, tolerance, worst, where });
    if (keepPadding) return worst.toString();

    await checkSteps(engine, json, tensors, model, scaleOf, { tolerance, worst, where, isZero });
    return worst.toString();
  } finally {
    await engine.dispose();
  }
}

const trainingOutputs = ({ name, head }) =>
  ({
    classification: ["logits"],
    regression: ["predictions"],
    tagging: ["logits", "predictions"],
    span: ["start_logits", "end_logits", "answerable_logit"],
  })[head.kind].map((output) => `${name}/${output}`);

const beamOutputs = ({ name, head }) =>
  head.kind === "span" && head.jointPrediction
    ? ["start_top_log_probs", "start_top_index", "end_top_log_probs", "end_top_index"].map(
        (output) => `${name}/${output}`,
      )
    : [];

/** Every output of a row's own task against the training graph's. Rows of other tasks must hold zeros. */
function checkOutputs(outputs, tensors, batch, { tasks }, { tolerance, worst, where }) {
  for (const [number, { name, head }] of tasks.entries()) {
    for (const output of trainingOutputs({ name, head })) {
      const { shape, data } = tensors.get(`step0/train_output/${output}`);
      const width = data.length / batch.rows;
      const actual = outputs[output].data;
      const rows = head.kind === "tagging" ? wordRows(batch, shape.at(-1), width, output) : undefined;
      for (let b = 0; b < batch.rows; b++) {
        const [from, count] = rows?.[b] ?? [b * width, width];
        if (batch.taskIds[b] !== number) {
          assert.ok(
            actual.subarray(from, from + count).every((value) => value === 0),
            `${where}: ${output} of row ${b}, which has another task`,
          );
          continue;
        }
        const expected = data.subarray(b * width, (b + 1) * width);
        compareRow(actual.subarray(from, from + count), expected, `${where}: ${output} of row ${b}`, {
          tolerance,
          worst,
          real: output.endsWith("_logits") ? batch.lengths[b] : count,
          decisions: output === `${name}/predictions` && head.kind === "tagging",
          size: largest(tensors.get(`step0/train_output/${name}/logits`)?.data ?? []),
        });
      }
    }
    for (let b = 0; b < batch.rows; b++) {
      if (batch.taskIds[b] !== number) continue;
      const expected = tensors.get(`step0/train_output/${name}/loss`).data[b];
      const difference = Math.abs(outputs["loss"].data[b] - expected);
      assertBelow(
        difference,
        rowLossBound(tolerance, tensors, batch, name, head, b),
        `${where}: loss of row ${b}`,
      );
      worst.note("row loss", difference);
    }
  }
}

/** Words are packed on our side and padded to L in the fixtures: where those of each row are, and how many values. */
function wordRows(batch, classes, width, output) {
  const perWord = output.endsWith("/logits") ? classes : 1;
  assert.equal(width % perWord, 0, "a width for each word");
  return Array.from({ length: batch.rows }, (_, b) => {
    const first = batch.words.offsets[b];
    return [first * perWord, (batch.words.offsets[b + 1] - first) * perWord];
  });
}

function compareRow(actual, expected, what, { tolerance, worst, real, decisions, size: sizeOfLogits }) {
  let wrong = 0;
  const size = largest(expected.filter((value) => value > -500));
  for (let i = 0; i < Math.min(real, actual.length); i++) {
    if (decisions) {
      if (actual[i] !== expected[i]) wrong++;
      continue;
    }
    // Where no answer may lie 1000 was subtracted, and float32 keeps 6e-5 of that.
    const slack = expected[i] < -500 ? 1.3e-4 : 0;
    const difference = Math.abs(actual[i] - expected[i]);
    assertBelow(difference, tolerance.output(size) + slack, `${what}, entry ${i}`);
    if (slack === 0) worst.note("outputs", difference);
  }
  if (decisions)
    assertBelow(wrong, tolerance.undecided(actual.length, sizeOfLogits), `${what}: other classes`);
}

/** How far the loss of a row may be off, given how far what it is made of may be. */
function rowLossBound(tolerance, tensors, batch, name, head, row) {
  const output = (what) => {
    const { data } = tensors.get(`step0/train_output/${name}/${what}`);
    const width = data.length / batch.rows;
    return largest(data.subarray(row * width, (row + 1) * width).filter((value) => value > -500));
  };
  const loss = Math.abs(tensors.get(`step0/train_output/${name}/loss`).data[row]);
  const rounding = 1e-5 * loss;
  switch (head.kind) {
    case "classification":
      return 2 * tolerance.output(output("logits")) + rounding;
    case "tagging": {
      const words = batch.words.offsets[row + 1] - batch.words.offsets[row];
      return 2 * tolerance.output(output("logits")) * Math.sqrt(words) + rounding;
    }
    case "regression": {
      const d = tolerance.output(output("predictions"));
      return 2 * Math.sqrt(loss) * d + d * d + rounding;
    }
    default:
      return (
        tolerance.output(output("start_logits")) +
        tolerance.output(output("end_logits")) +
        head.answerableWeight * tolerance.output(output("answerable_logit")) +
        rounding
      );
  }
}

function checkLoss(result, step, tensors, batch, { tasks }, { tolerance, worst, where, updates }) {
  let allowed = tolerance.loss(updates) * step.loss;
  for (const [number, { name, head }] of tasks.entries()) {
    let expected = 0;
    let rows = 0;
    for (let b = 0; b < batch.rows; b++) {
      if (batch.taskIds[b] !== number) continue;
      expected += step.per_example_loss[name][b];
      rows++;
    }
    assert.equal(result.taskRows[number], rows, `${where}: rows of ${name}`);
    const slack =
      head.kind === "regression"
        ? tolerance.squares(
            updates,
            expected,
            largest(tensors.get(`step0/train_output/${name}/predictions`).data),
          )
        : 0;
    allowed += slack;
    // A part of the loss, so less averages out than in the whole.
    assertBelow(
      Math.abs(result.taskLosses[number] - expected),
      tolerance.loss(updates) * Math.max(expected, step.loss / tasks.length) + slack,
      `${where}: loss of ${name}`,
    );
  }
  const difference = Math.abs(result.loss - step.loss);
  assertBelow(difference, allowed, `${where}: loss ${result.loss}, expected ${step.loss}`);
  worst.note("loss", difference / step.loss);
}

/** Every recorded step with its rates; then weights, where the fixture has them. */
async function checkSteps(engine, json, tensors, model, scaleOf, { tolerance, worst, where, isZero }) {
  const { learningRateAt } = await load("hparams/learning-rate.js");
  const { config } = json;
  await loadWeights(engine, tensors, "init/", where);
  await clearMoments(engine);
  let peak = 0;
  for (const [index, step] of json.steps.entries()) {
    const learningRate = learningRateAt(
      {
        learningRate: config.learning_rate,
        numTrainSteps: json.num_train_steps,
        numWarmupSteps: json.warmup_steps,
        decayPower: 1,
      },
      index,
    );
    for (const { name, lr_key: key } of json.variables)
      assertBelow(
        Math.abs(learningRate * scaleOf(name) - step.learning_rates[key]),
        2e-6 * step.learning_rates[key] + 1e-7 * config.learning_rate,
        `${where} step ${index}: rate of ${name}`,
      );
    peak = Math.max(peak, learningRate);
    const batch = finetuningBatch(tensors, `step${index}`, model);
    const result = await engine.trainStep(batch, { step: index, learningRate });
    checkLoss(result, step, tensors, batch, model, {
      tolerance,
      worst,
      where: `${where} step ${index}`,
      updates: index,
    });
    const difference = relative(result.gradientNorm, step.global_norm);
    assertBelow(difference, tolerance.globalNorm(index), `${where} step ${index}: global norm`);
    worst.note("norm", difference);
  }
  const updates = json.steps.length;
  for (const { name } of json.variables) {
    const expected = tensors.get(`after${updates}/${name}`)?.data;
    if (expected === undefined) continue;
    checkWeights(name, await engine.readParameter(name), expected, tensors.get(`init/${name}`).data, {
      learningRate: peak * scaleOf(name),
      updates,
      tolerance,
      worst,
      where: `${where} after ${updates} steps`,
      isZero,
    });
  }
}
