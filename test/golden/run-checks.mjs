// Runs golden checks and counts. No test framework, so that a machine without one can run them too.
import { readFile } from "node:fs/promises";

const modules = ["tables", "tokenizer", "tfrecord", "pretrain", "row-modes"];

/**
 * @param {{ goldenDir: string, filter?: string, print?: (line: string) => void }} options
 * @returns {Promise<{ passed: number, failed: number, skipped: number, notLanded: number, lines: string[] }>}
 */
export async function runGoldenChecks({ goldenDir, filter = "", print = () => {} }) {
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
    const { checks } = await import(new URL(`${module}.mjs`, import.meta.url).href);
    for (const { name, run } of checks) {
      if (!name.includes(filter)) continue;
      if (name in notLanded) continue;
      try {
        const measured = await run(goldenDir);
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
