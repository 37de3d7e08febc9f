// Real data that is too large, or not free enough, to lie in this repository. Checks that need it are skipped without it.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../", import.meta.url));

/** Thrown where a check cannot run here; its message is the reason. */
export class Skip extends Error {
  skip = true;
}

/** The first of the data folders that holds `file`: the one named in the environment, beside the fixtures, ours. */
export function dataFile(goldenDir, file) {
  const folders = [
    process.env.ELECTRA_DATA_DIR,
    join(goldenDir, "..", "data"),
    join(repository, "..", "shared", "data"),
  ];
  const found = folders.filter(Boolean).map((folder) => join(folder, file));
  const path = found.find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Skip(`no ${file} in the data folder (ELECTRA_DATA_DIR)`);
  return path;
}
