// npm run test:onnx: runs exported models in onnxruntime and transformers.js, which are no dependencies of this package. They
// are installed into .cache/onnx-test (470 MB) if ELECTRA_ORT_DIR does not name a folder that has them. Arguments are
// test files; by default those that need the two.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runVitest } from "./run-vitest.mjs";

/** The versions that the numbers in docs/import-export.md are of. */
const VERSIONS = { "onnxruntime-node": "1.30.0", "@huggingface/transformers": "4.3.1" };
const TESTS = ["onnx-runtime", "transformers-js", "export-task"];

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const given = process.env.ELECTRA_ORT_DIR;
const folder = given ?? join(root, ".cache", "onnx-test");

function versionOf(name) {
  const file = join(folder, "node_modules", name, "package.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).version : undefined;
}

/** Names of what is missing; another version than ours counts as missing in our own folder alone. */
function missing() {
  return Object.entries(VERSIONS)
    .filter(([name, version]) => (given === undefined ? versionOf(name) !== version : !versionOf(name)))
    .map(([name]) => name);
}

function install() {
  mkdirSync(folder, { recursive: true });
  // Without a package.json of its own npm would install into this package.
  const own = { name: "onnx-test", private: true, dependencies: VERSIONS };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(own, null, 2)}\n`);
  console.log(
    `installing ${Object.entries(VERSIONS)
      .map((pair) => pair.join("@"))
      .join(" and ")} into ${folder}`,
  );
  spawnSync("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
    // Its CPU library comes with the package; the download would be that for GPUs.
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" },
  });
}

if (given === undefined && missing().length > 0) install();
const absent = missing();
if (absent.length > 0) {
  console.error(
    given === undefined
      ? `could not install ${absent.join(" and ")}: see npm's message above. Without a network, name a folder that has them in ELECTRA_ORT_DIR.`
      : `ELECTRA_ORT_DIR=${given} has no ${absent.join(" and no ")} below node_modules; unset it to have them installed.`,
  );
  console.log("0 passed, 1 failed, 0 skipped");
  process.exit(2);
}
console.log(
  Object.keys(VERSIONS)
    .map((name) => `${name} ${versionOf(name)}`)
    .join(", "),
);

const asked = process.argv.slice(2);
const { passed, failed, skips, note } = await runVitest(
  asked.length > 0 ? asked : TESTS.map((name) => `test/unit/interop/${name}.test.ts`),
  { ...process.env, ELECTRA_ORT_DIR: folder },
);
if (note !== undefined) console.log(note);
for (const reason of skips) console.log(`skipped: ${reason}`);
console.log(`${passed} passed, ${failed} failed, ${skips.length} skipped`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
