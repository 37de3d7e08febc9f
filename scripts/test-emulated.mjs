#!/usr/bin/env node
// The CUDA backend without a GPU: its sources, compiled by the C++ compiler, on the emulator of cuda/emulator.
//
//   node scripts/test-emulated.mjs [part …] [--filter text] [--jobs N] [--long] [--build-only]
//
// Parts: emulator (the emulator itself), gemm (products, our own and through a stand-in for cuBLASLt), threads (every
// operator against the float64 reference, with the same bits under three schedules), test (the operators once more,
// every transfer and launch as late as the program's own waiting allows, products through the stand-in), model (whole
// steps at real shapes under three schedules), grad (operators' gradients against finite differences). All but grad by
// default; --long takes grad and more schedules, too.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, "build", "emulated");
const parts = ["emulator", "gemm", "test", "grad", "threads", "model"];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    filter: { type: "string", default: "" },
    jobs: { type: "string", default: String(availableParallelism()) },
    long: { type: "boolean", default: false },
    "build-only": { type: "boolean", default: false },
  },
});
const jobs = Number(options.jobs);
const unknown = positionals.filter((part) => !parts.includes(part));
if (unknown.length > 0 || !Number.isInteger(jobs) || jobs < 1) {
  console.error(
    `usage: node scripts/test-emulated.mjs [${parts.join("|")}] [--filter text] [--jobs N] [--long]`,
  );
  process.exit(2);
}

function build() {
  const answers = (program) => spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;
  if (!answers("cmake")) {
    console.error("test-emulated: cmake is missing (Debian: apt-get install cmake g++ ninja-build)");
    process.exit(1);
  }
  const cache = join(folder, "CMakeCache.txt");
  const generator = existsSync(cache)
    ? /^CMAKE_GENERATOR:INTERNAL=(.+)$/m.exec(readFileSync(cache, "utf8"))?.[1]
    : undefined;
  const configure = [
    ...["-S", root, "-B", folder, "-G", generator ?? (answers("ninja") ? "Ninja" : "Unix Makefiles")],
    ...["-DELECTRA_ADDON=OFF", "-DELECTRA_TESTS=ON", "-DELECTRA_CUDA=OFF", "-DELECTRA_CUDA_EMULATED=ON"],
    "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
  ];
  const targets = [
    "electra_cuda_emulated",
    "electra_emulated_tests",
    "electra_emulated_model_tests",
    "electra_emulator_tests",
    "electra_gemm_tests",
    "electra_cublaslt_stand_in",
  ];
  for (const args of [configure, ["--build", folder, "--parallel", String(jobs), "--target", ...targets]]) {
    const { status, error } = spawnSync("cmake", args, { cwd: root, stdio: ["ignore", 2, 2] });
    if (status !== 0) {
      console.error(`test-emulated: cmake ${args[0]} failed${error ? `: ${error.message}` : ""}`);
      process.exit(1);
    }
  }
}

/** Runs a test program; its output is printed when it ends, so that programs side by side do not mix theirs. */
function run(label, program, args, env = {}) {
  return new Promise((resolve) => {
    const begin = Date.now();
    const child = spawn(join(folder, program), args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
    const end = (status) => {
      const counts = [...output.matchAll(/^(\d+) passed, (\d+) failed$/gm)].at(-1);
      const passed = counts === undefined ? 0 : Number(counts[1]);
      const failed = counts === undefined ? 1 : Math.max(Number(counts[2]), status === 0 ? 0 : 1);
      console.log(`\n== ${label} (${((Date.now() - begin) / 1000).toFixed(0)} s)`);
      console.log(output.trimEnd().replace(/^(\d+ passed, \d+ failed)$/gm, "   $1"));
      if (counts === undefined) console.log(`FAIL ${label} ended with ${status} and counted nothing`);
      resolve({ passed, failed });
    };
    child.on("error", (error) => end(error.message));
    child.on("close", (code, signal) => end(signal ?? code));
  });
}

build();
if (options["build-only"]) process.exit(0);

const usual = options.long ? parts : parts.filter((part) => part !== "grad");
const wanted = positionals.length > 0 ? positionals : usual;
const standIn = { ELECTRA_CUBLASLT: join(folder, "libcublasLt_stand_in.so") };
const builtIn = { ELECTRA_CUBLASLT: "" };
const filter = options.filter === "" ? [] : [options.filter];
const long = options.long ? ["--long"] : [];
const tasks = [];
const add = (label, program, args, env) => tasks.push([label, program, args, env]);
/** The operator tests in a mode, cut into processes. */
const addOperators = (label, mode, count, env, more = []) => {
  for (let i = 0; i < count; i++) {
    const shard = `${i}/${count}`;
    add(`${label} ${shard}`, "electra_emulated_tests", [mode, ...filter, "--shard", shard, ...more], env);
  }
};

if (wanted.includes("emulator")) add("emulator", "electra_emulator_tests", [], {});
if (wanted.includes("gemm")) add("gemm", "electra_gemm_tests", [], standIn);
if (wanted.includes("threads")) addOperators("threads", "threads", 4, builtIn, long);
if (wanted.includes("test"))
  addOperators("test, deferred, stand-in", "test", 2, {
    ...standIn,
    ELECTRA_EMULATOR_DEFER: "1",
    ELECTRA_EMULATOR_SCHEDULE: "random:3",
  });
if (wanted.includes("grad")) addOperators("grad", "grad", 2, standIn);
// All models under the first schedule; under the others one each, unless there is time for all.
const modelsOf = { forward: [], reversed: ["128 ragged"], "random:7": ["fine-tuning"] };
if (wanted.includes("model"))
  for (const [schedule, some] of Object.entries(modelsOf))
    add(`model, ${schedule}`, "electra_emulated_model_tests", options.long ? [] : some, {
      ...(schedule === "reversed" ? builtIn : standIn),
      ELECTRA_EMULATOR_SCHEDULE: schedule,
    });

const total = { passed: 0, failed: 0 };
const queue = [...tasks];
await Promise.all(
  Array.from({ length: Math.min(jobs, tasks.length) }, async () => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
      const { passed, failed } = await run(...task);
      total.passed += passed;
      total.failed += failed;
    }
  }),
);
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
