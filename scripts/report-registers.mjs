#!/usr/bin/env node
// Registers, shared memory and spills of every CUDA kernel, as ptxas reports them.
//
//   node scripts/report-registers.mjs [build.log …] [--kernel name] [--all] [--json] [--jobs N]
//
// Reads the output of builds with -Xptxas -v, which the CUDA library is always built with. Without a log it compiles
// the library (nvcc and CMake, no GPU; into build/registers) and reads that; everything is compiled anew, so that
// nothing is missing. The table has a line for each kernel and architecture, over all instances of its template: the
// most registers and shared memory of any, and how many spill; --all has a line for each instance. Only what a kernel
// allocates itself is counted as shared memory, not what its launch adds.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const { values: options, positionals: logs } = parseArgs({
  allowPositionals: true,
  options: {
    kernel: { type: "string", default: "" },
    all: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    jobs: { type: "string", default: String(availableParallelism()) },
  },
});

function fail(message) {
  console.error(`report-registers: ${message}`);
  process.exit(1);
}

/** Compiles the CUDA library for the architectures of CMakeLists.txt and returns what the compilers said. */
function compile() {
  const folder = join(root, "build", "registers");
  const cmake = (...args) => {
    const result = spawnSync("cmake", args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 28 });
    if (result.error) fail(`cmake: ${result.error.message} (Debian: apt-get install cmake g++)`);
    if (result.status !== 0) fail(`cmake ${args[0]} failed\n${(result.stdout + result.stderr).slice(-4000)}`);
    return result.stdout + result.stderr;
  };
  // Make would mix the lines of jobs; with -O it prints each job's together, as Ninja does by itself.
  const ninja = spawnSync("ninja", ["--version"], { stdio: "ignore" }).status === 0;
  const generator = ninja ? "Ninja" : "Unix Makefiles";
  cmake("-S", root, "-B", folder, "-G", generator, "-DELECTRA_ADDON=OFF", "-DELECTRA_CUDA=ON");
  const target = ["--target", "electra_cuda_objects", "--clean-first", "--parallel", options.jobs];
  return cmake("--build", folder, ...target, ...(ninja ? ["--", "-v"] : ["--", "-O"]));
}

/** What ptxas says about each kernel: mangled name, architecture, registers, bytes of memories. */
function parse(text) {
  const kernels = [];
  let kernel;
  for (const line of text.split("\n")) {
    const entry = /Compiling entry function '(\S+)' for '(\w+)'/.exec(line);
    if (entry) {
      kernel = { symbol: entry[1], architecture: entry[2] };
      continue;
    }
    if (kernel === undefined) continue;
    const memory = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    // A function that is not inlined reports its own frame in between; the kernel's comes first.
    if (memory && kernel.stack === undefined)
      [kernel.stack, kernel.spillStores, kernel.spillLoads] = memory.slice(1).map(Number);
    const used = /Used (\d+) registers/.exec(line);
    if (used) {
      kernel.registers = Number(used[1]);
      kernel.shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
      kernels.push(kernel);
      kernel = undefined;
    }
  }
  return kernels;
}

/** Names as in the sources: c++filt (binutils) reads the symbols; without it they stay as they are. */
function addNames(kernels) {
  const symbols = kernels.map(({ symbol }) => symbol);
  const filter = spawnSync("c++filt", { input: symbols.join("\n"), encoding: "utf8", maxBuffer: 2 ** 28 });
  const names = filter.status === 0 ? filter.stdout.trimEnd().split("\n") : symbols;
  kernels.forEach((kernel, i) => {
    // nvcc's anonymous namespaces say which file they belong to: _GLOBAL__N__<hash>_<length>_<file>_<hash>.
    const file = /_GLOBAL__N__[0-9a-f]+_\d+_(\w+)_cu_[0-9a-f]{8}/.exec(kernel.symbol);
    kernel.file = file === null ? "(header)" : `${file[1]}.cu`;
    kernel.instance = names[i]
      .replace(/_GLOBAL__N__\w+::|\(anonymous namespace\)::|electra::cuda::/g, "")
      .replace(/\([A-Za-z]\w*\)(?=-?\d)/g, "")
      .replace(/^void /, "")
      .replace(/^([\w]+(?:<.*>)?)\(.*$/, "$1");
    kernel.kernel = kernel.instance.replace(/<.*$/, "");
  });
}

const text = logs.length === 0 ? compile() : logs.map((log) => readFileSync(log, "utf8")).join("\n");
const found = parse(text);
if (found.length === 0)
  fail(`no report of ptxas in ${logs.join(", ") || "the build's output"}; compile with -Xptxas -v`);
addNames(found);
const kernels = found.filter(({ instance }) => instance.includes(options.kernel));
kernels.sort(
  (a, b) =>
    a.file.localeCompare(b.file) ||
    a.kernel.localeCompare(b.kernel) ||
    a.architecture.localeCompare(b.architecture) ||
    a.instance.localeCompare(b.instance),
);

/** Instances of one template for one architecture, as one line. */
function families() {
  const lines = new Map();
  for (const one of kernels) {
    const key = `${one.file} ${one.kernel} ${one.architecture}`;
    const line = lines.get(key) ?? { ...one, instances: 0, spilling: 0 };
    line.instances++;
    line.spilling += one.spillStores + one.spillLoads > 0 ? 1 : 0;
    for (const what of ["registers", "shared", "stack", "spillStores", "spillLoads"])
      line[what] = Math.max(line[what], one[what]);
    lines.set(key, line);
  }
  return [...lines.values()];
}

if (options.json) {
  console.log(JSON.stringify(kernels, null, 1));
} else {
  const rows = (options.all ? kernels : families()).map((line) => [
    line.file,
    options.all ? line.instance : line.kernel,
    line.architecture,
    ...(options.all ? [] : [line.instances]),
    line.registers,
    line.shared,
    line.stack,
    `${line.spillStores} + ${line.spillLoads}`,
    ...(options.all ? [] : [line.spilling]),
  ]);
  const heads = ["file", options.all ? "instance" : "kernel", "for", ...(options.all ? [] : ["instances"])];
  heads.push("registers", "shared", "stack", "spill st + ld", ...(options.all ? [] : ["spilling"]));
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => String(row[i]).length)));
  for (const row of [heads, ...rows])
    console.log(
      row
        .map((cell, i) => String(cell)[i < 3 ? "padEnd" : "padStart"](widths[i]))
        .join("  ")
        .trimEnd(),
    );
  const spilling = kernels.filter(({ spillStores, spillLoads }) => spillStores + spillLoads > 0);
  console.log(`\n${kernels.length} kernels (instances and architectures), ${spilling.length} with spills`);
  for (const one of spilling)
    console.log(
      `  ${one.instance} ${one.architecture}: ${one.spillStores} B stored, ${one.spillLoads} B loaded`,
    );
}
