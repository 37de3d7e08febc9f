import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ElectraError } from "../errors.js";
import type { DataFingerprint } from "./data-fingerprint.js";
import { fileFailure } from "./file-failure.js";

/** Name of the file that marks a folder as a dataset of ours. */
export const manifestName = "dataset.json";

/** Files under construction begin with this; no glob of record files matches a hidden name. */
export const partialPrefix = ".partial-";

const manifestFormat = "electra-native dataset";

/** The content of `dataset.json`. */
export interface DatasetManifest {
  readonly format: typeof manifestFormat;
  readonly version: 1;
  /** `building` in a finished-looking folder means that a build was interrupted. */
  readonly status: "building" | "complete";
  /** The settings of the build, by their option names. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Counts of the build, when complete. */
  readonly counts?: Readonly<Record<string, number>>;
  readonly fingerprint?: DataFingerprint;
  readonly heldOutFingerprint?: DataFingerprint;
}

/** The manifest of a folder, or undefined when the folder has none of ours. */
export async function readManifest(folder: string): Promise<DatasetManifest | undefined> {
  let text: string;
  try {
    text = await readFile(join(folder, manifestName), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      return undefined;
    }
    throw fileFailure(error, "cannot read", join(folder, manifestName));
  }
  try {
    const content = JSON.parse(text) as DatasetManifest | null;
    return content?.format === manifestFormat ? content : undefined;
  } catch {
    return undefined;
  }
}

/** Replaces the manifest of a folder in one step. */
export async function writeManifest(
  folder: string,
  content: Omit<DatasetManifest, "format" | "version">,
): Promise<void> {
  const manifest: DatasetManifest = { format: manifestFormat, version: 1, ...content };
  const temporary = join(folder, `${partialPrefix}${manifestName}`);
  try {
    await writeFile(temporary, `${JSON.stringify(manifest, null, 2)}\n`, { flush: true });
    await rename(temporary, join(folder, manifestName));
  } catch (error) {
    throw fileFailure(error, "cannot write", join(folder, manifestName));
  }
}

/** What {@link claimFolder} found. */
export interface ClaimedFolder {
  /** First folder that had to be made, if any. */
  readonly created: string | undefined;
  /** The dataset that lies there already, to be replaced when the new one is complete. */
  readonly previous: DatasetManifest | undefined;
}

/**
 * Makes the output folder, or makes sure that it is empty or a dataset of ours, and removes what an interrupted build left
 * (unless `keepPartials` asks to keep it).
 *
 * @throws ElectraError `ERR_ELECTRA_OUTPUT_FOLDER` for a folder that holds anything else: nothing of it is touched
 */
export async function claimFolder(
  folder: string,
  settings: Readonly<Record<string, unknown>>,
  options: { readonly keepPartials?: boolean } = {},
): Promise<ClaimedFolder> {
  let created: string | undefined;
  let names: string[];
  try {
    created = await mkdir(folder, { recursive: true });
    names = await readdir(folder);
  } catch (error) {
    throw fileFailure(error, "cannot make the output folder", folder);
  }
  const previous = await readManifest(folder);
  if (previous === undefined) {
    if (names.length > 0) {
      throw new ElectraError(
        "ERR_ELECTRA_OUTPUT_FOLDER",
        `the output folder ${folder} is not empty and was not made by build-dataset (it has no ${manifestName} of ours): it holds ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`,
        { hint: "choose another folder, or empty this one yourself if nothing in it is needed", exitCode: 2 },
      );
    }
    await writeManifest(folder, { status: "building", settings });
  } else if (options.keepPartials !== true) {
    await removePartials(folder);
  }
  return { created, previous };
}

/** Removes files under construction. */
export async function removePartials(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(partialPrefix)) {
      await rm(join(folder, name), { force: true });
    }
  }
}
