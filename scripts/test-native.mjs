#!/usr/bin/env node
// Builds and runs the tests of the native operators: CMake configures build/native-tests (build/native-tests-sanitized
// with --sanitize), the modes `test`, `grad`, `threads` and `model` run one after the other (`test` and `threads` with
// --sanitize). `model` compares whole training steps at real shapes with naive double arithmetic.
//
//   node scripts/test-native.mjs [mode …] [filter] [--long] [--sanitize] [--jobs N]
//
// A first argument among test, grad, threads, model, bench chooses the modes; everything else goes on to the test program.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const MODES = ["test", "grad", "threads", "model", "bench"];
const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Whether a program answers `--version`. */
function answers(program) {
  const result = spawnSync(program, ["--version"], { stdio: "ignore" });
  return result.error === undefined && result.status === 0;
}

/** A C++ compiler that CMake would find: $CXX, or one of the usual names. */
function hasCompiler() {
  const chosen = process.env.CXX?.split(" ")[0];
  return [chosen, "c++", "g++", "clang++"].some((name) => name !== undefined && name !== "" && answers(name));
}

/** Runs a program with its output shown; ends this one if it fails. */
function run(program, args) {
  const result = spawnSync(program, args, {
    cwd: root,
    stdio: "inherit",
  });
  if (result.error !== undefined) {
    console.error(`test-native: cannot run ${program}: ${result.error.message}`);
    process.exit(1);
  }
  if (result.signal !== null) {
    console.error(`test-native: ${program} ${args.join(" ")} was ended by ${result.signal}`);
    process.exit(1);
  }
  return result.status ?? 1;
}

function requireTools() {
  const missing = [];
  if (!answers("cmake")) missing.push("cmake (3.19 or newer)");
  if (!hasCompiler()) missing.push("a C++17 compiler");
  if (missing.length === 0) return;
  console.error(`test-native: missing: ${missing.join(" and ")}`);
  console.error("  Debian, Ubuntu:  apt-get install cmake g++ ninja-build");
  console.error("  Fedora:          dnf install cmake gcc-c++ ninja-build");
  console.error("  macOS:           xcode-select --install && brew install cmake ninja");
  process.exit(1);
}

/** The generator an existing build folder was made with must stay; a new one takes Ninja if it is there. */
function generatorOf(folder) {
  const cache = join(folder, "CMakeCache.txt");
  if (existsSync(cache)) {
    const match = /^CMAKE_GENERATOR:INTERNAL=(.+)$/m.exec(readFileSync(cache, "utf8"));
    if (match !== null) return match[1];
  }
  return answers("ninja") ? "Ninja" : "Unix Makefiles";
}

const options = { sanitize: false, jobs: Math.max(1, availableParallelism()) };
const modes = [];
const passedOn = [];
const given = process.argv.slice(2);
for (let i = 0; i < given.length; ++i) {
  const argument = given[i];
  if (argument === "--sanitize") options.sanitize = true;
  else if (argument === "--jobs") options.jobs = Number.parseInt(given[++i] ?? "", 10);
  else if (MODES.includes(argument) && passedOn.length === 0) modes.push(argument);
  else passedOn.push(argument);
}
if (!Number.isInteger(options.jobs) || options.jobs < 1) {
  console.error("test-native: --jobs wants a number of at least 1");
  process.exit(2);
}

/** Runs a test program, showing what it prints and keeping it, for its counts. */
function runAndKeep(program, parameters, extra) {
  return new Promise((resolve) => {
    const child = spawn(program, parameters, {
      env: { ...process.env, ...extra },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.setEncoding("utf8");
    child.stdout.on("data", (text) => {
      output += text;
      process.stdout.write(text);
    });
    child.on("error", (error) => resolve({ status: error.message, output }));
    child.on("close", (code, signal) => resolve({ status: signal ?? code, output }));
  });
}

requireTools();
const folder = join(root, "build", options.sanitize ? "native-tests-sanitized" : "native-tests");
const configure = [
  "-S",
  root,
  "-B",
  folder,
  "-G",
  generatorOf(folder),
  "-DELECTRA_ADDON=OFF",
  "-DELECTRA_TESTS=ON",
];
if (options.sanitize) configure.push("-DELECTRA_SANITIZE=address,undefined");
if (run("cmake", [...configure, "-DELECTRA_CUDA=OFF"]) !== 0) process.exit(1);
if (
  run("cmake", [
    "--build",
    folder,
    "--target",
    "electra_native_tests",
    "electra_model_tests",
    "--parallel",
    String(options.jobs),
  ]) !== 0
) {
  process.exit(1);
}

const suffix = process.platform === "win32" ? ".exe" : "";
// A finding must fail the run; the libraries that stay open for the life of the process are no leaks of ours.
const environment = options.sanitize
  ? { ASAN_OPTIONS: "detect_leaks=0:abort_on_error=0", UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1" }
  : {};
const total = { passed: 0, failed: 0 };
// `grad` differentiates the reference: slow with sanitizers, and it calls no operator that `test` does not call.
const usual = options.sanitize ? ["test", "threads"] : ["test", "grad", "threads", "model"];
for (const mode of modes.length > 0 ? modes : usual) {
  console.log(`\n${mode}`);
  const isModel = mode === "model";
  const program = join(folder, `${isModel ? "electra_model_tests" : "electra_native_tests"}${suffix}`);
  const { status, output } = await runAndKeep(program, isModel ? passedOn : [mode, ...passedOn], environment);
  if (mode === "bench") {
    // Figures, not verdicts.
    if (status !== 0) process.exit(1);
    continue;
  }
  const counts = /^(\d+) passed, (\d+) failed$/m.exec(output);
  if (counts === null) {
    console.log(`FAIL ${mode} ended with ${status} and counted nothing`);
    ++total.failed;
    continue;
  }
  total.passed += Number(counts[1]);
  total.failed += Math.max(Number(counts[2]), status === 0 ? 0 : 1);
}
if (modes.every((mode) => mode === "bench") && modes.length > 0) process.exit(0);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
