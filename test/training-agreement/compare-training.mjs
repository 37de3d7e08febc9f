// Trains one model on two devices with the same seed and batches and compares. No test framework, so that a machine
// without one can do it too.
//
// Two runs. In the first the device is given the ids that the CPU sampled: discrete choices then agree, and what is left
// are rounding errors, which training must not blow up. In the second the device samples by itself, from the CPU's
// weights at each step, so that a different id means a tie that rounding decided, or an error.
import { gumbelScores } from "./gumbel-scores.mjs";
import { agreementBatch, load } from "./models.mjs";

/** Bounds by precision: f32 is the requirement; bf16 keeps 8 bits, so losses may differ by a few of its last places. */
export const bounds = {
  f32: { loss: 1e-4, tie: 1e-4 },
  bf16: { loss: 4 * 2 ** -8, tie: Number.POSITIVE_INFINITY },
};
/** Weights must have moved by this part of their own size, or the comparison compares initial values. */
const leastMovement = 0.05;

const relative = (a, b) => Math.abs(a - b) / Math.max(Math.abs(b), 1e-12);
const rms = (sum, count) => Math.sqrt(sum / Math.max(count, 1));

/**
 * @param {{
 *   model: object, rows: number, length: number, steps: number, freeSteps: number, learningRate: number, seed: number,
 *   precision: "f32" | "bf16", reference: object, device: object, print?: (line: string) => void
 * }} options `reference` and `device` are what Engine.create is given besides model and seed
 */
export async function compareTraining(options) {
  const injected = await compareInjected(options);
  const free = options.freeSteps > 0 ? await compareFree(options) : undefined;
  return { injected, free, passed: injected.failures.length === 0 && (free?.failures.length ?? 0) === 0 };
}

async function openEngines({ model, seed, reference, device }) {
  const { Engine } = await load("engine/engine.js");
  const cpu = await Engine.create({ model, seed, ...reference });
  try {
    return { cpu, other: await Engine.create({ model, seed, ...device }) };
  } catch (error) {
    await cpu.dispose();
    throw error;
  }
}

async function withEngines(options, use) {
  const engines = await openEngines(options);
  try {
    return await use(engines);
  } finally {
    await Promise.all([engines.cpu.dispose(), engines.other.dispose()]);
  }
}

function lossDifferences(cpu, other) {
  return {
    generator: relative(other.generatorLoss, cpu.generatorLoss),
    discriminator: relative(other.discriminatorLoss, cpu.discriminatorLoss),
    norm: relative(other.gradientNorm, cpu.gradientNorm),
  };
}

/** Equal initial weights on both, or nothing that follows means anything. Rounding may differ where a device draws them. */
async function checkSameStart({ cpu, other }) {
  let largest = 0;
  for (const { name } of cpu.parameters()) {
    const [a, b] = await Promise.all([cpu.readParameter(name), other.readParameter(name)]);
    for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] - b[i]));
    // Written so that NaN fails.
    if (!(largest <= 1e-6)) throw new Error(`the devices start with different weights: ${name}`);
  }
  if (largest > 0) await copyState(cpu, other);
}

async function compareInjected(options) {
  const { model, rows, length, steps, learningRate, precision, print = () => {} } = options;
  const bound = bounds[precision];
  return withEngines(options, async (engines) => {
    const { cpu, other } = engines;
    await checkSameStart(engines);
    const initial = new Map();
    for (const { name } of cpu.parameters()) initial.set(name, await cpu.readParameter(name));
    const failures = [];
    const worst = { generator: 0, discriminator: 0, norm: 0, step: 0 };
    const trace = [];
    for (let step = 0; step < steps; step++) {
      const batch = await agreementBatch({ model, rows, length, step });
      const expected = await cpu.trainStep(batch, { step, learningRate, outputs: ["fake/sampled_ids"] });
      const sampledIds = expected.outputs["fake/sampled_ids"].data;
      const actual = await other.trainStep(batch, { step, learningRate, draws: { sampledIds } });
      const difference = lossDifferences(expected, actual);
      trace.push({
        step,
        generatorLoss: [expected.generatorLoss, actual.generatorLoss],
        discriminatorLoss: [expected.discriminatorLoss, actual.discriminatorLoss],
        gradientNorm: [expected.gradientNorm, actual.gradientNorm],
      });
      const largest = Math.max(difference.generator, difference.discriminator);
      if (!(largest <= Math.max(worst.generator, worst.discriminator))) worst.step = step;
      for (const name of ["generator", "discriminator", "norm"])
        worst[name] = Math.max(worst[name], difference[name]);
      // Written so that NaN fails.
      if (!(largest <= bound.loss) && failures.length < 5)
        failures.push(`step ${step}: losses differ by ${largest.toExponential(2)}, allowed ${bound.loss}`);
      if (step === 0 || (step + 1) % Math.max(1, Math.floor(steps / 10)) === 0)
        print(
          `step ${step}: generator ${expected.generatorLoss.toFixed(5)} (${difference.generator.toExponential(1)}), ` +
            `discriminator ${expected.discriminatorLoss.toFixed(5)} (${difference.discriminator.toExponential(1)})`,
        );
    }
    const weights = await weightMovement(engines, initial);
    if (!(weights.movement >= leastMovement))
      failures.push(
        `weights moved by ${(100 * weights.movement).toFixed(2)} % of their size only; raise the learning rate`,
      );
    print(
      `weights moved by ${(100 * weights.movement).toFixed(1)} % of their size (rms ${weights.rmsChange.toExponential(2)}); ` +
        `the devices' differ by ${(100 * weights.disagreement).toFixed(3)} % of that`,
    );
    return { steps, worst, weights, failures, trace };
  });
}

/** How far the weights went, and how far apart the devices came, as root mean squares. */
async function weightMovement({ cpu, other }, initial) {
  let changed = 0;
  let apart = 0;
  let size = 0;
  let count = 0;
  for (const [name, before] of initial) {
    const [a, b] = await Promise.all([cpu.readParameter(name), other.readParameter(name)]);
    for (let i = 0; i < a.length; i++) {
      changed += (a[i] - before[i]) ** 2;
      apart += (a[i] - b[i]) ** 2;
      size += before[i] ** 2;
    }
    count += a.length;
  }
  return {
    rmsChange: rms(changed, count),
    rmsDifference: rms(apart, count),
    movement: Math.sqrt(changed / size),
    disagreement: Math.sqrt(apart / Math.max(changed, Number.MIN_VALUE)),
  };
}

async function compareFree(options) {
  const { model, rows, length, freeSteps, learningRate, seed, precision, print = () => {} } = options;
  const bound = bounds[precision];
  return withEngines(options, async ({ cpu, other }) => {
    const failures = [];
    const flips = [];
    let slots = 0;
    let logitDifference = 0;
    for (let step = 0; step < freeSteps; step++) {
      const batch = await agreementBatch({ model, rows, length, step });
      const settings = {
        step,
        learningRate,
        outputs: ["masked/positions", "masked/weights", "fake/sampled_ids", "mlm/logits"],
      };
      const [expected, actual] = await Promise.all([
        cpu.trainStep(batch, settings),
        other.trainStep(batch, settings),
      ]);
      const found = await compareSamples({ model, seed, step, expected, actual });
      slots += found.slots;
      flips.push(...found.flips);
      failures.push(...found.failures);
      logitDifference = Math.max(logitDifference, found.logitDifference);
      if (step + 1 < freeSteps) await copyState(cpu, other);
    }
    const wrong = flips.filter(({ gap }) => !(Math.abs(gap) < bound.tie));
    for (const flip of wrong.slice(0, 5))
      failures.push(
        `step ${flip.step}, row ${flip.row}, slot ${flip.slot}: sampled ${flip.other} instead of ${flip.cpu}, whose score is ` +
          `${flip.gap.toExponential(2)} higher`,
      );
    const largestGap = flips.reduce((largest, { gap }) => Math.max(largest, Math.abs(gap)), 0);
    print(
      `sampling free: ${slots} slots in ${freeSteps} steps, ${flips.length} flips, largest score gap ` +
        `${largestGap.toExponential(1)}, logits within ${logitDifference.toExponential(1)}`,
    );
    return { steps: freeSteps, slots, flips, largestGap, logitDifference, failures };
  });
}

/** Compares the samples of one step; masked positions are drawn from counters and must be the same. */
async function compareSamples({ model, seed, step, expected, actual }) {
  const failures = [];
  const flips = [];
  const vocabulary = model.discriminator.vocab_size;
  const slotsPerRow = model.max_predictions_per_seq;
  const scores = await gumbelScores({ seed, step, vocabulary, slotsPerRow, temperature: model.temperature });
  const of = (result, name) => result.outputs[name].data;
  const weights = of(expected, "masked/weights");
  const [ids, otherIds] = [of(expected, "fake/sampled_ids"), of(actual, "fake/sampled_ids")];
  const [logits, otherLogits] = [of(expected, "mlm/logits"), of(actual, "mlm/logits")];
  const [positions, otherPositions] = [of(expected, "masked/positions"), of(actual, "masked/positions")];
  const otherWeights = of(actual, "masked/weights");
  let slots = 0;
  let logitDifference = 0;
  for (let k = 0; k < weights.length; k++) {
    if (weights[k] !== otherWeights[k] || (weights[k] > 0 && positions[k] !== otherPositions[k])) {
      failures.push(`step ${step}: slot ${k} is masked at another place`);
      break;
    }
    if (weights[k] === 0) continue;
    const row = Math.floor(k / slotsPerRow);
    const own = logits.subarray(k * vocabulary, (k + 1) * vocabulary);
    for (let v = 0; v < vocabulary; v++)
      logitDifference = Math.max(logitDifference, Math.abs(own[v] - otherLogits[k * vocabulary + v]));
    const slot = k % slotsPerRow;
    // Gaps are only worth something if these scores are those that the engine sampled by.
    if (slots++ === 0 && scores.best(own, row, slot) !== ids[k])
      failures.push(`step ${step}: the scores worked out here do not lead to the CPU's sample ${ids[k]}`);
    if (ids[k] === otherIds[k]) continue;
    const gap = scores.score(own, row, slot, ids[k]) - scores.score(own, row, slot, otherIds[k]);
    flips.push({ step, row, slot, cpu: ids[k], other: otherIds[k], gap });
  }
  return { slots, flips, failures, logitDifference };
}

/** Sets the other device's weights and moments to the CPU's. */
async function copyState(cpu, other) {
  const kinds = ["value", "adam_m", "adam_v"];
  await Promise.all(
    cpu
      .parameters()
      .flatMap(({ name }) =>
        kinds.map(async (kind) => other.writeParameter(name, await cpu.readParameter(name, kind), kind)),
      ),
  );
}
