#!/usr/bin/env node
// The command line's entry. Plain JavaScript that is committed as it is, so that it also runs where nothing has
// been compiled yet, and in old versions of Node far enough to say that they are too old.
import { existsSync } from "node:fs";
import module from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const scripts = dirname(fileURLToPath(import.meta.url));
const entry = join(scripts, "..", "dist", "cli", "main.js");
const args = process.argv.slice(2);

function fail(code, message, hint) {
  if (args.includes("--json")) {
    process.stdout.write(`${JSON.stringify({ error: { code, message, hint } }, null, 2)}\n`);
  }
  process.stderr.write(`error: ${message}\n  ${hint}\n`);
  process.exitCode = 1;
}

/** Compiles the shell and the addon, as the install scripts of npm would have done. */
async function build() {
  const { spawnSync } = await import("node:child_process");
  // As a dependency, npm's own call of install.mjs may fail quietly; somebody who types "build" wants to know.
  const flags = ["--strict", ...(args.includes("--force") ? ["--force"] : [])];
  for (const script of ["prepare.mjs", "install.mjs"]) {
    // What compilers say is talk: stdout stays empty for data.
    const options = { stdio: ["ignore", 2, 2], cwd: join(scripts, "..") };
    const { status, signal, error } = spawnSync(process.execPath, [join(scripts, script), ...flags], options);
    if (error !== undefined || status !== 0) {
      const how =
        error !== undefined
          ? error.message
          : signal !== null
            ? `stopped by ${signal}`
            : `exit code ${status}`;
      fail("ERR_ELECTRA_BUILD", `scripts/${script} failed (${how})`, "What it printed above says why.");
      return;
    }
  }
  if (args.includes("--json")) process.stdout.write(`${JSON.stringify({ built: true }, null, 2)}\n`);
  process.stderr.write("built\n\nNext:\n  npx electra-native doctor\n");
}

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(
    "ERR_ELECTRA_NODE_VERSION",
    `electra-native needs Node.js 20.19 or newer, this is ${process.versions.node}`,
    "Install a newer Node.js: https://nodejs.org/",
  );
} else if (args[0] === "build" && !args.includes("--help") && !args.includes("-h")) {
  await build();
} else if (!existsSync(entry)) {
  fail(
    "ERR_ELECTRA_NOT_BUILT",
    `electra-native is not compiled yet: ${entry} is missing (were install scripts blocked?)`,
    "Run: npx electra-native build",
  );
} else {
  // Node 22 and later keep compiled modules, in a folder of the system's temporary ones, for the next start.
  module.enableCompileCache?.();
  const { main } = await import(pathToFileURL(entry).href);
  process.exitCode = await main(args);
}
