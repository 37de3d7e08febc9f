// Builds the addon, build/Release/electra_native.node, unless it is there already for these very sources.
//
//   ELECTRA_NATIVE_BUILD=skip|cmake|gyp   do nothing / insist on one way (default: cmake if it answers, else node-gyp)
//   ELECTRA_CUDA=AUTO|ON|OFF              the CUDA library (AUTO: where a driver is installed)
//   --force                               build even if nothing changed
//   --strict                              fail when the build fails, also as somebody's dependency
//
// Nothing is downloaded. As a dependency a failed build does not fail the install: the loader says later what to do.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { withBuildLock } from "./build-lock.mjs";
import { contentHash } from "./content-hash.mjs";

const require = createRequire(import.meta.url);
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const release = join(root, "build", "Release");
const addon = join(release, "electra_native.node");
const record = join(release, "electra-build.json");

const force = process.argv.includes("--force");
const wanted = (process.env.ELECTRA_NATIVE_BUILD ?? "").toLowerCase();
const cudaWanted = (process.env.ELECTRA_CUDA ?? "AUTO").toUpperCase();
const isDependency = root.split(sep).includes("node_modules");
const mayFail = isDependency && !process.argv.includes("--strict");

class BuildFailure extends Error {}

function say(text) {
  console.error(`electra-native: ${text}`);
}

const hash = contentHash(
  root,
  ["native", "cuda", "CMakeLists.txt", "binding.gyp"],
  [
    manifest.version,
    manifest.binary.napi_versions,
    process.platform,
    process.arch,
    cudaWanted,
    process.env.CXX ?? "",
    process.env.CXXFLAGS ?? "",
  ],
);

function isBuilt() {
  try {
    const built = JSON.parse(readFileSync(record, "utf8"));
    return existsSync(addon) && built.hash === hash && (wanted === "" || wanted === built.builder);
  } catch {
    return false;
  }
}

/** Runs a Node script of a build tool; its output goes to stderr, because stdout is data. */
function runScript(script, args, cwd) {
  const { status, error, signal } = spawnSync(process.execPath, [script, ...args], {
    cwd,
    stdio: ["ignore", 2, 2],
    env: { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()), ...process.env },
  });
  if (error) throw new BuildFailure(`${script} could not be started: ${error.message}`);
  if (status !== 0)
    throw new BuildFailure(`${script} ${args.join(" ")} ended with ${signal ?? `exit code ${status}`}`);
}

function resolveScript(request) {
  try {
    return require.resolve(request);
  } catch {
    return undefined;
  }
}

function answers(command) {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
}

/** Whether the CUDA library is to be built, and, once, why not. */
function cudaSetting() {
  const sources = JSON.parse(readFileSync(join(root, "native", "sources.json"), "utf8")).cuda;
  if (sources.length === 0 || cudaWanted === "OFF") return "OFF";
  if (cudaWanted === "ON") return "ON";
  try {
    process.dlopen({ exports: {} }, "libcuda.so.1");
  } catch (error) {
    // A library that loads and is no addon is what we are looking for.
    if (/self-register/.test(error.message)) return "ON";
  }
  say(
    "no NVIDIA driver (libcuda.so.1), so the CUDA library is left out; ELECTRA_CUDA=ON npx electra-native build forces it",
  );
  return "OFF";
}

/** With CMake: the whole build, incremental, in build/cmake. */
function buildWithCmake() {
  const script = resolveScript("cmake-js/bin/cmake-js");
  if (!script) throw new BuildFailure("cmake-js is not installed; run npm install");
  const stage = join(root, "build", "cmake");
  // A folder that was configured elsewhere (a moved or copied clone) cannot be built in.
  const cache = join(stage, "CMakeCache.txt");
  if (existsSync(cache) && !readFileSync(cache, "utf8").includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)) {
    rmSync(stage, { recursive: true, force: true });
  }
  // Two calls: where a folder is configured already, "compile" alone would keep its old settings.
  runScript(script, ["configure", "--out", stage, `--CDELECTRA_CUDA=${cudaSetting()}`], root);
  runScript(script, ["build", "--out", stage], root);
  return join(stage, "Release");
}

/** With node-gyp, for machines without CMake: CPU only, in a copy, because node-gyp always builds in ./build. */
function buildWithGyp() {
  const script = process.env.npm_config_node_gyp ?? resolveScript("node-gyp/bin/node-gyp.js") ?? npmGyp();
  if (!script)
    throw new BuildFailure(
      "neither cmake nor node-gyp was found; install cmake (Debian: apt-get install cmake)",
    );
  const stage = join(root, "build", "gyp");
  mkdirSync(join(stage, "scripts"), { recursive: true });
  for (const path of [
    "native",
    "cuda",
    "binding.gyp",
    "package.json",
    "scripts/native-sources.cjs",
    "scripts/contract-hash.cjs",
  ]) {
    cpSync(join(root, path), join(stage, path), { recursive: true, preserveTimestamps: true });
  }
  // Headers that lie beside this Node need not be downloaded.
  const prefix = dirname(dirname(process.execPath));
  const headers = existsSync(join(prefix, "include", "node", "common.gypi")) ? [`--nodedir=${prefix}`] : [];
  runScript(script, ["configure", "build", ...headers, "--jobs", String(availableParallelism())], stage);
  return join(stage, "build", "Release");
}

/** The copy of node-gyp inside npm, for calls without npm's environment. */
function npmGyp() {
  const path = join(
    dirname(dirname(process.execPath)),
    "lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js",
  );
  return existsSync(path) ? path : undefined;
}

/** Puts a built file in its place by renaming, so that a process that has loaded the old one keeps it. */
function place(from, to) {
  const temporary = `${to}.${process.pid}.tmp`;
  copyFileSync(from, temporary);
  renameSync(temporary, to);
}

async function build() {
  if (!force && isBuilt()) return;
  const builder = wanted !== "" ? wanted : answers("cmake") ? "cmake" : "gyp";
  if (builder === "gyp" && wanted === "") say("cmake was not found; building the CPU engine with node-gyp");
  const begin = Date.now();
  say(`building the native engine with ${builder === "cmake" ? "CMake" : "node-gyp"} (a minute or two)`);
  const output = builder === "cmake" ? buildWithCmake() : buildWithGyp();
  mkdirSync(release, { recursive: true });
  rmSync(record, { force: true });
  const cudaLibrary = join(output, "electra_cuda.so");
  if (existsSync(cudaLibrary)) place(cudaLibrary, join(release, "electra_cuda.so"));
  place(join(output, "electra_native.node"), addon);
  const built = {
    hash,
    builder,
    version: manifest.version,
    node: process.version,
    napi: manifest.binary.napi_versions,
  };
  writeFileSync(record, `${JSON.stringify(built, null, 2)}\n`);
  say(`built in ${((Date.now() - begin) / 1000).toFixed(0)} s`);
}

async function main() {
  if (!["", "skip", "cmake", "gyp"].includes(wanted)) {
    throw new BuildFailure(`ELECTRA_NATIVE_BUILD is "${wanted}"; it may be skip, cmake or gyp`);
  }
  if (!["AUTO", "ON", "OFF"].includes(cudaWanted)) {
    throw new BuildFailure(`ELECTRA_CUDA is "${cudaWanted}"; it may be AUTO, ON or OFF`);
  }
  if (wanted === "skip" || (!force && isBuilt())) return;
  await withBuildLock(join(root, "build", "electra-build.lock"), build);
}

main().catch((error) => {
  say(error instanceof BuildFailure ? error.message : error.stack);
  say(
    "the native engine was not built. It needs a C++17 compiler and cmake or make (Debian: apt-get install g++ cmake ninja-build)",
  );
  say("then run: npx electra-native build");
  process.exitCode = mayFail ? 0 : 1;
});
