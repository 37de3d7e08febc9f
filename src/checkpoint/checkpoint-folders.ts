import { readdir, readFile, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { DurableFiles } from "./durable-files.js";
import { parseTrainingFile, type TrainingFile } from "./training-state.js";

/** A complete checkpoint on the disk. */
export interface CheckpointInfo {
  readonly path: string;
  readonly step: number;
  readonly training: TrainingFile;
}

/** A folder with a checkpoint's name that cannot be used, and why. */
export interface BrokenCheckpoint {
  readonly path: string;
  readonly reason: string;
}

export interface CheckpointList {
  /** Newest first. */
  readonly complete: readonly CheckpointInfo[];
  readonly broken: readonly BrokenCheckpoint[];
}

/** Marks a temporary folder with its maker while it is being written. */
export const OWNER_FILE = "owner.json";
export const TRAINING_FILE = "training.json";
/** Adam's moments. */
export const MOMENTS_FILE = "training.safetensors";

/**
 * `checkpoint-<step>` is a checkpoint. Beside it may lie, after a crash, `.tmp-<pid>` (was being written),
 * `.old-<pid>` (was being replaced by another of the same step) and `.del-<pid>` (was being removed).
 */
const NAME = /^checkpoint-(\d+)(?:\.(tmp|old|del)-(\d+))?$/;

const UNMARKED_AGE_MS = 600_000;

export function checkpointName(step: number): string {
  return `checkpoint-${step}`;
}

/** Folders being written by this very process, which `removeLeftovers` must leave alone. */
const inProgress = new Set<string>();

/** Runs `work` while `folder` counts as being written. */
export async function whileInProgress<T>(folder: string, work: () => Promise<T>): Promise<T> {
  inProgress.add(folder);
  try {
    return await work();
  } finally {
    inProgress.delete(folder);
  }
}

/** All checkpoints of a run folder; a folder that does not exist has none. */
export async function listCheckpoints(runDir: string): Promise<CheckpointList> {
  const complete = new Map<number, CheckpointInfo>();
  const broken: BrokenCheckpoint[] = [];
  const entries = (await readFolder(runDir)).flatMap((name) => {
    const match = NAME.exec(name);
    return match === null ? [] : [{ path: join(runDir, name), step: Number(match[1]), kind: match[2] }];
  });
  // A replaced checkpoint counts only where the crash came before its successor had the name.
  const candidates = [
    ...entries.filter(({ kind }) => kind === undefined),
    ...entries.filter(({ kind }) => kind === "old"),
  ];
  for (const { path, step } of candidates) {
    if (complete.has(step)) continue;
    try {
      complete.set(step, { path, step, training: await readCompleteCheckpoint(path, step) });
    } catch (error) {
      broken.push({ path, reason: (error as Error).message });
    }
  }
  return { complete: [...complete.values()].sort((a, b) => b.step - a.step), broken };
}

/** The newest complete checkpoint of a run folder: every file there, with its size, and a readable state. */
export async function findLatestCheckpoint(runDir: string): Promise<CheckpointInfo | undefined> {
  return (await listCheckpoints(runDir)).complete[0];
}

/** Reads `training.json` and checks that the files it names are there and whole. Throws with the reason. */
export async function readCompleteCheckpoint(path: string, step?: number): Promise<TrainingFile> {
  const trainingPath = join(path, TRAINING_FILE);
  const training = parseTrainingFile(await readFile(trainingPath, "utf8"), trainingPath);
  if (step !== undefined && training.step !== step) {
    throw new Error(`${trainingPath} is of step ${training.step}`);
  }
  for (const [file, size] of Object.entries(training.files)) {
    const found = await stat(join(path, file));
    if (found.size !== size)
      throw new Error(`${join(path, file)} has ${found.size} bytes instead of ${size}`);
  }
  return training;
}

/**
 * Removes what crashed saves of this machine left behind: temporary folders whose maker is gone, replaced
 * checkpoints whose successor is complete, and half-removed ones. Folders of living processes, of other
 * machines and of anybody else are left alone.
 *
 * @returns the paths removed
 */
export async function removeLeftovers(runDir: string, files: DurableFiles): Promise<string[]> {
  const removed: string[] = [];
  const { complete } = await listCheckpoints(runDir);
  for (const name of await readFolder(runDir)) {
    const match = NAME.exec(name);
    const kind = match?.[2];
    if (match === null || kind === undefined) continue;
    const path = join(runDir, name);
    const step = Number(match[1]);
    const stale =
      kind === "del" ||
      (kind === "old" && complete.some((other) => other.step === step && other.path !== path)) ||
      (kind === "tmp" && (await isStale(path)));
    if (!stale) continue;
    await files.remove(path);
    removed.push(path);
  }
  return removed;
}

/** Moves a folder out of the checkpoints' names first, so that a crash never leaves half a checkpoint. */
export async function removeCheckpoint(path: string, files: DurableFiles): Promise<void> {
  const doomed = `${path}.del-${process.pid}`;
  await files.rename(path, doomed);
  await files.remove(doomed);
}

/** The mark that `removeLeftovers` recognises its own temporary folders by. */
export function ownerJson(): string {
  return `${JSON.stringify({ host: hostname(), pid: process.pid, started: new Date().toISOString() })}\n`;
}

async function isStale(path: string): Promise<boolean> {
  if (inProgress.has(path)) return false;
  let owner: { host?: unknown; pid?: unknown };
  try {
    owner = JSON.parse(await readFile(join(path, OWNER_FILE), "utf8")) as typeof owner;
  } catch {
    // No readable mark: stopped within a moment of its creation, or just after the mark was taken off. Which
    // machine's it is cannot be told, so only age says that nobody is at work in it.
    const names = await readFolder(path);
    const ours = names.every((name) => name === OWNER_FILE) || names.includes(TRAINING_FILE);
    return ours && Date.now() - (await stat(path)).mtimeMs > UNMARKED_AGE_MS;
  }
  if (owner.host !== hostname() || typeof owner.pid !== "number") return false;
  return owner.pid === process.pid || !isAlive(owner.pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

async function readFolder(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
