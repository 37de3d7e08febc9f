import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);

/** Why the end-to-end tests cannot run here; undefined when they can. They use what a user uses: dist and the addon. */
export function missingBuild(): string | undefined {
  for (const [path, remedy] of [
    ["dist/cli/main.js", "npm run build"],
    ["build/Release/electra_native.node", "npm run build:native"],
  ] as const) {
    if (!existsSync(fileURLToPath(new URL(path, root)))) return `${path} is missing: run ${remedy}`;
  }
  return undefined;
}
