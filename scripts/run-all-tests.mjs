// Runs every kind of test and ends with `N passed, N failed, N skipped`, the reason of each skip before it.
//   node scripts/run-all-tests.mjs [stage …]     stages: lint types native emulated golden mutations unit e2e
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runNode, runVitest } from "./run-vitest.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A check that passes or fails as a whole. */
async function runCheck(args) {
  const { ok } = await runNode(args);
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skips: [] };
}

/** The tests of a folder, if there is one. */
async function runFolder(folder) {
  return existsSync(join(root, folder)) ? await runVitest([folder]) : { passed: 0, failed: 0, skips: [] };
}

/** A script whose last line of the form `N passed, N failed …` counts all of its parts. */
async function runCounting(script, args = []) {
  if (!existsSync(join(root, script))) {
    return { passed: 0, failed: 1, skips: [], note: `${script} is missing` };
  }
  const { ok, ending, output } = await runNode([script, ...args]);
  const lines = output.split("\n");
  const counts = lines.flatMap((line) => {
    const match = /^(\d+) passed, (\d+) failed\b/.exec(line);
    return match === null ? [] : [{ passed: Number(match[1]), failed: Number(match[2]) }];
  });
  const { passed, failed } = counts.at(-1) ?? { passed: 0, failed: 0 };
  return {
    passed,
    failed: failed === 0 && (!ok || counts.length === 0) ? 1 : failed,
    skips: lines.filter((line) => /^(SKIP|NOT LANDED)\b/.test(line)),
    ...(ok || failed > 0 ? {} : { note: `${script} ended with ${ending}` }),
  };
}

/** Native tests are built with CMake alone; the addon can do without it. */
async function runBuilt(name, script, args = []) {
  const { status } = spawnSync("cmake", ["--version"], { stdio: "ignore" });
  if (status !== 0) return { passed: 0, failed: 0, skips: [`${name}: cmake was not found`] };
  return await runCounting(script, args);
}

/** The CPU, then the CUDA backend on its emulator, in both precisions. */
async function runGolden() {
  const parts = [
    await runCounting("scripts/test-golden.mjs"),
    await runCounting("scripts/test-golden.mjs", ["--device", "emulated", "--precision", "f32"]),
    await runCounting("scripts/test-golden.mjs", ["--device", "emulated", "--precision", "bf16"]),
  ];
  const note = parts.find((part) => part.note !== undefined)?.note;
  return {
    passed: parts.reduce((total, { passed }) => total + passed, 0),
    failed: parts.reduce((total, { failed }) => total + failed, 0),
    skips: [...new Set(parts.flatMap(({ skips }) => skips))],
    ...(note === undefined ? {} : { note }),
  };
}

const stages = {
  lint: () => runCheck([join(root, "node_modules", "@biomejs", "biome", "bin", "biome"), "check", "."]),
  types: () => runCheck([join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.test.json"]),
  native: () => runBuilt("native", "scripts/test-native.mjs"),
  emulated: () => runBuilt("emulated", "scripts/test-emulated.mjs"),
  golden: runGolden,
  mutations: () => runBuilt("mutations", "scripts/test-mutations.mjs", ["--count", "2", "--no-build"]),
  unit: () => runFolder("test/unit"),
  e2e: () => runFolder("test/e2e"),
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(stages, name));
if (unknown.length > 0) {
  console.error(`unknown stage ${unknown.join(", ")}; there are ${Object.keys(stages).join(", ")}`);
  process.exit(2);
}

const total = { passed: 0, failed: 0 };
const skips = [];
const table = [];
for (const name of asked.length > 0 ? asked : Object.keys(stages)) {
  console.log(`\n== ${name}`);
  const started = Date.now();
  const result = await stages[name]();
  total.passed += result.passed;
  total.failed += result.failed;
  skips.push(...result.skips);
  if (result.note !== undefined) console.log(`${name}: ${result.note}`);
  table.push([name, result, (Date.now() - started) / 1000]);
}

console.log();
for (const [name, { passed, failed, skips: skipped }, seconds] of table) {
  console.log(
    `${name.padEnd(8)} ${String(passed).padStart(5)} passed  ${String(failed).padStart(3)} failed  ${String(skipped.length).padStart(3)} skipped  ${seconds.toFixed(0).padStart(4)} s`,
  );
}
if (skips.length > 0) console.log("\nskipped:");
for (const reason of skips) console.log(`  ${reason}`);
console.log(`\n${total.passed} passed, ${total.failed} failed, ${skips.length} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
