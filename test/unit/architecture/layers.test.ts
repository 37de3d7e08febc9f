import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesBelow, includesOf, type ModuleUse, moduleUses, root } from "./source-imports.js";

// The rules of docs/architecture.md. What breaks one is listed as "file -> module".
const uses = moduleUses("src");
const listed = (broken: readonly ModuleUse[]): string[] =>
  broken.map(({ file, specifier }) => `${file} -> ${specifier}`);
const within = (...rooms: readonly string[]) =>
  uses.filter(({ file }) => rooms.some((room) => file.startsWith(`src/${room}/`)));

describe("the shell's rows", () => {
  it("finds imports at all", () => {
    expect(uses.length).toBeGreaterThan(100);
    expect(uses.some(({ room }) => room === "engine")).toBe(true);
    // Imports of types and calls of import() count too.
    expect(within("cli").some(({ room }) => room === "pretraining")).toBe(true);
  });

  it("only src/engine/binding.ts opens the addon", () => {
    const opens = /\.node["'`]|createRequire|process\.dlopen/;
    const files = filesBelow("src", [".ts"]).filter((file) =>
      opens.test(withoutComments(readFileSync(join(root, file), "utf8"))),
    );
    // The examination of a machine looks for the addon among the libraries that are loaded, and opens nothing; the
    // others require packages of JavaScript when they are needed.
    const others = [
      "src/cli/doctor/examine-engine.ts",
      "src/hparams/lazy-zod.ts",
      "src/telemetry/terminal-sink.ts",
    ];
    expect(files.filter((file) => !others.includes(file))).toEqual(["src/engine/binding.ts"]);
  });

  it("only src/engine knows the addon's own interface", () => {
    const broken = uses.filter(
      ({ file, specifier }) =>
        !file.startsWith("src/engine/") &&
        /engine\/(binding|native-types|native-failure)\.js$/.test(specifier),
    );
    expect(listed(broken)).toEqual([]);
  });

  it("tokenization, hparams and metrics know neither engine nor any other room", () => {
    const broken = within("tokenization", "hparams", "metrics").filter(
      ({ file, room }) => room !== undefined && room !== "errors" && !file.startsWith(`src/${room}/`),
    );
    expect(listed(broken)).toEqual([]);
  });

  it("tokenization, hparams and metrics are pure, but for the one reader of an hparams file and the loader of zod", () => {
    const pureModules = ["node:path", "zod", "fastest-levenshtein"];
    const broken = within("tokenization", "hparams", "metrics").filter(
      ({ room, specifier }) => room === undefined && !pureModules.includes(specifier),
    );
    expect(listed(broken)).toEqual([
      "src/hparams/hparams-file.ts -> node:fs/promises",
      "src/hparams/lazy-zod.ts -> node:module",
    ]);
  });

  it("the engine needs nothing of the shell but its errors and the package's place", () => {
    const leaves = ["engine", "errors", "package-root"];
    const broken = within("engine").filter(({ room }) => room !== undefined && !leaves.includes(room));
    expect(listed(broken)).toEqual([]);
  });

  it("the single files that everybody may use know no room", () => {
    const broken = uses.filter(
      ({ file, room }) => /^src\/(errors|package-root)\.ts$/.test(file) && room !== undefined,
    );
    expect(listed(broken)).toEqual([]);
  });

  it("what jobs are made of does not know the jobs", () => {
    const parts = within("tokenization", "data", "hparams", "checkpoint", "metrics", "telemetry", "engine");
    const jobs = new Set([
      "pretraining",
      "finetuning",
      "inference",
      "interop",
      "electric",
      "quickstart",
      "bench",
      "cli",
      "index",
    ]);
    expect(listed(parts.filter(({ room }) => room !== undefined && jobs.has(room)))).toEqual([]);
  });

  it("nobody imports src/cli", () => {
    expect(listed(uses.filter(({ file, room }) => room === "cli" && !file.startsWith("src/cli/")))).toEqual(
      [],
    );
  });
});

describe("the engine's rows", () => {
  const model = filesBelow("native/model", [".cc", ".h"]);

  it("native/model sees operators.h and its own headers alone: no device, no Node", () => {
    const own = new Set([
      ...model.map((file) => file.slice("native/model/".length)),
      ...["operators.h", "tensor.h", "philox.h", "engine_error.h"].map((name) => `../${name}`),
    ]);
    const broken = model.flatMap((file) =>
      includesOf(file)
        // What has no path and no ending is the standard library.
        .filter((path) => !own.has(path) && !/^[a-z_]+$/.test(path))
        .map((path) => `${file} -> ${path}`),
    );
    expect(model.length).toBeGreaterThan(5);
    expect(broken).toEqual([]);
  });

  it("native/cpu knows neither model nor addon", () => {
    const broken = filesBelow("native/cpu", [".cc", ".h"]).flatMap((file) =>
      includesOf(file)
        .filter((path) => /(^|\/)(model|addon)\/|^napi|^node_api/.test(path))
        .map((path) => `${file} -> ${path}`),
    );
    expect(broken).toEqual([]);
  });

  it("cuda knows the contract alone: neither model nor addon nor CPU", () => {
    const files = filesBelow("cuda", [".cu", ".cc", ".h"]);
    const broken = files.flatMap((file) =>
      includesOf(file)
        .filter((path) => /(^|\/)(model|addon|cpu)\/|^napi|^node_api/.test(path))
        .map((path) => `${file} -> ${path}`),
    );
    expect(files.length).toBeGreaterThan(20);
    expect(broken).toEqual([]);
  });

  it("kernels use CUDA through cuda/platform alone", () => {
    // What the emulator cannot run, or would run without watching.
    const forbidden = /<<<|\basm\b|__shared__|cooperative_groups|#include <(?:cub|thrust)/;
    const broken = filesBelow("cuda", [".cu", ".h"])
      .filter((file) => !/^cuda\/(?:platform|emulator)\//.test(file))
      .filter((file) => forbidden.test(withoutComments(readFileSync(join(root, file), "utf8"))));
    expect(broken).toEqual([]);
  });

  it("the contract in native/*.h includes the standard library and itself alone", () => {
    const broken = filesBelow("native", [".h"])
      .filter((file) => file.split("/").length === 2)
      .flatMap((file) =>
        includesOf(file)
          .filter((path) => path.includes("/") || path.startsWith("napi"))
          .map((path) => `${file} -> ${path}`),
      );
    expect(broken).toEqual([]);
  });

  it("sources.json lists every source file under native and cuda, and nothing else", () => {
    const lists = JSON.parse(readFileSync(join(root, "native/sources.json"), "utf8")) as Record<
      string,
      string[]
    >;
    const listed = Object.values(lists).flat().sort();
    expect(listed).toEqual([...filesBelow("native", [".cc"]), ...filesBelow("cuda", [".cc", ".cu"])].sort());
    const missing = Object.values(lists)
      .flat()
      .filter((file) => !existsSync(join(root, file)));
    expect(missing).toEqual([]);
  });
});

/** Good enough for our own files: no string of theirs holds a comment's beginning but for addresses. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|[^:])\/\/.*$/gm, "$1");
}
