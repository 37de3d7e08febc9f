// Runs golden checks and counts. No test framework, so that a machine without one can run them too.
import { readFile } from "node:fs/promises";

const modules = [
  "tables",
  "tokenizer",
  "tfrecord",
  "checkpoint",
  "pretrain",
  "row-modes",
  "hugging-face",
  "finetune",
  "metrics",
  "finetuning-data",
];

/**
 * @param {{ goldenDir: string, filter?: string, machine?: { device?: string, precision?: string },
 *   print?: (line: string) => void }} options `machine` is what `Engine.create` is given; on another device than the CPU
 *   the checks that compute nothing there are left out
 * @returns {Promise<{ passed: number, failed: number, skipped: number, notLanded: number, lines: string[] }>}
 */
export async function runGoldenChecks({ goldenDir, filter = "", machine = {}, print = () => {} }) {
  const counts = { passed: 0, failed: 0, skipped: 0, notLanded: 0 };
  const lines = [];
  const say = (line) => {
    lines.push(line);
    print(line);
  };
  const { names: notLanded } = JSON.parse(
    await readFile(new URL("not-landed.json", import.meta.url), "utf8"),
  );
  for (const module of modules) {
    const { checks, usesDevice } = await import(new URL(`${module}.mjs`, import.meta.url).href);
    if (usesDevice !== true && (machine.device ?? "cpu") !== "cpu") continue;
    for (const { name, run } of checks) {
      if (!name.includes(filter)) continue;
      if (name in notLanded) continue;
      try {
        const measured = await run(goldenDir, machine);
        counts.passed++;
        say(`PASS ${name} ${measured ?? ""}`.trimEnd());
      } catch (error) {
        if (error?.skip === true) {
          counts.skipped++;
          say(`SKIP ${name}: ${error.message}`);
        } else {
          counts.failed++;
          say(`FAIL ${name}: ${error?.message ?? error}`);
        }
      }
    }
  }
  for (const [name, by] of Object.entries(notLanded)) {
    if (!name.includes(filter)) continue;
    counts.notLanded++;
    say(`NOT LANDED ${name} (comes with ${by})`);
  }
  return { ...counts, lines };
}
