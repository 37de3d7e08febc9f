import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The package's folder; the same seen from `src` and from `dist`. */
export const packageRoot = fileURLToPath(new URL("../", import.meta.url));

/** Version of this package, from its package.json. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return version;
}
