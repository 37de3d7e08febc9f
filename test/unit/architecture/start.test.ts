import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, it } from "vitest";
import { root } from "./source-imports.js";

/** What Node loads at once for a file of src: files from the root, and packages. Not what import() loads later. */
function loadedWith(entry: string): { files: string[]; packages: string[] } {
  const seen = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(file, "utf8");
    // Only `import type` and `export type` leave no trace in the compiled file.
    for (const [, specifier] of text.matchAll(
      /^(?:import|export)\b(?! type\b)[^;"'=]*?from\s*"([^"]+)";/gm,
    )) {
      if (specifier!.startsWith(".")) visit(resolve(dirname(file), specifier!.replace(/\.js$/, ".ts")));
      else if (!specifier!.startsWith("node:")) packages.add(specifier!);
    }
  };
  visit(join(root, entry));
  return { files: [...seen], packages: [...packages].sort() };
}

// Node takes a third to half a millisecond for a file, whatever is in it; zod alone has a hundred.

it("importing the library loads no zod and no more files than needed for its classes and small functions", () => {
  const { files, packages } = loadedWith("src/index.ts");
  expect(packages).toEqual(["fastest-levenshtein"]);
  expect(files.length).toBeGreaterThan(100);
  expect(files.length).toBeLessThan(180);
});

it("--help loads commander and a few files", () => {
  const { files, packages } = loadedWith("src/cli/main.ts");
  expect(packages).toEqual(["commander"]);
  expect(files.length).toBeGreaterThan(5);
  expect(files.length).toBeLessThan(20);
});
