#!/usr/bin/env node
// Trains one model on the CPU and on another device, with the same seed, batches and dropout, and compares step by step.
//
//   node scripts/compare-devices.mjs [--device cuda:0|cuda|emulated|cpu] [--precision f32|bf16] [--model tiny|small|base]
//        [--steps 50] [--free-steps 20] [--learning-rate 2e-4] [--rows N] [--length N] [--seed 1] [--threads N] [--json FILE]
//
// First the device is given the ids that the CPU sampled: losses must agree to 1e-4 in f32. Then it samples by itself
// from the CPU's weights: ids must be the same but for ties closer than 1e-4. Ends with `N passed, N failed`.
//
// Rounding errors grow with the rate as well as with the steps: at 2e-4 the tiny model's weights move by a quarter of
// their size in 200 steps and two roundings of the same arithmetic stay within 1e-6; at 1e-3 they part after 40 steps.
//
// --device cpu compares the CPU with itself, with other products and instructions (--gemm, --isa): how much of a
// difference is nothing but rounding.
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { compareTraining } from "../test/training-agreement/compare-training.mjs";
import { agreementModel, modelNames } from "../test/training-agreement/models.mjs";

function usage(message) {
  console.error(`compare-devices: ${message}`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      options: {
        device: { type: "string", default: "cuda:0" },
        precision: { type: "string", default: "f32" },
        model: { type: "string", default: "tiny" },
        steps: { type: "string", default: "50" },
        "free-steps": { type: "string", default: "20" },
        "learning-rate": { type: "string", default: "2e-4" },
        rows: { type: "string" },
        length: { type: "string" },
        seed: { type: "string", default: "1" },
        threads: { type: "string", default: String(availableParallelism()) },
        gemm: { type: "string", default: "built-in" },
        isa: { type: "string", default: "avx2" },
        json: { type: "string" },
      },
    }).values;
  } catch (error) {
    return usage(error.message);
  }
}

const options = parse();

function count(name, least) {
  if (options[name] === undefined) return undefined;
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < least)
    usage(`--${name} is ${options[name]}; it must be a whole number of at least ${least}`);
  return value;
}

if (!modelNames.includes(options.model))
  usage(`--model is ${options.model}; it must be one of ${modelNames.join(", ")}`);
if (!["f32", "bf16"].includes(options.precision))
  usage(`--precision is ${options.precision}; it must be f32 or bf16`);
const learningRate = Number(options["learning-rate"]);
if (!(learningRate > 0))
  usage(`--learning-rate is ${options["learning-rate"]}; it must be a positive number`);

const threads = count("threads", 1);
const seed = count("seed", 0);
const { model, rows, length } = await agreementModel({
  name: options.model,
  rows: count("rows", 1),
  length: count("length", 8),
});
const device =
  options.device === "cpu"
    ? { device: "cpu", threads, gemm: options.gemm, isa: options.isa }
    : { device: options.device, threads, precision: options.precision };

console.log(
  `${options.model}, ${rows} x ${length}, ${options.precision}, learning rate ${learningRate}: cpu against ${options.device}`,
);
const begin = performance.now();
let result;
try {
  result = await compareTraining({
    model,
    rows,
    length,
    steps: count("steps", 1),
    freeSteps: count("free-steps", 0),
    learningRate,
    seed,
    precision: options.precision,
    reference: { device: "cpu", threads },
    device,
    print: (line) => console.log(line),
  });
} catch (error) {
  console.error(`compare-devices: ${error.code ? `${error.code}: ` : ""}${error.message ?? error}`);
  console.log("0 passed, 1 failed");
  process.exit(1);
}
const seconds = (performance.now() - begin) / 1000;

const { injected, free } = result;
const parts = [
  [
    `losses of ${injected.steps} steps, sampled ids injected`,
    injected.failures,
    `generator ${injected.worst.generator.toExponential(1)}, discriminator ${injected.worst.discriminator.toExponential(1)}, ` +
      `gradient norm ${injected.worst.norm.toExponential(1)}; weights moved by ${(100 * injected.weights.movement).toFixed(1)} %`,
  ],
];
if (free !== undefined)
  parts.push([
    `samples of ${free.steps} steps, sampling free`,
    free.failures,
    `${free.flips.length} flips in ${free.slots} slots, largest gap ${free.largestGap.toExponential(1)}`,
  ]);
for (const [name, failures, measured] of parts) {
  console.log(`${failures.length === 0 ? "PASS" : "FAIL"} ${name}: ${measured}`);
  for (const failure of failures) console.log(`  ${failure}`);
}
if (options.json !== undefined)
  writeFileSync(
    options.json,
    `${JSON.stringify({ ...options, rows, length, seconds, ...result }, null, 2)}\n`,
  );
const failed = parts.filter(([, failures]) => failures.length > 0).length;
console.log(`${parts.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
