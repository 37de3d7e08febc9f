// Golden checks of everything that is a function of the settings alone: schedules, derived shapes, variable lists,
// masking counts, and the evaluation metrics fed with recorded outputs. All expectations are read from the folder.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

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

/** Each `run` returns what was measured, and throws where a value differs. */
export const checks = [
  { name: "tables/lr_schedules", run: checkSchedules },
  { name: "tables/layerwise_lr", run: checkLayerwiseRates },
  { name: "tables/generator_configs", run: checkConfigurations },
  { name: "tables/max_predictions", run: checkMaxPredictions },
  { name: "tables/masking", run: checkMasking },
  { name: "tables/finetune_defaults", run: checkFinetuneDefaults },
  { name: "tables/pretrain_variables", run: checkPretrainVariables },
  ...variants.map((variant) => ({
    name: `variables/${variant}`,
    run: (goldenDir) => checkVariant(goldenDir, variant),
  })),
  { name: "metrics/electra.eval", run: checkEvaluation },
];

async function readJson(goldenDir, path) {
  return JSON.parse(await readFile(join(goldenDir, path), "utf8"));
}

/** The README's tolerance for rates: 2e-6 relative and 1e-7 of the peak. Returns the relative difference. */
function compareRate(actual, expected, peak, where) {
  const difference = Math.abs(actual - expected);
  assert.ok(
    difference <= 2e-6 * Math.abs(expected) + 1e-7 * peak,
    `${where}: rate ${actual}, expected ${expected}`,
  );
  return expected === 0 ? difference / peak : difference / Math.abs(expected);
}

async function checkSchedules(goldenDir) {
  const { learningRateAt, effectiveWarmupSteps } = await load("hparams/learning-rate.js");
  const { schedules } = await readJson(goldenDir, "tables/lr_schedules.json");
  assert.ok(schedules.length > 0);
  let worst = 0;
  let count = 0;
  for (const [i, row] of schedules.entries()) {
    const schedule = {
      learningRate: row.learning_rate,
      numTrainSteps: row.num_train_steps,
      numWarmupSteps: row.warmup_steps,
      warmupProportion: row.warmup_proportion,
      decayPower: row.lr_decay_power,
    };
    assert.equal(effectiveWarmupSteps(schedule), row.effective_warmup_steps, `schedule ${i}: warm-up`);
    for (const [k, step] of row.steps.entries()) {
      const actual = learningRateAt(schedule, step);
      const where = `schedule ${i}, step ${step}`;
      count++;
      // 0 / 0 in the reference; a warm-up factor of 1 here, so the rate of the next step is not smaller by much.
      if (row.lr[k] === null) assert.ok(Number.isFinite(actual) && actual > 0, `${where}: rate ${actual}`);
      else worst = Math.max(worst, compareRate(actual, row.lr[k], row.learning_rate, where));
    }
  }
  return `${count} rates, max rel ${worst.toExponential(1)}`;
}

async function checkLayerwiseRates(goldenDir) {
  const { layerwiseMultiplier } = await load("hparams/layerwise-learning-rate.js");
  const { hasWeightDecay } = await load("hparams/pretraining-variables.js");
  const { learningRateAt } = await load("hparams/learning-rate.js");
  const { models } = await readJson(goldenDir, "tables/layerwise_lr.json");
  assert.ok(models.length > 0);
  let worst = 0;
  let count = 0;
  for (const { config, key_multipliers: keys, lr_at_step: rates, columns, variables } of models) {
    const decay = { decay: config.layerwise_lr_decay, numHiddenLayers: config.num_hidden_layers };
    const nameByKey = new Map();
    for (const row of variables) {
      const variable = Object.fromEntries(columns.map((column, i) => [column, row[i]]));
      const actual = layerwiseMultiplier(variable.name, decay);
      const relative = Math.abs(actual / variable.multiplier - 1);
      assert.ok(relative <= 1e-12, `${variable.name}: multiplier ${actual}, expected ${variable.multiplier}`);
      assert.equal(hasWeightDecay(variable.name), variable.weight_decay, `${variable.name}: weight decay`);
      nameByKey.set(variable.lr_key, variable.name);
      count++;
    }
    const schedule = {
      learningRate: config.learning_rate,
      numTrainSteps: config.num_train_steps,
      numWarmupSteps: config.num_warmup_steps ?? 0,
      warmupProportion: config.warmup_proportion,
    };
    for (const [step, expected] of Object.entries(rates)) {
      const byKey = typeof expected === "number" ? [[null, expected]] : Object.entries(expected);
      for (const [key, rate] of byKey) {
        // A key without a variable (embeddings_project of base) still has a multiplier.
        const name = nameByKey.get(key);
        const multiplier = name === undefined ? keys[key] : layerwiseMultiplier(name, decay);
        const actual = Math.fround(learningRateAt(schedule, Number(step)) * Math.fround(multiplier));
        worst = Math.max(worst, compareRate(actual, rate, config.learning_rate, `${key} at step ${step}`));
      }
    }
  }
  return `${count} variables equal, rates max rel ${worst.toExponential(1)}`;
}

/** Resolves settings as a run would, without the check of combinations where only shapes are wanted. */
async function resolve(hparams) {
  const { resolvePretrainingHparams } = await load("hparams/pretraining-hparams.js");
  return resolvePretrainingHparams({ dataDir: "data", modelName: "model", hparams }).hparams;
}

async function checkConfigurations(goldenDir) {
  const { discriminatorConfig, generatorConfig } = await load("hparams/transformer-config.js");
  const { columns, rows } = await readJson(goldenDir, "tables/generator_configs.json");
  assert.ok(rows.length > 0);
  const defaults = await resolve({});
  for (const [i, row] of rows.entries()) {
    // Some rows are shapes that cannot be built (width not divisible by heads), so they are derived, not resolved.
    const hparams = { ...defaults, embedding_size: row.embedding_size, ...row.hparams };
    const shape = (config) => columns.map((column) => config[column]);
    const given = JSON.stringify(row.hparams);
    assert.deepEqual(
      shape(discriminatorConfig(hparams)),
      row.discriminator,
      `row ${i} ${given}: discriminator`,
    );
    assert.deepEqual(shape(generatorConfig(hparams)), row.generator, `row ${i} ${given}: generator`);
    const {
      model_hparam_overrides: _,
      generator_hidden_size: __,
      generator_layers: ___,
      ...rest
    } = row.hparams;
    assert.equal((await resolve(rest)).embedding_size, row.embedding_size, `row ${i}: embedding size`);
  }
  return `${rows.length} pairs equal`;
}

async function checkMaxPredictions(goldenDir) {
  const { rows } = await readJson(goldenDir, "tables/max_predictions.json");
  assert.ok(rows.length > 0);
  for (const [mask_prob, max_seq_length, expected] of rows) {
    const hparams = await resolve({
      mask_prob,
      max_seq_length,
      model_hparam_overrides: { max_position_embeddings: Math.max(512, max_seq_length) },
    });
    assert.equal(hparams.max_predictions_per_seq, expected, `${mask_prob} of ${max_seq_length}`);
  }
  return `${rows.length} values equal`;
}

async function checkMasking(goldenDir) {
  const { maxPredictionsPerSequence, numberToPredict } = await load("hparams/masking-counts.js");
  const { counts, statistics } = await readJson(goldenDir, "tables/masking.json");
  assert.ok(counts.length > 0);
  let compared = 0;
  for (const row of counts) {
    const max = maxPredictionsPerSequence(row.mask_prob, row.max_seq_length);
    assert.equal(max, row.max_predictions_per_seq, `slots of ${row.mask_prob} × ${row.max_seq_length}`);
    for (const [i, tokens] of row.num_tokens.entries()) {
      const actual = numberToPredict(tokens, row.mask_prob, max);
      assert.equal(actual, row.num_to_predict[i], `${tokens} tokens at ${row.mask_prob}`);
      compared++;
    }
  }
  const countFor = (tokens, length, maskProb) =>
    numberToPredict(tokens, maskProb, maxPredictionsPerSequence(maskProb, length));
  const shares = [...new Set([0.15, 0.25, ...counts.map((row) => row.mask_prob)])];
  return `${compared} counts equal, ${checkMaskingStatistics(statistics, countFor, shares)}`;
}

/**
 * What the counts imply for the recorded draws: k draws with replacement from c candidates pick each with
 * 1 − (1 − 1/c)^k, and a pick becomes [MASK] unless all its draws keep it. Six standard deviations are allowed.
 */
function checkMaskingStatistics(statistics, countFor, shares) {
  const { batch, candidates, trials, picks_per_position: picks } = statistics;
  const total = statistics.unique_picks_per_batch + statistics.duplicate_draws_per_batch;
  const rows = batch.input_mask.map((mask, row) => ({
    tokens: mask.reduce((sum, bit) => sum + bit, 0),
    length: mask.length,
    candidates: candidates[row].reduce((sum, bit) => sum + bit, 0),
  }));
  const drawsAt = (maskProb) => rows.map(({ tokens, length }) => countFor(tokens, length, maskProb));
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  // The file does not say which mask_prob the draws used; the number of draws of a batch tells.
  const maskProb = shares.find((share) => Math.abs(sum(drawsAt(share)) - total) < 1e-6);
  assert.notEqual(maskProb, undefined, `${total} draws a batch fit no mask_prob`);
  const draws = drawsAt(maskProb);
  let worst = 0;
  let picked = 0;
  let kept = 0;
  for (const [row, { candidates: c }] of rows.entries()) {
    const missed = (1 - 1 / c) ** draws[row];
    const chance = 1 - missed;
    picked += c * chance;
    kept += c * ((1 - 0.85 / c) ** draws[row] - missed);
    for (const [position, count] of picks[row].entries()) {
      if (!candidates[row][position]) {
        assert.equal(count, 0, `row ${row}, position ${position} is no candidate`);
        continue;
      }
      const sigmas = Math.abs(count - trials * chance) / Math.sqrt(trials * chance * missed);
      assert.ok(sigmas < 6, `row ${row}, position ${position}: ${count} picks, ${trials * chance} expected`);
      worst = Math.max(worst, sigmas);
    }
  }
  const share = 1 - kept / picked;
  const sigma = Math.sqrt((share * (1 - share)) / (trials * picked));
  const measured = statistics.share_of_unique_picks_replaced_by_mask;
  assert.ok(Math.abs(measured - share) < 6 * sigma, `share of [MASK] ${measured}, expected ${share}`);
  return `draws within ${worst.toFixed(1)} sigma`;
}

function initializerText({ kind, stddev }) {
  return kind === "truncated_normal" ? `truncated_normal(stddev=${stddev}, cut at 2 stddev)` : kind;
}

async function checkPretrainVariables(goldenDir) {
  const { countParameters, pretrainingVariables } = await load("hparams/pretraining-variables.js");
  const golden = await readJson(goldenDir, "tables/pretrain_variables.json");
  const actual = pretrainingVariables(await resolve(golden.hparams));
  const expected = golden.variables.map((row) =>
    Object.fromEntries(golden.columns.map((column, i) => [column, row[i]])),
  );
  assert.deepEqual(
    actual.map((v) => [v.name, v.shape, initializerText(v.initializer)]),
    expected.map((v) => [v.name, v.shape, v.initializer]),
  );
  assert.equal(countParameters(actual), golden.parameters);
  for (const [i, { shape, initializer }] of actual.entries()) {
    const [inputs, outputs] = shape;
    const bound = {
      zeros: 0,
      ones: 1,
      glorot_uniform: Math.sqrt(6 / (inputs + outputs)),
      truncated_normal: 2 * initializer.stddev,
    }[initializer.kind];
    assert.ok(expected[i].max_abs <= bound * (1 + 1e-6), `${expected[i].name}: beyond ${bound}`);
  }
  return `${actual.length} variables, ${golden.parameters} parameters equal`;
}

async function checkVariant(goldenDir, variant) {
  const { pretrainingVariables } = await load("hparams/pretraining-variables.js");
  const { discriminatorConfig, generatorConfig } = await load("hparams/transformer-config.js");
  const { learningRateAt } = await load("hparams/learning-rate.js");
  const golden = await readJson(goldenDir, `pretrain/${variant}.json`);
  const { max_predictions_per_seq: slots, ...given } = golden.config;
  const hparams = await resolve(given);
  for (const [name, value] of Object.entries(given)) assert.deepEqual(hparams[name], value, name);
  assert.equal(hparams.max_predictions_per_seq, slots, "max_predictions_per_seq");
  const withoutEmbedding = ({ embedding_size: _, ...config }) => config;
  assert.deepEqual(withoutEmbedding(discriminatorConfig(hparams)), golden.bert_config);
  assert.deepEqual(withoutEmbedding(generatorConfig(hparams)), golden.generator_config);
  const variables = pretrainingVariables(hparams);
  assert.deepEqual(
    variables.map((v) => [v.name, v.shape, v.weightDecay]),
    golden.variables.map((v) => [v.name, v.shape, v.weight_decay]),
  );
  const schedule = {
    learningRate: hparams.learning_rate,
    numTrainSteps: hparams.num_train_steps,
    numWarmupSteps: hparams.num_warmup_steps,
    decayPower: hparams.lr_decay_power,
  };
  const rates = golden.steps.map(({ lr }, step) => [step, lr]);
  if (golden.resumed_step) rates.push([golden.resumed_step.start_global_step, golden.resumed_step.lr]);
  let worst = 0;
  for (const [step, rate] of rates) {
    const actual = learningRateAt(schedule, step);
    worst = Math.max(worst, compareRate(actual, rate, hparams.learning_rate, `step ${step}`));
  }
  return `${variables.length} variables equal, lr max rel ${worst.toExponential(1)}`;
}

/** Tensors of a safetensors file by name: shape and plain array of numbers. Independent of the reader under test. */
async function readTensors(path) {
  const file = await readFile(path);
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerBytes));
  const data = file.subarray(8 + headerBytes);
  const readers = { F32: "readFloatLE", I32: "readInt32LE" };
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const values = [];
    for (let at = offsets[0]; at < offsets[1]; at += 4) values.push(data[readers[dtype]](at));
    tensors[name] = { shape, values };
  }
  return tensors;
}

async function checkEvaluation(goldenDir) {
  const { PretrainingMetrics } = await load("metrics/pretraining-metrics.js");
  const golden = await readJson(goldenDir, "pretrain/electra.eval.json");
  const tensors = await readTensors(join(goldenDir, "pretrain/electra.eval.safetensors"));
  const padded = new PretrainingMetrics();
  const packed = new PretrainingMetrics();
  for (let b = 0; b < golden.batches; b++) {
    const get = (name) => tensors[`batch${b}/eval/${name}`].values;
    const slots = {
      weights: get("masked_lm_weights"),
      losses: get("mlm_loss"),
      predictions: get("masked_lm_preds"),
      targets: get("masked_lm_ids"),
      sampled: get("sampled_tokids"),
    };
    const mask = get("input_mask");
    const real = (values) => values.filter((_, i) => mask[i] === 1);
    const tokens = {
      probabilities: get("disc_probs"),
      predictions: get("disc_preds"),
      labels: get("disc_labels"),
      exampleLosses: get("disc_loss"),
    };
    const totalLoss = golden.total_loss_per_batch[b];
    padded.add({ totalLoss, slots, tokens: { ...tokens, mask } });
    packed.add({
      totalLoss,
      slots,
      tokens: {
        probabilities: real(tokens.probabilities),
        labels: real(tokens.labels),
        exampleLosses: tokens.exampleLosses,
        droppedPadding: mask.length - real(mask).length,
      },
    });
  }
  const expected = {
    ...golden.metrics,
    loss: golden.total_loss_per_batch.reduce((sum, loss) => sum + loss, 0) / golden.batches,
    global_step: 5,
  };
  let worst = 0;
  for (const [kind, metrics] of Object.entries({ padded, packed })) {
    const actual = metrics.values(5);
    for (const [name, value] of Object.entries(expected)) {
      const difference = Math.abs(actual[name] - value);
      assert.ok(
        difference <= 1e-6 * Math.max(1, Math.abs(value)),
        `${kind} ${name}: ${actual[name]}, expected ${value}`,
      );
      worst = Math.max(worst, difference / Math.max(1e-3, Math.abs(value)));
    }
  }
  return `${Object.keys(expected).length} metrics, max rel ${worst.toExponential(1)}`;
}

async function checkFinetuneDefaults(goldenDir) {
  const { finetuningSteps, paddedExampleCount, resolveFinetuningHparams } = await load(
    "hparams/finetuning-hparams.js",
  );
  const { columns, rows, train_steps: steps } = await readJson(goldenDir, "tables/finetune_defaults.json");
  assert.ok(rows.length > 0 && steps.rows.length > 0, "the fixture is empty");
  const record = (names, row) => Object.fromEntries(names.map((name, i) => [name, row[i]]));
  for (const row of rows) {
    const { model_size, task, ...expected } = record(columns, row);
    const { hparams } = resolveFinetuningHparams({
      dataDir: "d",
      modelName: "m",
      hparams: { model_size, task_names: task.split(",") },
    });
    for (const [name, value] of Object.entries(expected)) {
      assert.equal(hparams[name], value, `${model_size} ${task} ${name}`);
    }
  }
  for (const row of steps.rows) {
    const expected = record(steps.columns, row);
    const padded = paddedExampleCount(expected.examples, expected.batch_size);
    assert.equal(padded, expected.examples_with_padding, `${expected.examples} examples with padding`);
    const settings = { train_batch_size: expected.batch_size, num_train_epochs: expected.epochs };
    const got = finetuningSteps(expected.examples, settings);
    assert.equal(got, expected.steps, `steps for ${expected.examples} examples`);
  }
  return `${rows.length} configurations of ${columns.length - 2} values, ${steps.rows.length} lengths of training`;
}
