import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { filesBelow, root } from "./source-imports.js";

it("docs/library.md explains every error code of the sources, and no other", () => {
  const sources = ["src", "native", "cuda", "scripts"].flatMap((folder) =>
    filesBelow(folder, [".ts", ".cc", ".cu", ".h", ".mjs"]),
  );
  // Quoted, so that families in comments (ERR_ELECTRA_VOCABULARY_…) do not count.
  const thrown = new Set(
    sources.flatMap((file) =>
      [...readFileSync(join(root, file), "utf8").matchAll(/"(ERR_ELECTRA_[A-Z_]*[A-Z])"/g)].map(
        ([, code]) => code!,
      ),
    ),
  );
  const table = readFileSync(join(root, "docs/library.md"), "utf8").split("\n");
  const explained = table
    .filter((line) => line.startsWith("| `ERR_ELECTRA_"))
    .flatMap((line) => [...line.split("|")[1]!.matchAll(/ERR_ELECTRA_[A-Z_]+/g)].map(([code]) => code));
  expect(thrown.size).toBeGreaterThan(50);
  expect([...explained].sort()).toEqual([...thrown].sort());
});
