// Compiles src to dist, unless dist was made of these very sources. --force compiles in any case.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { withBuildLock } from "./build-lock.mjs";
import { contentHash } from "./content-hash.mjs";

const require = createRequire(import.meta.url);
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, "dist");
const record = join(dist, ".electra-build.json");
const force = process.argv.includes("--force");

function say(text) {
  console.error(`electra-native: ${text}`);
}

const hash = contentHash(root, ["src", "tsconfig.json"]);

function isBuilt() {
  try {
    return JSON.parse(readFileSync(record, "utf8")).hash === hash;
  } catch {
    return false;
  }
}

function compilerPath() {
  try {
    return require.resolve("typescript/bin/tsc");
  } catch {
    return undefined;
  }
}

async function compile() {
  if (!force && isBuilt()) return;
  const compiler = compilerPath();
  if (!compiler) {
    // As a dependency the package comes with dist and without the compiler.
    if (existsSync(join(dist, "index.js"))) return;
    throw new Error(
      "dist is missing and TypeScript is not installed; run npm install (with development dependencies)",
    );
  }
  const fresh = join(root, "build", `dist.${process.pid}.tmp`);
  const old = join(root, "build", `dist.${process.pid}.old`);
  try {
    const { status, error } = spawnSync(
      process.execPath,
      [compiler, "-p", join(root, "tsconfig.json"), "--outDir", fresh],
      { cwd: root, stdio: ["ignore", 2, 2] },
    );
    if (error) throw error;
    if (status !== 0) throw new Error("the TypeScript sources do not compile; dist was left as it was");
    writeFileSync(join(fresh, ".electra-build.json"), `${JSON.stringify({ hash })}\n`);
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(fresh, dist);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}

async function main() {
  if (!force && isBuilt()) return;
  await withBuildLock(join(root, "build", "electra-prepare.lock"), compile);
}

main().catch((error) => {
  say(error.message);
  process.exitCode = 1;
});
