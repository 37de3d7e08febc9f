import { readdir } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { compareByCodePoints } from "../tokenization/code-point-order.js";
import { fileFailure } from "./file-failure.js";

/**
 * The files that match a glob pattern, sorted by code point. `*` and `?` stand for any characters of one name, `[…]` for one
 * character of a set; `\` takes the next character literally. Hidden names only match a pattern that begins with a dot.
 * A pattern without these characters is the path itself, if it exists.
 *
 * @throws ElectraError `ERR_ELECTRA_FILE` when a folder on the way cannot be read
 */
export async function globFiles(pattern: string): Promise<readonly string[]> {
  const segments = pattern.split("/").filter((segment) => segment !== "" && segment !== ".");
  let found = [isAbsolute(pattern) ? "/" : ""];
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    if (segment === "..") {
      found = found.map((folder) => join(folder, segment));
      continue;
    }
    const matches = nameMatcher(segment);
    const next: string[] = [];
    for (const folder of found) {
      for (const entry of await list(folder)) {
        if (matches(entry.name) && (last ? !entry.isDirectory() : !entry.isFile())) {
          next.push(join(folder, entry.name));
        }
      }
    }
    found = next;
  }
  return found.sort(compareByCodePoints);
}

async function list(folder: string) {
  const path = folder === "" ? "." : folder;
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") {
      return [];
    }
    throw fileFailure(error, "cannot read the folder", path);
  }
}

function nameMatcher(segment: string): (name: string) => boolean {
  let source = "";
  for (let at = 0; at < segment.length; at++) {
    const character = segment[at]!;
    const close = segment.indexOf("]", at + 2);
    if (character === "*") {
      source += ".*";
    } else if (character === "?") {
      source += ".";
    } else if (character === "[" && close > 0) {
      const set = segment.slice(at + 1, close).replace(/[\\\]]/g, "\\$&");
      source += `[${set.replace(/^!/, "^")}]`;
      at = close;
    } else {
      const literal = character === "\\" && at + 1 < segment.length ? segment[++at]! : character;
      source += literal.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
    }
  }
  const expression = new RegExp(`^${source}$`, "us");
  return (name) => expression.test(name) && (!name.startsWith(".") || segment.startsWith("."));
}
