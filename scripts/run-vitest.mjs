// Runs vitest and counts, for the scripts whose last line is `N passed, N failed, N skipped`.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");

/** Runs a Node script, showing what it prints and keeping what it prints to stdout. */
export function runNode(args, env = process.env) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ["ignore", "pipe", "inherit"] });
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

/** What the tests of some files or folders came to, with the name of each that was skipped. */
export async function runVitest(paths, env = process.env) {
  const scratch = mkdtempSync(join(tmpdir(), "electra-vitest-"));
  try {
    const file = join(scratch, "result.json");
    const args = [
      vitest,
      "run",
      ...paths,
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${file}`,
    ];
    const { ok, ending } = await runNode(args, env);
    if (!existsSync(file))
      return { passed: 0, failed: 1, skips: [], note: `vitest gave no result: ${ending}` };
    return count(JSON.parse(readFileSync(file, "utf8")), ok);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function count(result, ok) {
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
