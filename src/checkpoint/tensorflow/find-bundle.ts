import { readdir, readFile, stat } from "node:fs/promises";
import { basename, isAbsolute, join } from "node:path";
import { ElectraError } from "../../errors.js";

/**
 * The prefix of the TensorFlow checkpoint that a path means: a folder stands for the one that its file `checkpoint`
 * names, or for the only one there; a prefix, an `.index` or a `.data-…` file for itself.
 *
 * @returns undefined when there is nothing of the kind
 * @throws ElectraError `ERR_ELECTRA_TF_CHECKPOINT` when a folder holds several and does not say which
 */
export async function findTensorBundle(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isDirectory()) return await newestOf(path);
  const prefix = path.replace(/\.index$|\.data-\d{5}-of-\d{5}$/, "");
  return (await isFile(`${prefix}.index`)) ? prefix : undefined;
}

async function newestOf(folder: string): Promise<string | undefined> {
  const prefixes = (await readdir(folder))
    .filter((name) => name.endsWith(".index"))
    .map((name) => join(folder, name.slice(0, -".index".length)));
  const statePath = join(folder, "checkpoint");
  const state = await readFile(statePath, "utf8").catch(() => undefined);
  const named = state === undefined ? undefined : parseCheckpointState(state);
  if (named !== undefined) {
    // An absolute path is that of the machine it was written on; the files may have moved with their folder.
    const candidates = [isAbsolute(named) ? named : join(folder, named), join(folder, basename(named))];
    for (const candidate of candidates) if (await isFile(`${candidate}.index`)) return candidate;
    if (prefixes.length > 0) {
      throw new ElectraError("ERR_ELECTRA_TF_CHECKPOINT", `${statePath} names ${named}, which is not there`, {
        hint: `Give the one that is meant: ${prefixes.slice(0, 4).join(", ")}.`,
        exitCode: 2,
      });
    }
  }
  if (prefixes.length > 1) {
    throw new ElectraError(
      "ERR_ELECTRA_TF_CHECKPOINT",
      `${folder} holds ${prefixes.length} TensorFlow checkpoints and no file "checkpoint" that says which one is meant`,
      { hint: `Give one of them: ${prefixes.slice(0, 4).join(", ")}.`, exitCode: 2 },
    );
  }
  return prefixes[0];
}

/** `model_checkpoint_path` of the text of a file `checkpoint`, a protocol buffer in text form. */
export function parseCheckpointState(text: string): string | undefined {
  const match = /^\s*model_checkpoint_path\s*:\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')/m.exec(text);
  const quoted = match?.[1];
  if (quoted === undefined) return undefined;
  return quoted.slice(1, -1).replace(/\\(.)/g, "$1");
}

async function isFile(path: string): Promise<boolean> {
  return await stat(path).then(
    (info) => info.isFile(),
    () => false,
  );
}
