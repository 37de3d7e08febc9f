import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The package's folder; the same from `src/cli` and from `dist/cli`. */
export const packageRoot = fileURLToPath(new URL("../../", import.meta.url));

export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return version;
}
