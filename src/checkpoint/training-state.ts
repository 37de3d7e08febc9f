import { ElectraError } from "../errors.js";

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/**
 * What a bit-equal continuation depends on besides the saved state. Equal fingerprints promise it; `data` is
 * what the records are, the others are how the arithmetic was done.
 */
export interface Fingerprints {
  /** Files, sizes and counts of the training records, or a hash of them. */
  readonly data: JsonValue;
  readonly package: JsonValue;
  readonly isa: JsonValue;
  readonly gemm: JsonValue;
  readonly precision: JsonValue;
  readonly device: JsonValue;
  readonly threads: JsonValue;
}

/** Everything of a run that is not a tensor; `training.json` of a checkpoint. */
export interface TrainingState {
  /** Updates done, the reference's `global_step`. */
  readonly step: number;
  readonly seed: number | string;
  /** Position in the data: consumed, not prefetched, examples. Owned by the data reader. */
  readonly cursor: JsonValue;
  /** The resolved hyper-parameters. */
  readonly hparams: Readonly<Record<string, JsonValue>>;
  /** Versions of this package, Node.js and whatever else the run wants remembered. */
  readonly versions: Readonly<Record<string, string>>;
  readonly fingerprints: Fingerprints;
  /** Step before which only the generator learns, of a run that began with a discriminator alone. */
  readonly generatorWarmupEnd?: number;
}

/** `training.json` as it stands on the disk. */
export interface TrainingFile extends TrainingState {
  /** Size in bytes of every other file, by its path inside the checkpoint: how completeness is told. */
  readonly files: Readonly<Record<string, number>>;
}

const FORMAT = "electra-native-training";
const FORMAT_VERSION = 1;

export function formatTrainingFile(file: TrainingFile): string {
  const { step, seed, cursor, hparams, versions, fingerprints, files, generatorWarmupEnd } = file;
  const document = {
    format: FORMAT,
    format_version: FORMAT_VERSION,
    step,
    seed,
    cursor,
    ...(generatorWarmupEnd === undefined ? {} : { generator_warmup_end: generatorWarmupEnd }),
    versions,
    fingerprints,
    hparams,
    files,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** @throws ElectraError ERR_ELECTRA_TRAINING_STATE naming the field that is missing or of another kind */
export function parseTrainingFile(text: string, path: string): TrainingFile {
  const fail = (message: string, cause?: unknown): never => {
    throw new ElectraError("ERR_ELECTRA_TRAINING_STATE", `${path}: ${message}`, {
      hint: "The checkpoint is damaged or was written by another version: continue from an older one.",
      cause,
    });
  };
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    return fail(`not valid JSON (${(error as Error).message})`, error);
  }
  if (!isRecord(document) || document["format"] !== FORMAT) return fail(`its "format" is not "${FORMAT}"`);
  if (document["format_version"] !== FORMAT_VERSION) {
    return fail(
      `format_version is ${JSON.stringify(document["format_version"])}, this version reads ${FORMAT_VERSION}`,
    );
  }
  const { step, seed, cursor, hparams, versions, fingerprints, files } = document;
  if (!Number.isSafeInteger(step) || (step as number) < 0) return fail(`step is ${JSON.stringify(step)}`);
  if (typeof seed !== "number" && typeof seed !== "string") return fail(`seed is ${JSON.stringify(seed)}`);
  const warmupEnd = document["generator_warmup_end"];
  if (warmupEnd !== undefined && (!Number.isSafeInteger(warmupEnd) || (warmupEnd as number) < 0)) {
    return fail(`generator_warmup_end is ${JSON.stringify(warmupEnd)}`);
  }
  if (cursor === undefined) return fail("cursor is missing");
  if (!isRecord(hparams)) return fail("hparams is not an object");
  if (!isRecord(versions)) return fail("versions is not an object");
  if (!isRecord(fingerprints)) return fail("fingerprints is not an object");
  if (!isRecord(files) || !Object.values(files).every((size) => Number.isSafeInteger(size))) {
    return fail("files is not an object of sizes");
  }
  return {
    step: step as number,
    seed,
    cursor: cursor as JsonValue,
    hparams: hparams as Record<string, JsonValue>,
    versions: versions as Record<string, string>,
    fingerprints: fingerprints as unknown as Fingerprints,
    files: files as Record<string, number>,
    ...(warmupEnd === undefined ? {} : { generatorWarmupEnd: warmupEnd as number }),
  };
}

export interface FingerprintDifference {
  readonly name: keyof Fingerprints;
  readonly saved: JsonValue;
  readonly current: JsonValue;
}

/**
 * How a run differs from the checkpoint it continues. A difference in `data` is for the caller to refuse
 * (other records at the saved position); the others only end the promise of bit-equality.
 */
export function compareFingerprints(saved: Fingerprints, current: Fingerprints): FingerprintDifference[] {
  return (Object.keys(current) as (keyof Fingerprints)[])
    .filter((name) => canonical(saved[name] ?? null) !== canonical(current[name]))
    .map((name) => ({ name, saved: saved[name] ?? null, current: current[name] }));
}

/** JSON with sorted keys, so that the order in which an object was built does not count. */
function canonical(value: JsonValue): string {
  return JSON.stringify(value, (_key, part: JsonValue) =>
    isRecord(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
