import { ElectraError } from "../errors.js";

/** How text becomes records. Names and defaults are those of the reference's command line where it has them. */
export interface DatasetOptions {
  /** Tokens per example, [CLS] and [SEP] included (default 128). */
  readonly maxSeqLength?: number;
  /** Worker threads (default 1: in this thread). The files depend on it. */
  readonly numProcesses?: number;
  readonly lowerCase?: boolean;
  /** Effective only when lower-casing. */
  readonly stripAccents?: boolean;
  /** Same seed, settings, corpus and number of processes: same files (default 0). */
  readonly seed?: number;
  /** Cut lines into sentences first (default false). */
  readonly splitSentences?: boolean;
  /** Number of record files (default 1000). */
  readonly numShards?: number;
  /** Share of the documents that goes to `heldout_data.tfrecord-*` instead (default 0). */
  readonly heldOutFraction?: number;
}

/** All settings of a build. */
export interface DatasetSettings extends Required<DatasetOptions> {
  readonly blanksSeparateDocs: boolean;
}

/**
 * Fills in the defaults.
 *
 * @throws ElectraError `ERR_ELECTRA_DATASET_OPTION` for impossible settings
 */
export function completeSettings(
  options: DatasetOptions & { readonly blanksSeparateDocs?: boolean },
): DatasetSettings {
  const settings: DatasetSettings = {
    maxSeqLength: options.maxSeqLength ?? 128,
    numProcesses: options.numProcesses ?? 1,
    blanksSeparateDocs: options.blanksSeparateDocs ?? true,
    lowerCase: options.lowerCase ?? true,
    stripAccents: options.stripAccents ?? true,
    seed: options.seed ?? 0,
    splitSentences: options.splitSentences ?? false,
    numShards: options.numShards ?? 1000,
    heldOutFraction: options.heldOutFraction ?? 0,
  };
  const refuse = (message: string): never => {
    throw new ElectraError("ERR_ELECTRA_DATASET_OPTION", message, { exitCode: 2 });
  };
  const checkInteger = (name: string, value: number, lowest: number): void => {
    if (!Number.isSafeInteger(value) || value < lowest) {
      refuse(`${name} must be an integer of at least ${lowest}, not ${value}`);
    }
  };
  checkInteger("max_seq_length", settings.maxSeqLength, 5);
  checkInteger("num_processes", settings.numProcesses, 1);
  checkInteger("num_shards", settings.numShards, 1);
  checkInteger("seed", settings.seed, 0);
  if (settings.numProcesses > settings.numShards) {
    refuse(
      `${settings.numProcesses} processes cannot share ${settings.numShards} record files: each needs at least one`,
    );
  }
  if (!(settings.heldOutFraction >= 0 && settings.heldOutFraction < 1)) {
    refuse(`the held-out fraction must be at least 0 and below 1, not ${settings.heldOutFraction}`);
  }
  return settings;
}
