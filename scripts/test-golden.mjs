// npm run test:golden [-- [filter] [--device D] [--precision f32|bf16]]: compares with the numbers of the reference. Folder:
// ELECTRA_GOLDEN_DIR, by default the copies under test/fixtures/golden. The variables ELECTRA_TEST_DEVICE and
// ELECTRA_TEST_PRECISION stand for the options.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runGoldenChecks } from "../test/golden/run-checks.mjs";

const {
  values: { device, precision },
  positionals: [filter = ""],
} = parseArgs({
  allowPositionals: true,
  options: {
    device: { type: "string", default: process.env.ELECTRA_TEST_DEVICE || "cpu" },
    precision: { type: "string", default: process.env.ELECTRA_TEST_PRECISION || "auto" },
  },
});
const goldenDir =
  process.env.ELECTRA_GOLDEN_DIR ?? fileURLToPath(new URL("../test/fixtures/golden/", import.meta.url));
if (!existsSync(goldenDir)) {
  console.error(`No golden fixtures at ${goldenDir}. Set ELECTRA_GOLDEN_DIR to the folder that holds them.`);
  process.exit(2);
}
if (device === "emulated") {
  const library =
    process.env.ELECTRA_CUDA_EMULATED_LIBRARY ??
    fileURLToPath(new URL("../build/emulated/electra_cuda_emulated.so", import.meta.url));
  if (!existsSync(library)) {
    console.log(
      `SKIP golden checks on the emulator: ${library} is not there (npm run test:emulated -- --build-only)`,
    );
    console.log("0 passed, 0 failed, 0 not landed, 1 skipped");
    process.exit(0);
  }
}
const { passed, failed, skipped, notLanded } = await runGoldenChecks({
  goldenDir,
  filter,
  machine: { device, precision },
  print: (line) => console.log(line),
});
console.log(
  `${passed} passed, ${failed} failed, ${notLanded} not landed${skipped > 0 ? `, ${skipped} skipped` : ""}`,
);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
