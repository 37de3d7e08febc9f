#!/usr/bin/env node
// Plants bugs into the CUDA kernels, one at a time, and counts how many the emulated tests notice.
//
//   node scripts/test-mutations.mjs [--count 20] [--seed 1] [--kind barrier|wait|index|bound] [--file norm.cu]
//                                   [--line 52] [--skip 0] [--known] [--list]
//   --count all takes every mutation there is; --skip goes on after as many of the sample.
//
// Mutations are made from the sources' text: a __syncthreads(), __syncwarp() or cp_async_wait taken out, an index moved
// by one, a bound turned inside out. A mutated file, or what includes it, is compiled alone and linked with the other
// objects of build/emulated; then the groups of operator tests that use it run under up to three schedules until one
// fails. A crash, a report of the emulator or a run that does not end counts as noticed too.
//
// Some mutations change nothing that could be seen (a barrier between two stages of one warp; `<` turned to `<=` where
// both sides never meet). Bounds of minima and maxima, `a < b ? a : b`, are none and are left out. Others that are known
// stand in test/emulator/equivalent-mutations.json with the reason; they are counted apart, and run with --known only.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(root, "build", "emulated");
const tree = join(root, "build", `mutations-${process.pid}`);
const secondsPerRun = 240; // of the processor, so that a busy machine does not look like an endless loop

/** The groups of operator tests (filters of electra_emulated_tests) that a file's kernels take part in. */
const groupsOf = {
  attention: ["attention"],
  corruption: ["mask_tokens", "replace_tokens", "sample_uniform"],
  embedding: ["embedding"],
  activations: ["linear", "activation"],
  gemm: ["linear"],
  head_rows: ["language_model_head"],
  language_model: ["language_model_head"],
  linear: ["linear", "activation"],
  losses: ["binary_cross_entropy", "class_cross_entropy", "mean_squared_error", "multi_label"],
  norm: ["layer_norm", "dropout", "embedding"],
  optimizer: ["optimizer"],
  ragged: ["ragged", "broadcast_rows"],
  ranking: ["language_model_head", "sample_uniform", "ragged"],
  row_vectors: ["dropout", "gather/scatter", "add_rows", "layer_norm", "embedding", "attention"],
  rows: ["gather/scatter", "tower_concat", "add_rows"],
  token_sort: ["embedding", "gather/scatter"],
};

/** What runs against a mutation of a file: programs of build/emulated with their arguments, the quickest first. */
function testsFor(file) {
  const name = basename(file);
  const family = Object.keys(groupsOf)
    .filter((key) => name.startsWith(key))
    .sort((a, b) => b.length - a.length)[0];
  // Kernels on tensor cores have no part in f32.
  const precision = name.includes("_tensor") || name === "attention_tiles.h" ? ["--precision", "bf16"] : [];
  const operators = (groupsOf[family] ?? [""]).map((group) => ({
    program: "electra_emulated_tests",
    args: ["test", group, "--first-failure", ...precision],
  }));
  const products = { program: "electra_gemm_tests", args: ["--first-failure"] };
  return family === "gemm" ? [products, ...operators] : operators;
}

/** The same random numbers everywhere: what is sampled depends on the seed alone. */
function hashNumber(text) {
  return createHash("sha256").update(text).digest().readUInt32LE(0);
}

/** Where comments, strings and preprocessor lines are blanked, so that nothing is planted into them. */
function codeOnly(text) {
  const blank = (match) => match.replace(/[^\n]/g, " ");
  return text
    .replace(/\/\/[^\n]*/g, blank)
    .replace(/\/\*[\s\S]*?\*\//g, blank)
    .replace(/"(?:[^"\\\n]|\\.)*"/g, blank)
    .replace(/^[ \t]*#[^\n]*/gm, blank);
}

/** The name of the function whose head this is: the last word with an argument list, all brackets of heads emptied. */
function functionName(head) {
  let text = head;
  for (let before = ""; before !== text; ) {
    before = text;
    text = text.replace(/\((?:[^()]|\(\))+\)/g, "()");
  }
  return [...text.matchAll(/(\w+)\s*\(\)/g)].at(-1)?.[1] ?? "?";
}

/** Stretches of text that are bodies of kernels or device functions, with the functions' names. */
function deviceBodies(code) {
  const bodies = [];
  const heads = /__(?:global|device)__/g;
  for (let head = heads.exec(code); head !== null; head = heads.exec(code)) {
    const open = code.indexOf("{", head.index);
    const end = code.indexOf(";", head.index);
    if (open < 0 || (end >= 0 && end < open)) continue;
    let depth = 0;
    for (let i = open; i < code.length; i++) {
      if (code[i] === "{") depth++;
      else if (code[i] === "}" && --depth === 0) {
        bodies.push([open, i, functionName(code.slice(head.index, open))]);
        break;
      }
    }
  }
  return bodies;
}

/** Whether the comparison at `at` is that of `a < b ? a : b`: where both are equal it does not matter which is taken. */
function isExtremum(code, at, operator) {
  const after = /^ ([^?;]+) \? ([^?:;]+) : /.exec(code.slice(at + operator.length, at + 200));
  if (after === null) return false;
  const [all, right, left] = after;
  const before = code.slice(0, at).trimEnd();
  const rest = code.slice(at + operator.length + all.length);
  const isWhole = /(?:[(=,?:]|return)\s*$/.test(before.slice(0, -left.length));
  return (
    before.endsWith(left) && isWhole && rest.startsWith(right) && !/[\w(.[]/.test(rest[right.length] ?? "")
  );
}

/** All mutations of one file. */
function mutationsOf(file) {
  const text = readFileSync(join(root, file), "utf8");
  const code = codeOnly(text);
  const found = [];
  const seen = new Set();
  const times = new Map();
  const add = (name, kind, start, end, replacement) => {
    // Nested heads (a __device__ function inside a body's stretch) would plant the same bug twice.
    if (seen.has(`${start}${kind}`)) return;
    seen.add(`${start}${kind}`);
    const line = text.slice(0, start).split("\n").length;
    const was = text.slice(start, end);
    const place = `${file} ${name} ${kind}: ${text.split("\n")[line - 1].trim()} @ ${was.trim()}`;
    times.set(place, (times.get(place) ?? 0) + 1);
    found.push({
      file,
      kind,
      start,
      end,
      replacement,
      line,
      was,
      // By what it says and not by where it stands, so that it survives changes elsewhere.
      id: times.get(place) === 1 ? place : `${place} #${times.get(place)}`,
    });
  };
  for (const [first, last, name] of deviceBodies(code)) {
    const body = code.slice(first, last);
    const each = (pattern, use) => {
      for (const match of body.matchAll(pattern)) use(match, first + match.index);
    };
    each(/__syncthreads\(\);/g, (match, at) => add(name, "barrier", at, at + match[0].length, ";"));
    each(/__syncwarp\([^;]*\);/g, (match, at) => add(name, "barrier", at, at + match[0].length, ";"));
    each(/cp_async_wait<[^>]*>\(\);/g, (match, at) => add(name, "wait", at, at + match[0].length, ";"));
    // The innermost brackets of an access; not those of declarations and captures.
    each(/(?<=[\w)\]])\[([^[\]]+)\]/g, (match, at) => {
      const sign = hashNumber(`${file}${at}`) % 2 === 0 ? "+" : "-";
      if (/^\s*\w+\s+\w+\s*$/.test(match[1])) return;
      const before = code.slice(Math.max(0, at - 60), at);
      if (/(?:float|int|uint32_t|int32_t|int64_t|double|auto|bool|char|T)\s+\w+(?:\[[^\]]*\])*$/.test(before))
        return;
      add(name, "index", at, at + match[0].length, `[(${match[1]}) ${sign} 1]`);
    });
    each(/(?<=[\w)\]] )(<|>|<=|>=)(?= [\w(-])/g, (match, at) => {
      // Not the brackets of templates: those have no blanks around them here.
      const turned = { "<": "<=", "<=": "<", ">": ">=", ">=": ">" }[match[1]];
      if (isExtremum(code, at, match[0])) return;
      add(name, "bound", at, at + match[0].length, turned);
    });
  }
  return found;
}

function run(program, args, { seconds = 600, env = {}, cwd = root } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const keep = (chunk) => {
      output = (output + chunk).slice(-20_000);
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    const timer = setTimeout(() => child.kill("SIGKILL"), seconds * 1000);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, output });
    });
    child.on("error", (error) => resolve({ code: -1, signal: null, output: error.message }));
  });
}

/** The compile command of a source file and the link command of the tests, from the build's own records. */
function commands() {
  const database = JSON.parse(readFileSync(join(build, "compile_commands.json"), "utf8"));
  return new Map(database.map((entry) => [relative(root, entry.file), entry]));
}

async function linkCommand(program) {
  const { output, code } = await run("ninja", ["-C", build, "-t", "commands", "-s", program]);
  const line = output.split("\n").find((text) => text.includes(`-o ${program}`));
  if (code !== 0 || line === undefined)
    throw new Error(`ninja does not say how ${program} is linked:\n${output}`);
  return line.replace(/^: && /, "").replace(/ && :$/, "");
}

const { values: options } = parseArgs({
  options: {
    count: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    kind: { type: "string" },
    file: { type: "string" },
    line: { type: "string" },
    skip: { type: "string", default: "0" },
    list: { type: "boolean", default: false },
    known: { type: "boolean", default: false },
    "no-build": { type: "boolean", default: false },
  },
});

const sources = JSON.parse(readFileSync(join(root, "native", "sources.json"), "utf8")).cuda.filter((file) =>
  file.startsWith("cuda/kernels/"),
);
const headers = readdirSync(join(root, "cuda", "kernels"))
  .filter((name) => name.endsWith(".h"))
  .map((name) => `cuda/kernels/${name}`);

/** The sources that are compiled anew when a file is mutated: itself, or all that include it, however indirectly. */
function dependents(file) {
  if (sources.includes(file)) return [file];
  const line = `#include "${basename(file)}"`;
  const including = [...sources, ...headers].filter((other) =>
    readFileSync(join(root, other), "utf8").includes(line),
  );
  return [...new Set(including.flatMap(dependents))];
}

let mutations = [...sources, ...headers]
  .flatMap(mutationsOf)
  .filter(
    ({ kind, file, line }) =>
      (options.kind === undefined || kind === options.kind) &&
      (options.file === undefined || file.endsWith(options.file)) &&
      (options.line === undefined || line === Number(options.line)),
  );
if (options.count !== "all") {
  const count = Number(options.count);
  if (!Number.isInteger(count) || count < 1) {
    console.error(`--count is ${options.count}; it must be a whole number of at least 1, or all`);
    process.exit(2);
  }
  // Kinds take turns, so that a small sample has some of each. Within a kind the files' mutations are interleaved in
  // proportion to the square root of their number: every file has a share, large ones have more.
  const draw = ({ id }) => hashNumber(options.seed + id);
  const kinds = ["barrier", "index", "bound", "wait"].map((kind) =>
    [...new Set(mutations.map(({ file }) => file))]
      .flatMap((file) => {
        const list = mutations.filter((mutation) => mutation.kind === kind && mutation.file === file);
        const phase = hashNumber(options.seed + kind + file) / 2 ** 32;
        return list
          .sort((a, b) => draw(a) - draw(b))
          .map((mutation, i) => ({ mutation, at: (i + phase) / Math.sqrt(list.length) }));
      })
      .sort((a, b) => a.at - b.at)
      .map(({ mutation }) => mutation),
  );
  const chosen = [];
  for (let round = 0; chosen.length < count && kinds.some((list) => list.length > round); round++) {
    for (const list of kinds) if (list.length > round && chosen.length < count) chosen.push(list[round]);
  }
  mutations = chosen;
}
mutations = mutations.slice(Number(options.skip));
if (options.list) {
  for (const { id, replacement } of mutations) console.log(`${id} -> ${replacement}`);
  console.log(`${mutations.length} mutations`);
  process.exit(0);
}

if (!options["no-build"]) {
  const { code, output } = await run(
    process.execPath,
    [join(root, "scripts", "test-emulated.mjs"), "--build-only"],
    { seconds: 1800 },
  );
  if (code !== 0) {
    console.error(output);
    process.exit(1);
  }
}
// Mutations are planted into a copy of the sources, of now: the working tree stays as it is, and may be worked on.
mkdirSync(tree, { recursive: true });
cpSync(join(root, "cuda"), join(tree, "cuda"), { recursive: true });
symlinkSync(join(root, "native"), join(tree, "native"));
process.on("exit", () => rmSync(tree, { recursive: true, force: true }));
const compile = commands();
const programs = new Map();
const equivalentFile = join(root, "test", "emulator", "equivalent-mutations.json");
const equivalent = existsSync(equivalentFile) ? JSON.parse(readFileSync(equivalentFile, "utf8")) : {};

/** What became of a mutation: caught (by what), survived, or not compilable. */
async function tryMutation(mutation) {
  const { file, start, end, replacement } = mutation;
  const made = [];
  const objects = new Map();
  const place = join(tree, file);
  const text = readFileSync(place, "utf8");
  try {
    writeFileSync(place, text.slice(0, start) + replacement + text.slice(end));
    for (const source of dependents(file)) {
      const entry = compile.get(source);
      const object = join(tree, `${basename(source)}.o`);
      made.push(object);
      objects.set(entry.output ?? /-o (\S+)/.exec(entry.command)[1], object);
      const command = entry.command
        .replace(/-o \S+/, `-o ${object}`)
        .replace(/-c \S+$/, `-c ${join(tree, source)}`)
        .replace("-O2", "-O1");
      const compiled = await run("sh", ["-c", command], { cwd: build });
      if (compiled.code !== 0) return { verdict: "not compilable" };
    }
    const tests = testsFor(file);
    for (const program of new Set(tests.map((test) => test.program))) {
      if (!programs.has(program)) programs.set(program, await linkCommand(program));
      const target = join(tree, program);
      made.push(target);
      let line = programs.get(program).replace(`-o ${program}`, `-o ${target}`);
      for (const [original, object] of objects) line = line.replaceAll(original, object);
      const linked = await run("sh", ["-c", line], { cwd: build });
      if (linked.code !== 0) return { verdict: "not compilable", detail: linked.output };
    }
    // What an index or a bound does wrong hardly depends on who comes first.
    const ordered = mutation.kind === "barrier" || mutation.kind === "wait";
    for (const schedule of ["forward", "random:11", ...(ordered ? ["reversed"] : [])]) {
      for (const { program, args } of tests) {
        const limited = [`ulimit -t ${secondsPerRun}; exec "$0" "$@"`, join(tree, program), ...args];
        const result = await run("sh", ["-c", ...limited], {
          seconds: 20 * secondsPerRun,
          env: { ELECTRA_EMULATOR_SCHEDULE: schedule, ELECTRA_CUBLASLT: "" },
        });
        if (result.code === 0) {
          if (/^0 passed/m.test(result.output)) throw new Error(`${program} ${args.join(" ")} has no test`);
          continue;
        }
        const why =
          result.signal === "SIGKILL" || result.signal === "SIGXCPU"
            ? `no end within ${secondsPerRun} s`
            : (/^FAIL.*$/m.exec(result.output)?.[0] ?? result.output.trim().split("\n").at(-1));
        return { verdict: "caught", detail: `${schedule}: ${why}`.slice(0, 160) };
      }
    }
    return { verdict: "survived" };
  } finally {
    writeFileSync(place, text);
    for (const path of made) rmSync(path, { force: true });
  }
}

let caught = 0;
let discarded = 0;
let known = 0;
const survivors = [];
for (const mutation of mutations) {
  const reason = equivalent[mutation.id];
  const { verdict, detail } =
    reason !== undefined && !options.known
      ? { verdict: "known", detail: reason }
      : await tryMutation(mutation);
  const label = `${mutation.file}:${mutation.line} ${mutation.kind}: ${mutation.was} -> ${mutation.replacement}`;
  if (verdict === "caught") caught++;
  else if (verdict === "not compilable") discarded++;
  else if (reason !== undefined) known++;
  else survivors.push(label);
  console.log(`${verdict.toUpperCase().padEnd(14)} ${label}${detail ? `\n               ${detail}` : ""}`);
}
const counted = caught + survivors.length;
console.log(
  `\n${caught} of ${counted} mutations caught (${counted === 0 ? 0 : ((100 * caught) / counted).toFixed(1)} %), ${known} known to change nothing, ${discarded} did not compile`,
);
for (const survivor of survivors) console.log(`survived: ${survivor}`);
const ok = counted > 0 && caught >= 0.95 * counted;
console.log(`${caught} passed, ${ok ? 0 : survivors.length} failed`);
process.exit(ok ? 0 : 1);
