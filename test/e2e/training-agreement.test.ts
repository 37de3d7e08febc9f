import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { missingBuild } from "./needs-build.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));

interface Agreement {
  readonly passed: boolean;
  readonly injected: { readonly trace: readonly unknown[]; readonly weights: { readonly movement: number } };
  readonly free: { readonly slots: number; readonly flips: readonly { readonly gap: number }[] };
}

async function compare(device: string, more: readonly string[] = []): Promise<Agreement> {
  const folder = mkdtempSync(join(tmpdir(), "electra-agreement-"));
  const file = join(folder, "agreement.json");
  try {
    // Five steps are few, so the rate is high: the weights must have moved, or initial values are compared.
    const args = ["--device", device, "--steps", "5", "--free-steps", "5", "--learning-rate", "1e-3"];
    await run(
      process.execPath,
      [
        join(root, "scripts/compare-devices.mjs"),
        ...args,
        "--model",
        "tiny",
        "--threads",
        "2",
        "--json",
        file,
        ...more,
      ],
      { cwd: root },
    ).catch((error: { stdout?: string; stderr?: string }) => {
      throw new Error(`${error.stdout ?? ""}\n${error.stderr ?? ""}`);
    });
    return JSON.parse(readFileSync(file, "utf8")) as Agreement;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function expectAgreement(result: Agreement): void {
  expect(result.passed).toBe(true);
  expect(result.injected.trace).toHaveLength(5);
  expect(result.injected.weights.movement).toBeGreaterThan(0.05);
  expect(result.free.slots).toBeGreaterThan(20);
  for (const { gap } of result.free.flips) expect(Math.abs(gap)).toBeLessThan(1e-4);
}

const missing = missingBuild();
describe.skipIf(missing !== undefined)(
  `training on two devices${missing ? ` (skipped: ${missing})` : ""}`,
  () => {
    it("agrees between two instruction sets of the CPU", async () => {
      expectAgreement(await compare("cpu", ["--isa", "baseline"]));
    });

    const isBuilt = existsSync(join(root, "build/emulated/electra_cuda_emulated.so"));
    const reason = isBuilt ? "" : " (skipped: npm run test:emulated -- --build-only builds its library)";
    it.skipIf(!isBuilt)(
      `agrees between the CPU and emulated CUDA, dropout on${reason}`,
      async () => {
        expectAgreement(await compare("emulated"));
      },
      600_000,
    );
  },
);
