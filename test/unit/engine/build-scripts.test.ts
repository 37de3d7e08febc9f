import { spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const repository = fileURLToPath(new URL("../../../", import.meta.url));
let folder: string;
let root: string;

/** A package of the shape of ours, installed as somebody's dependency, with stand-ins for the compilers. */
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "electra-build-"));
  root = join(folder, "node_modules", "electra-native");
  mkdirSync(join(root, "native"), { recursive: true });
  for (const name of ["src", "cuda"]) mkdirSync(join(root, name));
  cpSync(join(repository, "scripts"), join(root, "scripts"), { recursive: true });
  for (const file of ["package.json", "binding.gyp"]) cpSync(join(repository, file), join(root, file));
  writeFileSync(join(root, "native/sources.json"), '{"cuda": []}');
  writeFileSync(join(root, "native/engine.cc"), "int one;");
  writeFileSync(join(root, "src/index.ts"), "one");
  writeFileSync(join(root, "tsconfig.json"), "{}");
  writeFileSync(
    join(folder, "gyp.cjs"),
    `const fs = require("node:fs");
     fs.appendFileSync(${JSON.stringify(join(folder, "calls"))}, process.argv.slice(2).join(" ") + "\\n");
     if (process.env.BROKEN_COMPILER) process.exit(3);
     Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(process.env.SLOW_COMPILER ?? 0));
     fs.mkdirSync("build/Release", { recursive: true });
     fs.copyFileSync("native/engine.cc", "build/Release/electra_native.node");`,
  );
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
function run(
  script: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, "scripts", script), ...args], {
      env: {
        ...process.env,
        ELECTRA_NATIVE_BUILD: "gyp",
        ELECTRA_CUDA: "AUTO",
        npm_config_node_gyp: join(folder, "gyp.cjs"),
        ...env,
      },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
const calls = () =>
  existsSync(join(folder, "calls"))
    ? readFileSync(join(folder, "calls"), "utf8").trim().split("\n").length
    : 0;
const addon = () => readFileSync(join(root, "build/Release/electra_native.node"), "utf8");

describe("scripts/install.mjs", () => {
  it("builds once for the same sources, again for others, and always when forced", async () => {
    expect(await run("install.mjs")).toMatchObject({ code: 0, stdout: "" });
    expect(addon()).toBe("int one;");
    expect(await run("install.mjs")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(calls()).toBe(1);
    writeFileSync(join(root, "native/engine.cc"), "int two;");
    await run("install.mjs");
    expect(addon()).toBe("int two;");
    await run("install.mjs", ["--force"]);
    expect(calls()).toBe(3);
    expect(readdirSync(join(root, "build/Release")).sort()).toEqual([
      "electra-build.json",
      "electra_native.node",
    ]);
  });

  it("builds once when two run at the same time", async () => {
    const outcomes = await Promise.all([1, 2].map(() => run("install.mjs", [], { SLOW_COMPILER: "600" })));
    expect(outcomes.map(({ code }) => code)).toEqual([0, 0]);
    expect(calls()).toBe(1);
  });

  it("takes over the lock of a process that is gone", async () => {
    mkdirSync(join(root, "build"));
    writeFileSync(join(root, "build/electra-build.lock"), "999999999");
    expect((await run("install.mjs")).code).toBe(0);
    expect(addon()).toBe("int one;");
  });

  it("lets a dependent's install pass when the build fails, saying what failed and what mends it", async () => {
    const broken = { BROKEN_COMPILER: "1" };
    const { code, stderr } = await run("install.mjs", [], broken);
    expect(code).toBe(0);
    expect(stderr).toContain("exit code 3");
    expect(stderr).toContain("npx electra-native build");
    expect((await run("install.mjs", ["--strict"], broken)).code).toBe(1);
    expect(existsSync(join(root, "build/electra-build.lock"))).toBe(false);
  });

  it("does nothing when told to skip, and refuses settings that it does not know", async () => {
    expect(await run("install.mjs", [], { ELECTRA_NATIVE_BUILD: "skip" })).toMatchObject({ code: 0 });
    expect(calls()).toBe(0);
    const odd = await run("install.mjs", ["--strict"], { ELECTRA_CUDA: "maybe" });
    expect(odd).toMatchObject({ code: 1, stderr: expect.stringContaining("AUTO, ON or OFF") });
  });
});

describe("scripts/prepare.mjs", () => {
  function installCompiler(body: string): void {
    const bin = join(folder, "node_modules/typescript/bin");
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(folder, "node_modules/typescript/package.json"), "{}");
    writeFileSync(
      join(bin, "tsc"),
      `const fs = require("node:fs");
       fs.appendFileSync(${JSON.stringify(join(folder, "calls"))}, "tsc\\n");
       const out = process.argv[process.argv.indexOf("--outDir") + 1];
       ${body}`,
    );
  }
  const working = 'fs.mkdirSync(out); fs.copyFileSync("src/index.ts", out + "/index.js");';

  it("compiles once for the same sources and again for others", async () => {
    installCompiler(working);
    expect(await run("prepare.mjs")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await run("prepare.mjs")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(calls()).toBe(1);
    writeFileSync(join(root, "src/index.ts"), "two");
    await run("prepare.mjs");
    expect(readFileSync(join(root, "dist/index.js"), "utf8")).toBe("two");
    await run("prepare.mjs", ["--force"]);
    expect(calls()).toBe(3);
    expect(readdirSync(join(root, "build"))).toEqual([]);
  });

  it("keeps the old dist when the sources do not compile", async () => {
    installCompiler(working);
    await run("prepare.mjs");
    installCompiler("process.exit(2);");
    writeFileSync(join(root, "src/index.ts"), "broken");
    expect((await run("prepare.mjs")).code).toBe(1);
    expect(readFileSync(join(root, "dist/index.js"), "utf8")).toBe("one");
  });

  it("is content with a dist that came with the package when there is no compiler", async () => {
    expect((await run("prepare.mjs")).code).toBe(1);
    mkdirSync(join(root, "dist"));
    writeFileSync(join(root, "dist/index.js"), "");
    expect((await run("prepare.mjs")).code).toBe(0);
  });
});

describe("native/sources.json", () => {
  it("lists every source file below native and cuda, and nothing else", () => {
    const lists = JSON.parse(readFileSync(join(repository, "native/sources.json"), "utf8")) as Record<
      string,
      string[]
    >;
    const listed = Object.values(lists).flat();
    const present = ["native", "cuda"].flatMap((top) =>
      existsSync(join(repository, top))
        ? (readdirSync(join(repository, top), { recursive: true }) as string[])
            .filter((name) => /\.(cc|cu)$/.test(name))
            .map((name) => `${top}/${name.split("\\").join("/")}`)
        : [],
    );
    expect(listed.sort()).toEqual(present.sort());
  });
});
