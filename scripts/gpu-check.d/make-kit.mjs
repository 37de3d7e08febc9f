// scripts/gpu-check-kit: packs what a machine with a GPU lacks. Each part is one compressed archive, made only where its
// contents changed, and named in kit.json with the hash of the sources that the prebuilt programs are made of.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const mebibyte = 2 ** 20;

/** Only for building the engine; what runs needs neither. */
const buildDependencies = new Set(["cmake-js", "node-addon-api"]);
/** The same list as SOURCES in resources.py. */
const sourcePaths = ["CMakeLists.txt", "cuda", "native", "test/native", "test/emulator"];
/** The same as SHELL there. */
const shellPaths = ["package.json", "src"];
const programs = ["electra_cuda_tests", "electra_cuda_model_tests", "electra_cuda_gemm_tests"];

const { values: options } = parseArgs({
  options: {
    out: { type: "string", default: join(root, "build", "gpu-check-kit") },
    "limit-mb": { type: "string", default: "60" },
    architectures: { type: "string", default: "90" },
    dnnl: { type: "string" },
    "without-native": { type: "boolean", default: false },
  },
});
const out = resolve(options.out);
const limit = Number(options["limit-mb"]) * mebibyte;
const leftOut = [];

const say = (text) => console.error(`gpu-check-kit: ${text}`);
const leaveOut = (what, why) => {
  leftOut.push({ what, why });
  say(`left out: ${what} (${why})`);
};

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  if (!statSync(folder).isDirectory()) return [folder];
  return readdirSync(folder).flatMap((name) => filesBelow(join(folder, name)));
}

const hashOf = (content) => createHash("sha256").update(content).digest("hex");

/** Over names and contents, in the order of the names' bytes; sources_hash in resources.py gives the same. */
function hashOfPaths(paths) {
  const files = paths
    .flatMap((path) => filesBelow(join(root, path)))
    .map((file) => relative(root, file).split(sep).join("/"))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const hash = createHash("sha256");
  for (const file of files) hash.update(`${file}\0${hashOf(readFileSync(join(root, file)))}\n`);
  return hash.digest("hex").slice(0, 16);
}

/** A program's output, or undefined where it fails or is not there. */
function answer(program, args) {
  const { status, stdout } = spawnSync(program, args, { cwd: root, encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

function run(program, args) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (error || status !== 0)
    throw new Error(`${program} failed (${error?.message ?? `exit code ${status}`})`);
}

// ---------------------------------------------------------------------------------------------------------------------
// Parts: lists of [file here, name in the archive].

function nodePart() {
  const file = realpathSync(process.execPath);
  if (statSync(file).size > 20 * mebibyte) return [[file, "node/node"]];
  // A system's small program that finds Node in a library of its own is of no use elsewhere.
  try {
    const packaged = createRequire(import.meta.url).resolve("node/bin/node");
    return [[realpathSync(packaged), "node/node"]];
  } catch {
    leaveOut("Node", `${file} is no complete Node; npm install --no-save node brings one`);
    return [];
  }
}

/** Names of all packages that running needs, found by following dependencies as Node would. */
function runtimePackages() {
  const found = new Map();
  const visit = (name, from) => {
    for (let folder = from; ; folder = dirname(folder)) {
      const candidate = join(folder, "node_modules", name);
      if (existsSync(join(candidate, "package.json"))) {
        if (found.has(candidate)) return;
        found.set(candidate, name);
        const { dependencies = {} } = JSON.parse(readFileSync(join(candidate, "package.json"), "utf8"));
        for (const next of Object.keys(dependencies)) visit(next, candidate);
        return;
      }
      if (folder === root || dirname(folder) === folder) break;
    }
    leaveOut(`package ${name}`, "npm ci installs it");
  };
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies)) if (!buildDependencies.has(name)) visit(name, root);
  return [...found.keys()];
}

/** What Node can load; no types, maps and texts for people. */
const isLoaded = (file) => /\.(js|cjs|mjs|json|node|wasm)$/.test(file);

function packagePart() {
  const entries = [
    ["package.json", "package/package.json"],
    ["scripts/electra-native.mjs", "package/scripts/electra-native.mjs"],
  ].map(([from, to]) => [join(root, from), to]);
  const add = (folder, isWanted) => {
    for (const file of filesBelow(folder))
      if (isWanted(file)) entries.push([file, `package/${relative(root, file).split(sep).join("/")}`]);
  };
  if (!existsSync(join(root, "dist", "cli", "main.js"))) leaveOut("dist", "npm run build makes it");
  add(join(root, "dist"), isLoaded);
  for (const folder of runtimePackages()) {
    const inner = join(folder, "node_modules");
    add(folder, (file) => isLoaded(file) && !file.startsWith(`${inner}${sep}`));
  }
  return entries;
}

function addonPart() {
  const addon = join(root, "build", "Release", "electra_native.node");
  if (existsSync(addon)) return [[addon, "package/build/Release/electra_native.node"]];
  leaveOut("the addon", "npm run build:native makes it; it will be built on the other machine");
  return [];
}

/** To build the addon where the one from here does not load. */
function headersPart() {
  const entries = [];
  for (const [name, inner] of [
    ["node-api-headers", "include"],
    ["node-addon-api", ""],
  ]) {
    const folder = join(root, "node_modules", name, inner);
    const to = name === "node-api-headers" ? "headers/node" : "headers/node-addon-api";
    const headers = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(".h")) : [];
    if (headers.length === 0) leaveOut(`headers of ${name}`, "npm ci installs it");
    for (const file of headers) entries.push([join(folder, file), `${to}/${file}`]);
  }
  return entries;
}

/** oneDNN and what it needs besides a C++ runtime; products use it on processors without AVX2, and `--gemm onednn` compares. */
function dnnlPart() {
  const listed = answer("ldconfig", ["-p"]) ?? answer("/sbin/ldconfig", ["-p"]) ?? "";
  const located = (name) => new RegExp(`${name.replaceAll(".", "\\.")} .*=> (.+)$`, "m").exec(listed)?.[1];
  const library = options.dnnl ?? located("libdnnl.so.3") ?? located("libdnnl.so.2");
  if (library === undefined || !existsSync(library)) {
    leaveOut(
      "oneDNN",
      "not installed here (Debian: apt-get install libdnnl2); the built-in products will do",
    );
    return [];
  }
  const file = realpathSync(library);
  const soname = /SONAME\s+(\S+)/.exec(answer("objdump", ["-p", file]) ?? "")?.[1] ?? "libdnnl.so.2";
  const entries = [[file, `dnnl/${soname}`]];
  const needed = [...(answer("objdump", ["-p", file]) ?? "").matchAll(/NEEDED\s+(\S+)/g)].map(
    ([, name]) => name,
  );
  for (const name of needed.filter((each) => /OpenCL|gomp|tbb/.test(each))) {
    const beside = join(dirname(library), name);
    const found = existsSync(beside) ? beside : located(name);
    if (found === undefined) leaveOut(name, "oneDNN needs it; without it the built-in products will do");
    else entries.push([realpathSync(found), `dnnl/${name}`]);
  }
  return entries;
}

/** The CUDA library and the test programs for some architectures, so that the other machine need not compile. */
function nativePart() {
  if (options["without-native"]) {
    leaveOut("prebuilt CUDA programs", "--without-native; the other machine compiles them");
    return [];
  }
  const compiler = process.env.CUDACXX ?? "nvcc";
  if (answer(compiler, ["--version"]) === undefined || answer("cmake", ["--version"]) === undefined) {
    leaveOut("prebuilt CUDA programs", "they need nvcc and cmake here; the other machine compiles them");
    return [];
  }
  const folder = join(root, "build", "gpu-check-native");
  const architectures = options.architectures.split(",").map((each) => `${each}-real`);
  say(`compiling the CUDA programs for ${architectures.join(", ")}`);
  try {
    run("cmake", [
      ...[
        "-S",
        root,
        "-B",
        folder,
        "-DCMAKE_BUILD_TYPE=Release",
        "-DELECTRA_TESTS=ON",
        "-DELECTRA_ADDON=OFF",
      ],
      ...["-DELECTRA_CUDA=ON", `-DCMAKE_CUDA_ARCHITECTURES=${architectures.join(";")}`],
    ]);
    const targets = answer("cmake", ["--build", folder, "--target", "help"]) ?? "";
    const wanted = ["electra_cuda", ...programs.filter((name) => targets.includes(name))];
    const jobs = process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? String(availableParallelism());
    run("cmake", ["--build", folder, "--parallel", jobs, "--target", ...wanted]);
  } catch (error) {
    leaveOut("prebuilt CUDA programs", error.message);
    return [];
  }
  const entries = [[join(folder, "electra_cuda.so"), "package/build/Release/electra_cuda.so"]];
  for (const name of programs) {
    if (existsSync(join(folder, name))) entries.push([join(folder, name), `native/${name}`]);
    else leaveOut(name, "CMakeLists.txt has no such target");
  }
  return entries;
}

// ---------------------------------------------------------------------------------------------------------------------

/** Packs a part, unless an archive of the same contents is there. Returns its entry in kit.json. */
function pack(name, entries, before) {
  if (entries.length === 0) return undefined;
  const file = `${name}.tar.xz`;
  const target = join(out, file);
  const hash = createHash("sha256");
  for (const [from, to] of entries) hash.update(`${to}\0${hashOf(readFileSync(from))}\n`);
  const contents = hash.digest("hex").slice(0, 16);
  const known = before.find((entry) => entry.file === file);
  if (known?.contents !== contents || !existsSync(target)) {
    const stage = join(out, "stage");
    rmSync(stage, { recursive: true, force: true });
    for (const [from, to] of entries) {
      mkdirSync(dirname(join(stage, to)), { recursive: true });
      copyFileSync(from, join(stage, to));
      // Debugging symbols are most of a program, and nobody debugs there. A library with too little to strip is left alone.
      if (/^(node|native|dnnl)\/|\.(so|node)$/.test(to))
        spawnSync("strip", ["--strip-debug", join(stage, to)]);
    }
    say(`packing ${file}`);
    // Plain -9, one thread: several would cut the file in pieces, and the kit has a limit of size rather than of time.
    execFileSync(
      "tar",
      ["--create", "--file", `${target}.tmp`, "--use-compress-program", "xz -9", "--directory", stage, "."],
      {
        stdio: ["ignore", 2, 2],
      },
    );
    renameSync(`${target}.tmp`, target);
    rmSync(stage, { recursive: true, force: true });
  }
  return { file, contents, bytes: statSync(target).size, files: entries.length };
}

function previousArchives() {
  try {
    return JSON.parse(readFileSync(join(out, "kit.json"), "utf8")).archives;
  } catch {
    return [];
  }
}

if (!(limit > 0)) {
  say(`--limit-mb is ${options["limit-mb"]}; it must be a positive number`);
  process.exit(2);
}
mkdirSync(out, { recursive: true });
const before = previousArchives();
// In the order of use: what does not fit any more is left out, the least needed last.
const parts = [
  ["native", nativePart],
  ["package", packagePart],
  ["node", nodePart],
  ["addon", addonPart],
  ["headers", headersPart],
  ["dnnl", dnnlPart],
];
const archives = [];
let total = 0;
const sources = hashOfPaths(sourcePaths);
for (const [name, gather] of parts) {
  const entry = pack(name, gather(), before);
  if (entry === undefined) continue;
  if (total + entry.bytes > limit) {
    rmSync(join(out, entry.file));
    leaveOut(
      entry.file,
      `${(entry.bytes / mebibyte).toFixed(1)} MiB more would be above --limit-mb ${options["limit-mb"]}`,
    );
    continue;
  }
  total += entry.bytes;
  archives.push(entry);
}
// Nobody can say what programs were compiled from that changed meanwhile: the other machine is to compile its own.
const changed = hashOfPaths(sourcePaths) !== sources;
if (changed) leaveOut("use of the prebuilt CUDA programs", "sources changed meanwhile; run this again");
const kept = new Set([...archives.map((entry) => entry.file), "kit.json"]);
for (const name of readdirSync(out))
  if (!kept.has(name)) rmSync(join(out, name), { recursive: true, force: true });
const kit = {
  format: 1,
  created: new Date().toISOString().slice(0, 19),
  commit: answer("git", ["rev-parse", "--short=12", "HEAD"]) ?? "unknown",
  dirty: (answer("git", ["status", "--porcelain", "--untracked-files=no"]) ?? "") !== "",
  sources: changed ? "changed while packing" : sources,
  shell: hashOfPaths(shellPaths),
  node: process.version,
  architectures: options.architectures,
  archives,
  left_out: leftOut,
};
writeFileSync(join(out, "kit.json"), `${JSON.stringify(kit, null, 2)}\n`);

for (const { file, bytes, files } of archives)
  console.log(
    `${file.padEnd(16)} ${(bytes / mebibyte).toFixed(1).padStart(6)} MiB  ${files} file${files === 1 ? "" : "s"}`,
  );
console.log(
  `${basename(out).padEnd(16)} ${(total / mebibyte).toFixed(1).padStart(6)} MiB of ${options["limit-mb"]} allowed`,
);
for (const { what, why } of leftOut) console.log(`left out: ${what} (${why})`);
