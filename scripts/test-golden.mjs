// npm run test:golden [-- filter]: compares with the numbers of the reference. Folder: ELECTRA_GOLDEN_DIR, by default the
// copies under test/fixtures/golden.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runGoldenChecks } from "../test/golden/run-checks.mjs";

const goldenDir =
  process.env.ELECTRA_GOLDEN_DIR ?? fileURLToPath(new URL("../test/fixtures/golden/", import.meta.url));
if (!existsSync(goldenDir)) {
  console.error(`No golden fixtures at ${goldenDir}. Set ELECTRA_GOLDEN_DIR to the folder that holds them.`);
  process.exit(2);
}
const { passed, failed, skipped, notLanded } = await runGoldenChecks({
  goldenDir,
  filter: process.argv[2] ?? "",
  print: (line) => console.log(line),
});
console.log(
  `${passed} passed, ${failed} failed, ${notLanded} not landed${skipped > 0 ? `, ${skipped} skipped` : ""}`,
);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
