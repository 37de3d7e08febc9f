import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../../src/package-root.js";
import { runCli } from "../cli/run-cli.js";

const compiled = existsSync(join(packageRoot, "dist", "index.js"));

describe.skipIf(!compiled)("the start (skipped unless dist is compiled)", () => {
  it("of --help and of an import takes little more than that of Node itself", async () => {
    const { code, stdout, stderr } = await runCli("bench", "startup", "--steps", "7", "--json");
    expect(code, stderr).toBe(0);
    const result = JSON.parse(stdout);
    expect(result.repeat).toBe(7);
    expect(result.help_ms).toBe(result.help.median);
    // Both are about 1.5. Ratios of medians that alternated, because nothing is said of the machine's speed.
    expect(result.help_ms / result.node_ms).toBeLessThan(2.5);
    expect(result.import_ms / result.node_ms).toBeLessThan(2.5);
  }, 120_000);
});
