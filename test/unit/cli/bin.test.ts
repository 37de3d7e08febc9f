import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const committed = fileURLToPath(new URL("../../../scripts/electra-native.mjs", import.meta.url));

let packageFolder: string;
beforeEach(() => {
  packageFolder = mkdtempSync(join(tmpdir(), "bin-"));
  mkdirSync(join(packageFolder, "scripts"));
  cpSync(committed, join(packageFolder, "scripts", "electra-native.mjs"));
});
afterEach(() => rmSync(packageFolder, { recursive: true, force: true }));

function run(...argv: readonly string[]): { code: number | null; stdout: string; stderr: string } {
  const script = join(packageFolder, "scripts", "electra-native.mjs");
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...argv], { encoding: "utf8" });
  return { code: status, stdout, stderr };
}

const script = (name: string, text: string): void =>
  writeFileSync(join(packageFolder, "scripts", `${name}.mjs`), text);

describe("the bin", () => {
  it("without dist names the command that mends it", () => {
    const { code, stdout, stderr } = run("pretrain");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/not compiled yet: .*main\.js is missing[\s\S]*Run: npx electra-native build/);
    expect(JSON.parse(run("pretrain", "--json").stdout).error.code).toBe("ERR_ELECTRA_NOT_BUILT");
  });

  it("builds without dist: the shell, then the addon, their talk on stderr", () => {
    script("prepare", 'console.log("shell", process.argv.slice(2).join())');
    script("install", 'console.log("addon", process.argv.slice(2).join())');
    const { code, stdout, stderr } = run("build", "--force", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ built: true });
    expect(stderr).toMatch(
      /^shell --strict,--force\naddon --strict,--force\nbuilt\n[\s\S]*npx electra-native doctor/,
    );
  });

  it("stops at the step that failed", () => {
    script("prepare", 'console.error("tsc says no"); process.exit(3)');
    script("install", 'console.log("never")');
    const { code, stderr } = run("build");
    expect(code).toBe(1);
    expect(stderr).toMatch(/tsc says no\nerror: scripts\/prepare\.mjs failed \(exit code 3\)/);
    expect(stderr).not.toContain("never");
  });

  it("hands arguments to the command line and its exit code to the caller", () => {
    mkdirSync(join(packageFolder, "dist", "cli"), { recursive: true });
    writeFileSync(join(packageFolder, "package.json"), '{"type":"module"}');
    const main = "export const main = async (argv) => { console.log(JSON.stringify(argv)); return 7; };";
    writeFileSync(join(packageFolder, "dist", "cli", "main.js"), main);
    const { code, stdout } = run("detect", "--json", "a b");
    expect(code).toBe(7);
    expect(JSON.parse(stdout)).toEqual(["detect", "--json", "a b"]);
  });
});
