import { access } from "node:fs/promises";
import { join } from "node:path";
import { ElectraError } from "../errors.js";
import type { TransformerConfig } from "../hparams/transformer-config.js";
import {
  checkpointName,
  findLatestCheckpoint,
  listCheckpoints,
  MOMENTS_FILE,
  OWNER_FILE,
  ownerJson,
  removeCheckpoint,
  removeLeftovers,
  TRAINING_FILE,
  whileInProgress,
} from "./checkpoint-folders.js";
import { DurableFiles } from "./durable-files.js";
import { checkConfig } from "./hf-config.js";
import { type HalfLayout, type HalfName, hfLayout, type ModelLayout } from "./hf-layout.js";
import type { CheckpointTokenizer } from "./hf-tokenizer.js";
import { variableSource } from "./parameter-sources.js";
import type { ParameterStore } from "./parameter-store.js";
import { writeSafetensors } from "./safetensors.js";
import { formatTrainingFile, type TrainingState } from "./training-state.js";
import { describeWriteFailure } from "./write-failure.js";
import { writePart } from "./write-part.js";

export interface SaveCheckpointOptions extends TrainingState {
  /** The run's folder, `models/<name>`; made if missing. */
  readonly runDir: string;
  readonly parameters: ParameterStore;
  /** Configuration of each half that the variables make up (see `hfLayout`). */
  readonly configs: Partial<Readonly<Record<HalfName, TransformerConfig>>>;
  readonly tokenizer: CheckpointTokenizer;
  /** Further text files of a part's folder, by name, such as `finetuning.json`. */
  readonly partFiles?: Partial<Readonly<Record<HalfName, Readonly<Record<string, string>>>>>;
  /** Save Adam's moments. Default true; a model that is finished needs none, and `loadCheckpoint` then refuses it. */
  readonly moments?: boolean;
  /** How many of the newest checkpoints stay; 0, null or nothing keeps all. */
  readonly keepCheckpointMax?: number | null;
  /** The disk; tests give one that fails. */
  readonly files?: DurableFiles;
}

export interface SavedCheckpoint {
  readonly path: string;
  readonly step: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Older checkpoints removed because of `keepCheckpointMax`. */
  readonly pruned: readonly string[];
  /** What could not be tidied up; the checkpoint itself is safe. */
  readonly warnings: readonly string[];
}

/**
 * Writes `checkpoint-<step>` and returns when it is on the disk. It is written under a temporary name, every
 * file and folder forced to disk, then renamed: at no moment, however the process or the machine stops, is
 * there a checkpoint that looks complete and is not, and the one before stays until the new one is safe.
 *
 * The parameters must not change until the promise settles.
 *
 * @throws ElectraError ERR_ELECTRA_DISK_FULL, ERR_ELECTRA_NO_PERMISSION, ERR_ELECTRA_WRITE; ERR_ELECTRA_LAYOUT,
 *   ERR_ELECTRA_CONFIG_MISMATCH when variables and configurations do not fit each other
 */
export async function saveCheckpoint(options: SaveCheckpointOptions): Promise<SavedCheckpoint> {
  const started = performance.now();
  const { runDir, step, parameters, files = new DurableFiles() } = options;
  const layout = hfLayout(parameters.names());
  for (const [name, half] of halves(layout)) checkConfig(configOf(options, name), half);

  const target = join(runDir, checkpointName(step));
  const temporary = `${target}.tmp-${process.pid}`;
  let bytes: number;
  try {
    await files.ensureFolder(runDir);
    bytes = await whileInProgress(temporary, async () => {
      await files.remove(temporary);
      await files.makeFolder(temporary);
      try {
        const size = await writeContents(temporary, layout, options, files);
        await moveIntoPlace(temporary, target, runDir, files);
        return size;
      } catch (error) {
        await files.remove(temporary).catch(() => {});
        throw error;
      }
    });
  } catch (error) {
    const latest = await findLatestCheckpoint(runDir).catch(() => undefined);
    throw await describeWriteFailure(error, `checkpoint of step ${step}`, runDir, latest?.path);
  }
  const { pruned, warnings } = await tidy(runDir, target, options.keepCheckpointMax ?? 0, files);
  return { path: target, step, bytes, seconds: (performance.now() - started) / 1000, pruned, warnings };
}

async function writeContents(
  folder: string,
  layout: ModelLayout,
  options: SaveCheckpointOptions,
  files: DurableFiles,
): Promise<number> {
  await files.createTextFile(join(folder, OWNER_FILE), ownerJson());
  const { parameters, tokenizer } = options;
  const sizes: Record<string, number> = {};
  for (const [name, half] of halves(layout)) {
    const written = await writePart(
      join(folder, name),
      { half, config: configOf(options, name), tokenizer, texts: options.partFiles?.[name] ?? {} },
      parameters,
      files,
    );
    for (const [file, size] of Object.entries(written)) sizes[`${name}/${file}`] = size;
  }
  if (options.moments ?? true) {
    const moments = parameters
      .names()
      .flatMap((variable) => [
        variableSource(variable, "adam_m", parameters),
        variableSource(variable, "adam_v", parameters),
      ]);
    sizes[MOMENTS_FILE] = await writeSafetensors(join(folder, MOMENTS_FILE), moments, files);
  }
  // Last, because its presence is what says that the rest is there.
  const own = await files.createTextFile(
    join(folder, TRAINING_FILE),
    formatTrainingFile({ ...options, files: sizes }),
  );
  await files.remove(join(folder, OWNER_FILE));
  await files.syncFolder(folder);
  return Object.values(sizes).reduce((sum, size) => sum + size, own);
}

/** A folder cannot replace a folder in one call, so one of the same step steps aside under a known name. */
async function moveIntoPlace(
  temporary: string,
  target: string,
  runDir: string,
  files: DurableFiles,
): Promise<void> {
  const replaced = (await exists(target)) ? `${target}.old-${process.pid}` : undefined;
  if (replaced !== undefined) {
    await files.remove(replaced);
    await files.rename(target, replaced);
  }
  try {
    await files.rename(temporary, target);
  } catch (error) {
    if (replaced !== undefined) await files.rename(replaced, target).catch(() => {});
    throw error;
  }
  await files.syncFolder(runDir);
}

async function tidy(
  runDir: string,
  current: string,
  keep: number,
  files: DurableFiles,
): Promise<{ pruned: string[]; warnings: string[] }> {
  const pruned: string[] = [];
  const warnings: string[] = [];
  const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      warnings.push(`could not ${what}: ${(error as Error).message}`);
    }
  };
  await attempt(`clean ${runDir}`, () => removeLeftovers(runDir, files));
  if (keep > 0) {
    await attempt(`look for old checkpoints in ${runDir}`, async () => {
      const { complete } = await listCheckpoints(runDir);
      const older = complete.filter(({ path }) => path !== current).slice(Math.max(0, keep - 1));
      for (const { path } of older) {
        await attempt(`remove ${path}`, async () => {
          await removeCheckpoint(path, files);
          pruned.push(path);
        });
      }
    });
  }
  return { pruned, warnings };
}

function halves(layout: ModelLayout): [HalfName, HalfLayout][] {
  return Object.entries(layout) as [HalfName, HalfLayout][];
}

function configOf(options: SaveCheckpointOptions, name: HalfName): TransformerConfig {
  const config = options.configs[name];
  if (config === undefined) {
    throw new ElectraError(
      "ERR_ELECTRA_CONFIG_MISMATCH",
      `the model has a ${name}, but no configuration for it was given`,
    );
  }
  return config;
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
