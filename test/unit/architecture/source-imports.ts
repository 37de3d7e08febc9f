import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** The repository's root. */
export const root = fileURLToPath(new URL("../../../", import.meta.url));

/** A module that a file asks for, whether by import, export or a call of import(); types count too. */
export interface ModuleUse {
  /** The file that asks, from the root, with forward slashes. */
  readonly file: string;
  /** As it stands there: `node:fs`, `../errors.js`. */
  readonly specifier: string;
  /** Folder or file of src that a relative specifier leads into: `engine`, `errors`; undefined for packages. */
  readonly room: string | undefined;
}

/** All files below a folder of the repository whose names end in one of the endings, from the root. */
export function filesBelow(folder: string, endings: readonly string[]): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return filesBelow(path, endings);
      return endings.some((ending) => entry.name.endsWith(ending)) ? [path] : [];
    })
    .sort();
}

/** What the TypeScript files below a folder of the repository ask for. */
export function moduleUses(folder: string): ModuleUse[] {
  return filesBelow(folder, [".ts"]).flatMap((file) =>
    specifiersOf(file).map((specifier) => ({ file, specifier, room: roomOf(file, specifier) })),
  );
}

/** Found by the compiler's own scanner: a pattern would be fooled by comments, or by an import over several lines. */
function specifiersOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
}

function roomOf(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const inside = relative(join(root, "src"), resolve(root, file, "..", specifier));
  return inside.split(sep)[0]?.replace(/\.js$/, "");
}

/** What a C++ file includes, as it stands between the quotes or brackets. */
export function includesOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/^\s*#\s*include\s*[<"]([^>"]+)[>"]/gm)].map(([, path]) => path!);
}
