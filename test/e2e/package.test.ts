import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingBuild } from "./needs-build.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));
const missing = missingBuild();

describe.skipIf(missing !== undefined)(`the packed package${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let folder = "";
  let installed: string | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "electra-package-"));
    // Without scripts: what prepare would make is there already, and a user's npm may block install scripts.
    await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
    const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
    await writeFile(join(folder, "package.json"), '{ "name": "user", "private": true, "type": "module" }\n');
    try {
      await run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", `./${tarball}`], {
        cwd: folder,
      });
      installed = join(folder, "node_modules", "electra-native");
    } catch (error) {
      // Its dependencies come from the npm registry; without it only the checks of the tarball can run.
      if (!/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT/.test(String((error as { stderr?: string }).stderr)))
        throw error;
    }
  }, 180_000);
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const user = (args: readonly string[], env: Record<string, string> = {}) =>
    run(process.execPath, args, { cwd: folder, env: { ...process.env, NO_COLOR: "1", ...env } });
  const bin = () => join(installed ?? "", "scripts", "electra-native.mjs");

  it("shows its version and its help", async (context) => {
    if (installed === undefined) return context.skip("the npm registry is out of reach");
    expect((await user([bin(), "--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await user([bin(), "--help"])).stdout).toContain("pretrain");
  });

  it("says where it looked for the engine and what builds it, where install scripts were blocked", async (context) => {
    if (installed === undefined) return context.skip("the npm registry is out of reach");
    const failure = await user([bin(), "bench", "step", "--json"]).then(
      () => undefined,
      (error: { stdout: string }) => JSON.parse(error.stdout).error,
    );
    expect(failure).toMatchObject({ code: "ERR_ELECTRA_ADDON_LOAD", hint: "Run: npx electra-native build" });
    expect(failure.message).toContain(join("electra-native", "build", "Release", "electra_native.node"));
  });

  it("trains as a library, given the engine", async (context) => {
    if (installed === undefined) return context.skip("the npm registry is out of reach");
    await writeFile(
      join(folder, "train.mjs"),
      [
        'import { benchmarkStep, ElectraError, Vocabulary } from "electra-native";',
        'if (Vocabulary.fromTokens(["[PAD]", "[UNK]"]).size !== 2 || !(new ElectraError("ERR_ELECTRA_X", "") instanceof Error)) throw new Error();',
        'const { tokens_per_s } = await benchmarkStep({ modelSize: "small", batchSize: 1, maxSeqLength: 16, steps: 1, warmupSteps: 0 });',
        "console.log(tokens_per_s > 0);",
      ].join("\n"),
    );
    const addon = join(root, "build", "Release", "electra_native.node");
    expect((await user(["train.mjs"], { ELECTRA_NATIVE_ADDON: addon })).stdout).toBe("true\n");
  });

  it("holds what publint expects of a package", async () => {
    const { publint } = await import("publint");
    const { messages } = await publint({ pkgDir: root, strict: true, pack: false });
    expect(messages.filter(({ type }) => type !== "suggestion")).toEqual([]);
  });
});
