// Runs every kind of test and ends with `N passed, N failed, N skipped`, the reason of each skip before it.
//   node scripts/run-all-tests.mjs [stage …]     stages: lint types native emulated golden mutations unit e2e
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const scratch = mkdtempSync(join(tmpdir(), "electra-tests-"));
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");

/** Runs a Node script, showing what it prints and keeping what it prints to stdout. */
function runNode(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8");
    child.stdout.on("data", (text) => {
      output += text;
      process.stdout.write(text);
    });
    child.on("error", reject);
    child.on("close", (code, signal) =>
      resolve({ ok: code === 0, ending: signal ?? `exit code ${code}`, output }),
    );
  });
}

/** A check that passes or fails as a whole. */
async function runCheck(args) {
  const { ok } = await runNode(args);
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skips: [] };
}

async function runVitest(folder) {
  if (!existsSync(join(root, folder))) return { passed: 0, failed: 0, skips: [] };
  const file = join(scratch, `${folder.replaceAll("/", "-")}.json`);
  const args = [vitest, "run", folder, "--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  const { ok, ending } = await runNode(args);
  if (!existsSync(file)) return { passed: 0, failed: 1, skips: [], note: `vitest gave no result: ${ending}` };
  const result = JSON.parse(readFileSync(file, "utf8"));
  const skips = [];
  let failed = result.numFailedTests;
  for (const { name, status, assertionResults } of result.testResults) {
    // A file that could not be loaded, or whose hooks failed, has no failed test of its own.
    if (status === "failed" && !assertionResults.some((test) => test.status === "failed")) failed++;
    for (const test of assertionResults) {
      if (test.status === "passed" || test.status === "failed") continue;
      skips.push(`${name.slice(root.length + 1)}: ${test.fullName.trim()}`);
    }
  }
  // Whatever else vitest found wrong, an unhandled rejection for instance.
  if (!ok && failed === 0) failed = 1;
  return { passed: result.numPassedTests, failed, skips };
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
  unit: () => runVitest("test/unit"),
  e2e: () => runVitest("test/e2e"),
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
try {
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
} finally {
  rmSync(scratch, { recursive: true, force: true });
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
