// Golden checks of the whole pre-training model: the reference's weights, batches and random choices go in, its losses,
// logits, hidden states, gradients, updated weights and moments must come out.
//
// Compared where the fixture's masks and weights say that a value counts, as closely as tolerances.mjs says.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  assertBelow,
  assertEqualWhere,
  batchOf,
  checkGradients,
  checkWeights,
  clearMoments,
  keyBias,
  largest,
  loadWeights,
  maxDifference,
  relative,
  Worst,
} from "./model-checks.mjs";
import { readFixture } from "./safetensors-fixture.mjs";
import { tolerancesFor } from "./tolerances.mjs";

const dist = process.env.ELECTRA_DIST
  ? pathToFileURL(`${process.env.ELECTRA_DIST}/`)
  : new URL("../../dist/", import.meta.url);
const load = (path) => import(new URL(path, dist).href);

const variants = [
  "electra",
  "mlm",
  "electric",
  "electric_untied_embeddings",
  "uniform_generator",
  "tied_generator",
  "untied_embeddings",
  "two_tower",
  "disallow_correct_temperature",
  "no_projection",
];

/** The checks run the engine, on any device. */
export const usesDevice = true;

export const checks = [
  ...variants.map((variant) => ({
    name: `pretrain/${variant}`,
    run: (goldenDir, machine) => checkVariant(goldenDir, variant, machine),
  })),
  { name: "pretrain/electra.after", run: checkTrajectory },
  { name: "pretrain/electra.eval", run: checkEvaluation },
];

export async function openVariant(goldenDir, variant) {
  const json = JSON.parse(await readFile(join(goldenDir, "pretrain", `${variant}.json`), "utf8"));
  const tensors = await readFixture(join(goldenDir, "pretrain", `${variant}.safetensors`));
  return { json, tensors };
}

/**
 * An engine on the device under test, and how closely it must follow the reference.
 *
 * @param {object} machine device and precision, as Engine.create takes them
 * @param {object} more hparams besides the fixture's
 */
export async function createEngine(json, variant, machine, more = {}) {
  const { resolvePretrainingHparams } = await load("hparams/pretraining-hparams.js");
  const { pretrainingModelConfig } = await load("pretraining/model-config.js");
  const { Engine } = await load("engine/engine.js");
  const { max_predictions_per_seq: expectedSlots, ...given } = json.config;
  const { hparams } = resolvePretrainingHparams({
    dataDir: ".",
    modelName: "golden",
    hparams: { ...given, ...more },
    preset: "google",
  });
  assert.equal(hparams.max_predictions_per_seq, expectedSlots, "max_predictions_per_seq");
  const ids = json.special_ids;
  const model = pretrainingModelConfig(hparams, { cls: ids.CLS, sep: ids.SEP, mask: ids.MASK });
  const engine = await Engine.create({ model, device: "cpu", threads: 2, seed: 1, ...machine });
  return { engine, tolerance: tolerancesFor(engine.info.precision, model, variant) };
}

/** Positions and replacement as the reference drew them, or, where a fixture has only results, read off those. */
function maskingDraws(tensors, prefix) {
  const positions =
    tensors.get(`${prefix}/draw/categorical_positions`) ??
    tensors.get(`${prefix}/masked/masked_lm_positions`);
  const uniform = tensors.get(`${prefix}/draw/replace_uniform`);
  if (uniform !== undefined) return { positions: positions.data, replaceUniform: uniform.data };
  const masked = tensors.get(`${prefix}/masked/input_ids`);
  const original = tensors.get(`${prefix}/input/input_ids`).data;
  const length = masked.shape[1];
  const slots = positions.shape[1];
  const replaceUniform = Float32Array.from(positions.data, (position, k) => {
    const at = Math.floor(k / slots) * length + position;
    return masked.data[at] === original[at] ? 0.99 : 0;
  });
  return { positions: positions.data, replaceUniform };
}

export const sampledDraws = (tensors, prefix) => ({
  ...maskingDraws(tensors, prefix),
  sampledIds: tensors.get(`${prefix}/fake/sampled_token_ids`).data,
});

function checkStepLosses(result, step, bound, worst, where) {
  const generator = step.cloze_loss ?? step.mlm_loss;
  for (const [what, actual, expected] of [
    ["total loss", result.loss, step.total_loss],
    ["generator loss", result.generatorLoss, generator],
    ["discriminator loss", result.discriminatorLoss, step.disc_loss],
  ]) {
    if (expected === undefined) continue;
    const difference = relative(actual, expected);
    assertBelow(difference, bound, `${where}: ${what} ${actual}, expected ${expected}`);
    worst.note("loss", difference);
  }
}

async function checkVariant(goldenDir, variant, machine) {
  const { json, tensors } = await openVariant(goldenDir, variant);
  const { engine, tolerance } = await createEngine(json, variant, machine);
  const worst = new Worst();
  try {
    await loadWeights(engine, tensors, "init/", variant);
    const batch = batchOf(tensors, "step0");
    const inputMask = tensors.get("step0/input/input_mask").data;
    const slotWeights = tensors.get("step0/masked/masked_lm_weights").data;

    // The masking and sampling operators, given the recorded uniforms, must find the recorded positions and ids.
    const gumbel = tensors.get("step0/draw/gumbel_uniform");
    if (gumbel !== undefined) {
      const free = await engine.evaluate(batch, {
        draws: { ...maskingDraws(tensors, "step0"), gumbelUniform: gumbel.data },
        outputs: [
          "masked/input_ids",
          "masked/positions",
          "masked/targets",
          "masked/weights",
          "fake/sampled_ids",
          "fake/replaced_ids",
          "fake/labels",
        ],
      });
      const expect = (name, key, weights) =>
        assertEqualWhere(free.outputs[name].data, tensors.get(key).data, weights, `${variant}: ${name}`);
      expect("masked/weights", "step0/masked/masked_lm_weights");
      expect("masked/input_ids", "step0/masked/input_ids", inputMask);
      expect("masked/positions", "step0/masked/masked_lm_positions", slotWeights);
      expect("masked/targets", "step0/masked/masked_lm_ids", slotWeights);
      if (tolerance.exactSamples) {
        expect("fake/sampled_ids", "step0/fake/sampled_token_ids", slotWeights);
        expect("fake/replaced_ids", "step0/fake/updated_input_ids", inputMask);
        expect("fake/labels", "step0/fake/is_fake_tokens", inputMask);
      } else {
        checkSamples(free.outputs, tensors, slotWeights, tolerance, worst, variant);
      }
    }

    await checkStep0(engine, json, tensors, variant, batch, { inputMask, slotWeights, tolerance, worst });
    await checkLaterSteps(engine, json, tensors, variant, tolerance, worst);
    return worst.toString();
  } finally {
    await engine.dispose();
  }
}

/** Sampled ids are the recorded ones, but for those that rounding may decide. */
function checkSamples(outputs, tensors, slotWeights, tolerance, worst, variant) {
  const expected = tensors.get("step0/fake/sampled_token_ids").data;
  const actual = outputs["fake/sampled_ids"].data;
  let slots = 0;
  let others = 0;
  for (let slot = 0; slot < expected.length; slot++) {
    if (slotWeights[slot] === 0) continue;
    slots++;
    if (actual[slot] !== expected[slot]) others++;
  }
  const logits = tensors.get("step0/mlm/logits") ?? tensors.get("step0/cloze/logits");
  const allowed = logits === undefined ? 0 : tolerance.undecided(slots, largest(logits.data));
  assertBelow(others, allowed, `${variant}: sampled ids other than the recorded, of ${slots}`);
  worst.note("resampled", others);
}

async function checkStep0(
  engine,
  json,
  tensors,
  variant,
  batch,
  { inputMask, slotWeights, tolerance, worst },
) {
  const pairs = [
    ["mlm/logits", "step0/mlm/logits", slotWeights],
    ["mlm/loss", "step0/mlm/per_example_loss", slotWeights],
    ["cloze/logits", "step0/cloze/logits", tensors.get("step0/cloze/weights")?.data],
    ["cloze/loss", "step0/cloze/per_example_loss", tensors.get("step0/cloze/weights")?.data],
    ["disc/logits", "step0/disc/logits", inputMask],
    ["disc/probabilities", "step0/disc/probs", inputMask],
    ["disc/loss", "step0/disc/per_example_loss", undefined],
  ].filter(([, key]) => tensors.has(key));
  const hidden = hiddenOutputs(tensors, json);
  // Under a uniform generator the logits are zero by definition and no network makes them.
  const isUniform = json.config.uniform_generator;
  const wanted = pairs.filter(([name]) => !(isUniform && name.startsWith("mlm/")));
  const result = await engine.forwardBackward(batch, {
    draws: sampledDraws(tensors, "step0"),
    outputs: [...wanted.map(([name]) => name), ...hidden.map(({ name }) => name)],
  });
  checkStepLosses(result, json.steps[0], tolerance.loss(0), worst, `${variant} step 0`);
  for (const [name, key, weights] of wanted) {
    const expected = tensors.get(key).data;
    const difference = maxDifference(result.outputs[name].data, expected, weights);
    const logits = name.endsWith("/logits") ? undefined : tensors.get(key.replace(/[^/]+$/, "logits"));
    const size =
      logits === undefined ? largest(expected) : Math.max(largest(expected), 2 * largest(logits.data));
    assertBelow(difference, tolerance.output(size), `${variant}: ${name}`);
    worst.note(name.split("/")[1] === "logits" ? "logits" : "outputs", difference);
  }
  for (const { name, expected, weights } of hidden) {
    const difference = maxDifference(result.outputs[name].data, expected, weights);
    assertBelow(difference, tolerance.output(largest(expected)), `${variant}: ${name}`);
    worst.note("hidden", difference);
  }
  await checkGradients(engine, json, tensors, { tolerance, worst, where: variant, isZero: keyBias });
}

/** Hidden states that the fixture holds, under our names, with the weights that say where they count. */
function hiddenOutputs(tensors, json) {
  const inputMask = tensors.get("step0/input/input_mask").data;
  const [rows, length] = tensors.get("step0/input/input_ids").shape;
  const result = [];
  for (const [key, { shape, data }] of tensors) {
    const match = /^step0\/hidden\/([^/]+)\/(.+)$/.exec(key);
    if (match === null) continue;
    const [, scope, what] = match;
    // A tied generator runs the discriminator's encoder: the fixture's scope is ambiguous there, the losses decide.
    if (json.config.untied_generator === false) continue;
    if (what === "all_layer_outputs") {
      const size = data.length / shape[0];
      for (let layer = 0; layer < shape[0]; layer++) {
        const expected = data.subarray(layer * size, (layer + 1) * size);
        result.push({ name: `hidden/${scope}/layer_${layer}`, expected, weights: inputMask });
      }
    } else if (what === "embedding_output" || what === "sequence_output") {
      result.push({ name: `hidden/${scope}/${what}`, expected: data, weights: inputMask });
    } else if (what === "attn_maps_layer0_row1") {
      // Compared on the queries and keys of batch row 1 that are real.
      const [heads] = shape;
      const expected = new Float32Array(rows * heads * length * length);
      const weights = new Float32Array(expected.length);
      const real = inputMask.subarray(length, 2 * length).reduce((sum, m) => sum + m, 0);
      for (let a = 0; a < heads; a++)
        for (let i = 0; i < real; i++)
          for (let j = 0; j < real; j++) {
            const to = ((heads + a) * length + i) * length + j;
            expected[to] = data[(a * length + i) * length + j];
            weights[to] = 1;
          }
      result.push({ name: `attention/${scope}/layer_0`, expected, weights });
    }
  }
  return result;
}

/** Every recorded step with its recorded choices: losses, global norm, rate. Leaves the engine after the last one. */
async function checkLaterSteps(engine, json, tensors, variant, tolerance, worst) {
  const { learningRateAt } = await load("hparams/learning-rate.js");
  const { config } = json;
  await loadWeights(engine, tensors, "init/", variant);
  await clearMoments(engine);
  for (const [index, step] of json.steps.entries()) {
    const prefix = `step${index}`;
    const learningRate = learningRateAt(scheduleOf(config), index);
    assert.ok(
      Math.abs(learningRate - step.lr) <= 2e-6 * Math.abs(step.lr) + 1e-7 * config.learning_rate,
      `${variant} ${prefix}: rate`,
    );
    const result = await engine.trainStep(batchOf(tensors, prefix), {
      step: index,
      learningRate,
      draws: sampledDraws(tensors, prefix),
    });
    checkStepLosses(result, step, tolerance.loss(index), worst, `${variant} ${prefix}`);
    const difference = relative(result.gradientNorm, step.global_norm);
    assertBelow(
      difference,
      tolerance.globalNorm(index),
      `${variant} ${prefix}: global norm ${result.gradientNorm}`,
    );
    worst.note("norm", difference);
  }
}

const scheduleOf = (config) => ({
  learningRate: config.learning_rate,
  numTrainSteps: config.num_train_steps,
  numWarmupSteps: config.num_warmup_steps,
  decayPower: config.lr_decay_power,
});

async function checkTrajectory(goldenDir, machine) {
  const { json, tensors } = await openVariant(goldenDir, "electra");
  const after = await readFixture(join(goldenDir, "pretrain", "electra.after.safetensors"));
  const { engine, tolerance } = await createEngine(json, "electra", machine);
  const worst = new Worst();
  try {
    await checkLaterSteps(engine, json, tensors, "electra", tolerance, worst);
    const updates = json.steps.length;
    const peak = Math.max(...json.steps.map((step) => step.lr));
    for (const { name } of json.variables) {
      const initial = tensors.get(`init/${name}`).data;
      checkWeights(name, await engine.readParameter(name), after.get(`after5/${name}`).data, initial, {
        learningRate: peak,
        updates,
        tolerance,
        worst,
        where: `after ${updates} steps`,
      });
      if (keyBias(name)) continue;
      for (const kind of ["adam_m", "adam_v"]) {
        const expected = after.get(`after5/${name}/${kind}`).data;
        const difference =
          maxDifference(await engine.readParameter(name, kind), expected) / largest(expected);
        assertBelow(difference, tolerance.moments(updates), `after ${updates} steps: ${kind} of ${name}`);
        worst.note(kind, difference);
      }
    }
    // One step from the initial weights with empty moments, at a step number whose rate is not zero.
    const { learningRateAt } = await load("hparams/learning-rate.js");
    await loadWeights(engine, tensors, "init/", "resumed");
    await clearMoments(engine);
    const resumed = json.resumed_step;
    const learningRate = learningRateAt(scheduleOf(json.config), resumed.start_global_step);
    const result = await engine.trainStep(batchOf(tensors, "step0"), {
      step: resumed.start_global_step,
      learningRate,
      draws: sampledDraws(tensors, "step0"),
    });
    checkStepLosses(result, resumed, tolerance.loss(0), worst, "resumed step");
    for (const { name } of json.variables) {
      const expected = after.get(`resumed_after1/${name}`).data;
      checkWeights(name, await engine.readParameter(name), expected, tensors.get(`init/${name}`).data, {
        learningRate,
        updates: 1,
        tolerance,
        worst,
        where: "resumed step",
      });
    }
    return worst.toString();
  } finally {
    await engine.dispose();
  }
}

async function checkEvaluation(goldenDir, machine) {
  const { json, tensors } = await openVariant(goldenDir, "electra");
  const expected = JSON.parse(await readFile(join(goldenDir, "pretrain", "electra.eval.json"), "utf8"));
  const recorded = await readFixture(join(goldenDir, "pretrain", "electra.eval.safetensors"));
  const { engine, tolerance } = await createEngine(json, "electra", machine);
  const { PretrainingMetrics } = await load("metrics/pretraining-metrics.js");
  const { evaluationOutputs, evaluationBatch } = await load("pretraining/evaluation-batch.js");
  const worst = new Worst();
  try {
    await loadWeights(engine, tensors, "init/", "evaluation");
    for (const [key, { data }] of recorded)
      if (key.startsWith("override/")) await engine.writeParameter(key.slice("override/".length), data);
    const metrics = new PretrainingMetrics();
    for (let index = 0; index < expected.batches; index++) {
      const batch = batchOf(recorded, `batch${index}`);
      const result = await engine.evaluate(batch, {
        draws: sampledDraws(recorded, `batch${index}`),
        outputs: evaluationOutputs("electra"),
      });
      const difference = relative(result.loss, expected.total_loss_per_batch[index]);
      assertBelow(difference, tolerance.loss(0), `batch ${index}: total loss`);
      worst.note("loss", difference);
      metrics.add(evaluationBatch(batch, result));
    }
    const actual = metrics.values(0);
    for (const [name, value] of Object.entries(expected.metrics)) {
      const difference = Math.abs(actual[name] - value);
      assertBelow(difference, tolerance.metric(name, value), `${name}: ${actual[name]}, expected ${value}`);
      worst.note("metrics", difference);
    }
    return worst.toString();
  } finally {
    await engine.dispose();
  }
}
