// Exits with 0 when node_modules is what package-lock.json says, with 1 when `npm ci` is due.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The packages of a lock file by their place, without the root. */
function packagesOf(path) {
  const { packages } = JSON.parse(readFileSync(path, "utf8"));
  return Object.entries(packages).filter(([place]) => place !== "");
}

function isCurrent() {
  const wanted = new Map(packagesOf(join(root, "package-lock.json")));
  // npm keeps in here what it installed.
  const installed = new Map(packagesOf(join(root, "node_modules", ".package-lock.json")));
  for (const [place, { version, integrity, optional }] of wanted) {
    const found = installed.get(place);
    // Optional ones may be for other platforms.
    if (found === undefined && optional === true) continue;
    if (found?.version !== version || found?.integrity !== integrity) return false;
    if (!existsSync(join(root, place, "package.json"))) return false;
  }
  return [...installed.keys()].every((place) => wanted.has(place));
}

let current = false;
try {
  current = isCurrent();
} catch {
  // No node_modules, or not made by npm.
}
process.exitCode = current ? 0 : 1;
