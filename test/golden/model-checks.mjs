// What golden checks of models have in common: weights in, batches in, and how numbers are compared.
import assert from "node:assert/strict";

/** Largest differences seen, by quantity, for the report. */
export class Worst {
  values = new Map();
  note(quantity, value) {
    this.values.set(quantity, Math.max(value, this.values.get(quantity) ?? 0));
  }
  toString() {
    return [...this.values].map(([name, value]) => `${name} ${value.toPrecision(2)}`).join(" ");
  }
}

export async function loadWeights(engine, tensors, prefix, where) {
  const names = new Set(engine.parameters().map((parameter) => parameter.name));
  for (const [key, { data }] of tensors) {
    if (
      !key.startsWith(prefix) ||
      key.endsWith("/adam_m") ||
      key.endsWith("/adam_v") ||
      key.endsWith("global_step")
    )
      continue;
    const name = key.slice(prefix.length);
    assert.ok(names.delete(name), `${where}: the engine has no variable ${name}`);
    await engine.writeParameter(name, data);
  }
  assert.deepEqual([...names], [], `${where}: variables of the engine that the fixture lacks`);
}

export function batchOf(tensors, prefix) {
  const ids = tensors.get(`${prefix}/input/input_ids`);
  const mask = tensors.get(`${prefix}/input/input_mask`).data;
  const [rows, length] = ids.shape;
  const lengths = new Int32Array(rows);
  for (let b = 0; b < rows; b++) {
    for (let i = 0; i < length; i++) lengths[b] += mask[b * length + i];
    for (let i = 0; i < lengths[b]; i++)
      assert.equal(mask[b * length + i], 1, "input_mask must be a prefix of ones");
  }
  return {
    inputIds: ids.data,
    lengths,
    segmentIds: tensors.get(`${prefix}/input/segment_ids`).data,
    rows,
    length,
  };
}

export function relative(actual, expected) {
  return Math.abs(actual - expected) / Math.max(Math.abs(expected), 1e-12);
}

/** Largest absolute difference over the entries whose weight (repeated over the last dimensions) is not zero. */
export function maxDifference(actual, expected, weights) {
  assert.equal(actual.length, expected.length, "array length");
  const repeat = weights === undefined ? 1 : expected.length / weights.length;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (weights !== undefined && weights[Math.floor(i / repeat)] === 0) continue;
    const difference = Math.abs(actual[i] - expected[i]);
    assert.ok(!Number.isNaN(difference), "NaN");
    if (difference > worst) worst = difference;
  }
  return worst;
}

export function assertEqualWhere(actual, expected, weights, what) {
  const repeat = weights === undefined ? 1 : expected.length / weights.length;
  for (let i = 0; i < expected.length; i++) {
    if (weights !== undefined && weights[Math.floor(i / repeat)] === 0) continue;
    assert.equal(actual[i], expected[i], `${what}: entry ${i}`);
  }
}

export function assertBelow(value, bound, what) {
  assert.ok(value <= bound, `${what}: difference ${value.toPrecision(3)}, allowed ${bound.toPrecision(3)}`);
}

export function largest(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** Gradients whose true value is zero are rounding noise: a key bias shifts all scores of a query alike. */
export const keyBias = (name) => name.endsWith("attention/self/key/bias");

/** The engine's gradients against `grad0/` and the recorded norms of every variable. `isZero`: see {@link keyBias}. */
export async function checkGradients(engine, json, tensors, { tolerance, worst, where, isZero }) {
  const globalNorm = json.steps[0].global_norm;
  for (const { name, has_gradient: hasGradient } of json.variables) {
    const actual = await engine.readParameter(name, "gradient");
    const norm = Math.sqrt(actual.reduce((sum, g) => sum + g * g, 0));
    const expectedNorm = json.steps[0].grad_norms[name];
    if (hasGradient === false) {
      assert.equal(norm, 0, `${where}: ${name} has no gradient in the reference`);
      continue;
    }
    if (isZero(name)) {
      assertBelow(norm / globalNorm, tolerance.zeroGradient, `${where}: gradient of ${name}, which is zero`);
      continue;
    }
    assertBelow(
      Math.abs(norm - expectedNorm) / Math.max(expectedNorm, tolerance.gradientNormFloor * globalNorm),
      tolerance.gradientNorm,
      `${where}: gradient norm of ${name}`,
    );
    const expected = tensors.get(`grad0/${name}`)?.data;
    if (expected === undefined) continue;
    const peak = expected.reduce((max, g) => Math.max(max, Math.abs(g)), 0);
    const difference = maxDifference(actual, expected) / Math.max(peak, 1e-9 * globalNorm);
    assertBelow(difference, tolerance.gradient, `${where}: gradient of ${name}`);
    worst.note("grad", difference);
  }
}

export async function clearMoments(engine) {
  for (const { name, elements } of engine.parameters())
    for (const kind of ["adam_m", "adam_v"])
      await engine.writeParameter(name, new Float32Array(elements), kind);
}

/**
 * Weights after updates against the reference's: single elements against the learning rate, and all of a variable against
 * its change.
 */
export function checkWeights(
  name,
  actual,
  expected,
  initial,
  { learningRate, updates, tolerance, worst, where, isZero = keyBias },
) {
  let squaredDifference = 0;
  let squaredChange = 0;
  let farthest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = actual[i] - expected[i];
    squaredDifference += difference * difference;
    squaredChange += (expected[i] - initial[i]) ** 2;
    farthest = Math.max(farthest, Math.abs(difference));
  }
  assertBelow(
    farthest / learningRate,
    tolerance.weightsPerRate(updates),
    `${where}: ${name} against the learning rate`,
  );
  worst.note("weights/lr", farthest / learningRate);
  // The update of a gradient that is zero but for rounding is rounding too.
  if (isZero(name) || squaredChange === 0) return;
  const rms = Math.sqrt(squaredDifference / squaredChange);
  assertBelow(rms, tolerance.weightsRms, `${where}: ${name}, rms against its change`);
  worst.note("weights", rms);
}
