import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

/** A fresh copy of the loader, which keeps what it has loaded. */
async function freshLoad(path: string): Promise<unknown> {
  vi.resetModules();
  vi.stubEnv("ELECTRA_NATIVE_ADDON", path);
  const { loadBinding } = await import("../../../src/engine/binding.js");
  return loadBinding();
}

describe("loading the addon", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "electra-binding-"));
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });

  it("says which file is not there and which command builds it", async () => {
    const path = join(folder, "absent.node");
    await expect(freshLoad(path)).rejects.toMatchObject({
      name: "ElectraError",
      code: "ERR_ELECTRA_ADDON_LOAD",
      message: expect.stringContaining(`${path}: not there`),
      hint: expect.stringContaining("npx electra-native build"),
    });
  });

  it("gives the system's reason, explained, for a file that is no library", async () => {
    const path = join(folder, "text.node");
    writeFileSync(path, "this is not a library, though it is long enough to be looked at as one".repeat(20));
    await expect(freshLoad(path)).rejects.toMatchObject({
      code: "ERR_ELECTRA_ADDON_LOAD",
      message: expect.stringMatching(/text\.node: .+\(it is not a library of this system\)/),
      cause: expect.any(Error),
    });
  });

  it.each([
    ["another version", { version: "0.0.0-other", abi: 1 }],
    ["another interface", { abi: -1 }],
  ])("asks for a rebuild when the addon is of %s", async (_, exported) => {
    const path = join(folder, "old.cjs");
    writeFileSync(path, `module.exports = ${JSON.stringify(exported)};`);
    await expect(freshLoad(path)).rejects.toMatchObject({
      code: "ERR_ELECTRA_ADDON_VERSION",
      hint: "Rebuild it: npx electra-native build",
    });
  });

  it("lists every usual place when no path is given", async () => {
    vi.resetModules();
    vi.stubEnv("ELECTRA_NATIVE_ADDON", "");
    vi.doMock("node:fs", async (original) => ({
      ...(await original<typeof import("node:fs")>()),
      existsSync: () => false,
    }));
    const { loadBinding } = await import("../../../src/engine/binding.js");
    vi.doUnmock("node:fs");
    expect(() => loadBinding()).toThrowError(
      /Tried:\n {2}.*build[\\/]Release[\\/]electra_native\.node: not there\n {2}.*build[\\/]Debug[\\/]electra_native\.node: not there/,
    );
  });
});
