import { access, constants, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { CheckpointInfo } from "../checkpoint/checkpoint-folders.js";
import { findLatestCheckpoint } from "../checkpoint/checkpoint-folders.js";
import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import { loadCheckpoint } from "../checkpoint/load-checkpoint.js";
import {
  compareFingerprints,
  type Fingerprints,
  type JsonValue,
  type TrainingState,
} from "../checkpoint/training-state.js";
import { Engine } from "../engine/engine.js";
import type { BackendSettings, EngineInfo, EngineMemory } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { packageVersion } from "../package-root.js";
import { combineSinks, type EventSink } from "../telemetry/event-sink.js";
import { JsonlSink, truncateToStep } from "../telemetry/jsonl-sink.js";
import type { RunEvent } from "../telemetry/run-event.js";
import { TensorboardSink } from "../telemetry/tensorboard-sink.js";
import { GeneratorWarmup, generatorWarmupEnd } from "./generator-warmup.js";
import { type InitialState, loadInitialModel } from "./load-initial-model.js";
import type { PretrainResult } from "./pretrain-result.js";
import {
  openPretrainingData,
  type PretrainingData,
  type PretrainingSetup,
  type SetUpPretrainingOptions,
  setUpPretraining,
} from "./pretraining-setup.js";
import { runTrainingLoop } from "./training-loop.js";

export interface PretrainOptions extends SetUpPretrainingOptions, BackendSettings {
  /**
   * Beginnings of names of variables that the model of `initFrom` may lack, such as `generator`: they begin with random
   * values. Default none: what is missing is an error.
   */
  readonly allowCreated?: readonly string[];
  /** Aborting finishes the step at hand, writes a checkpoint and returns with status `interrupted`. */
  readonly signal?: AbortSignal;
  /** Where events go, besides `events.jsonl` and TensorBoard files in the model's folder. They are not closed. */
  readonly sinks?: readonly EventSink[];
  /** Go on although the records are not those that the run began with. Default false: an error. */
  readonly allowChangedData?: boolean;
  /** Told once, before the first step: everything resolved. */
  readonly onStart?: (start: PretrainStart) => void;
}

/** What a run is, as its first lines say. */
export interface PretrainStart {
  readonly setup: PretrainingSetup;
  readonly info: EngineInfo;
  readonly memory: EngineMemory;
  readonly parameters: number;
  readonly records: number;
  readonly heldOutRecords: number;
  /** Checkpoint that the run continues. */
  readonly resumedFrom: string | undefined;
  /** The model made elsewhere that the run begins with; undefined when it continues a checkpoint or begins at random. */
  readonly initialized: InitialState | undefined;
  readonly step: number;
  /** Step before which only the generator learns; undefined where everything learns already. */
  readonly generatorWarmupEnd: number | undefined;
}

/**
 * Pre-trains a model, or continues where the newest checkpoint of its folder stopped: weights, optimizer, schedule,
 * random choices and position in the data go on bit for bit, as long as data, package and machine settings are the same.
 *
 * @throws ElectraError for everything that a user can mend; the newest checkpoint stays usable whatever happens
 *
 * @example
 * const { checkpoint } = await pretrain({
 *   dataDir: "data", modelName: "electra_small", hparams: { num_train_steps: 1000, num_warmup_steps: 100 },
 * });
 */
export async function pretrain(options: PretrainOptions): Promise<PretrainResult> {
  const setup = await setUpPretraining(options);
  const { hparams } = setup;
  await claimModelFolder(hparams.model_dir);
  if (hparams.debug) await removeRun(hparams.model_dir);
  const data = await openPretrainingData(hparams);
  try {
    const engine = await Engine.create({
      ...options,
      model: setup.model,
      seed: hparams.seed,
      // What does not fit is to be known before hours are spent.
      reserveRows: hparams.train_batch_size,
    });
    try {
      return await trainWith(engine, setup, data, options);
    } finally {
      await engine.dispose();
    }
  } finally {
    data.close();
  }
}

async function trainWith(
  engine: Engine,
  setup: PretrainingSetup,
  data: PretrainingData,
  options: PretrainOptions,
): Promise<PretrainResult> {
  const { hparams } = setup;
  const fingerprints = fingerprintsOf(engine.info, data);
  const latest = await findLatestCheckpoint(hparams.model_dir);
  const outer = options.sinks ?? [];
  // What is found out on the way to the first step is told after what the run is.
  const found: RunEvent[] = [];
  const early: EventSink = { emit: (event) => void found.push(event), close: async () => {} };
  for (const { code, message, hint } of setup.warnings) {
    // Settings alone cannot tell that build-dataset held documents back beside the records.
    if (code === "nothing_held_out" && data.heldOut !== undefined) continue;
    early.emit({ type: "warning", time: Date.now() / 1000, code, message, hint });
  }
  for (const { code, message, hint } of engine.info.warnings) {
    early.emit({ type: "warning", time: Date.now() / 1000, code, message, hint });
  }
  warnOfSmallData(early, setup, data);
  if (latest !== undefined && options.initFrom !== undefined) {
    early.emit({
      type: "warning",
      time: Date.now() / 1000,
      code: "init_from_unused",
      message: `the run continues its own ${latest.path}; the weights of ${options.initFrom} were where it began`,
      hint: "Choose another --model-name to begin with them again.",
    });
  }
  const resumed =
    latest === undefined ? undefined : await resume(engine, setup, latest, fingerprints, early, options);
  const initialized =
    latest !== undefined || setup.initial === undefined
      ? undefined
      : await loadInitialModel(engine, setup.initial, options.allowCreated ?? [], setup);
  if (initialized?.vocabulary?.byId === true) {
    early.emit({
      type: "warning",
      time: Date.now() / 1000,
      code: "vocabulary_by_id",
      message: `${initialized.path} has no vocab.txt: its rows were taken for the first tokens of ${hparams.vocab_file}`,
      hint: "Put the model's own vocab.txt beside its weights, and tokens are matched by their text.",
    });
  }
  const step = resumed?.step ?? initialized?.step ?? 0;
  const warmupEnd =
    resumed?.generatorWarmupEnd ??
    (initialized === undefined ? undefined : generatorWarmupEnd(hparams, initialized));
  // The hparam 0 also ends one that is under way.
  const warmup =
    warmupEnd === undefined || warmupEnd <= step || hparams.generator_warmup_steps === 0
      ? undefined
      : await GeneratorWarmup.begin(engine, warmupEnd);

  const events = join(hparams.model_dir, "events.jsonl");
  await truncateToStep(events, step);
  const own = [
    new JsonlSink(events),
    new TensorboardSink({ folder: join(hparams.model_dir, "tensorboard"), firstStep: step + 1 }),
  ];
  const sink = combineSinks([...outer, ...own]);
  try {
    options.onStart?.({
      setup,
      info: engine.info,
      memory: engine.memory(),
      parameters: engine.parameters().reduce((sum, { elements }) => sum + elements, 0),
      records: data.train.length,
      heldOutRecords: data.heldOut?.length ?? 0,
      resumedFrom: latest?.path,
      initialized,
      step,
      generatorWarmupEnd: warmup?.end,
    });
    const told = combineSinks([...outer]);
    for (const event of found) told.emit(event);
    return await runTrainingLoop({
      engine,
      setup,
      data,
      fingerprints,
      sink,
      step,
      cursor: resumed?.cursor ?? 0,
      checkpoint: latest?.path,
      ...(warmup === undefined ? {} : { generatorWarmup: warmup }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  } finally {
    for (const each of own) await each.close();
  }
}

/** The model folder must be writable before hours are spent. */
async function claimModelFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new ElectraError(
      "ERR_ELECTRA_FILE",
      `cannot write into the model folder ${folder}: ${(error as Error).message}`,
      {
        hint: "Give write permission, or choose another place with --data-dir or the hparam model_dir.",
        cause: error,
      },
    );
  }
}

/** `debug` begins anew, as in the reference; only what a run writes is removed, never a foreign file. */
async function removeRun(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (/^checkpoint-\d+$/.test(name) || name === "events.jsonl" || name === "tensorboard") {
      await rm(join(folder, name), { recursive: true, force: true });
    }
  }
}

function fingerprintsOf(info: EngineInfo, data: PretrainingData): Fingerprints {
  return {
    data: { ...data.train.dataset.fingerprint, records_trained_on: data.train.length } as JsonValue,
    package: packageVersion(),
    isa: info.isa,
    gemm: info.gemm,
    precision: info.precision,
    // Another GPU of the same kind rounds alike, whatever its number.
    device: info.device.replace(/^cuda:\d+/, "cuda"),
    // Results do not depend on the number of threads; it is kept for the record.
    threads: info.threads,
  };
}

async function resume(
  engine: Engine,
  setup: PretrainingSetup,
  latest: CheckpointInfo,
  fingerprints: Fingerprints,
  sink: EventSink,
  options: PretrainOptions,
): Promise<Pick<TrainingState, "step" | "generatorWarmupEnd"> & { readonly cursor: number }> {
  const training = await loadCheckpoint({
    path: latest.path,
    parameters: engineParameterStore(engine),
    configs: setup.configs,
  });
  const warn = (code: string, message: string, hint?: string): void =>
    sink.emit({
      type: "warning",
      time: Date.now() / 1000,
      step: training.step,
      code,
      message,
      ...(hint === undefined ? {} : { hint }),
    });
  for (const { name, saved, current } of compareFingerprints(training.fingerprints, fingerprints)) {
    if (name === "threads") continue;
    const difference = `${name} was ${JSON.stringify(saved)} and is now ${JSON.stringify(current)}`;
    if (name === "data" && options.allowChangedData !== true) {
      throw new ElectraError(
        "ERR_ELECTRA_DATA_CHANGED",
        `${latest.path} was trained on other records: ${difference}`,
        {
          hint: "Restore the records, choose another --model-name, or continue on the new ones with --allow-changed-data.",
          exitCode: 2,
        },
      );
    }
    warn("resumed_elsewhere", `${difference}: the run goes on, but not bit for bit as it would have`);
  }
  const changed = changedHparams(training.hparams, setup.hparams);
  if (changed.length > 0) {
    warn("hparams_changed", `continuing with other hparams than before: ${changed.join("; ")}`);
  }
  const cursor = typeof training.cursor === "number" ? training.cursor : 0;
  const { step, generatorWarmupEnd: end } = training;
  return { step, cursor, ...(end === undefined ? {} : { generatorWarmupEnd: end }) };
}

/** Places may move; everything else that changed is worth a line. */
function changedHparams(saved: Readonly<Record<string, JsonValue>>, now: object): string[] {
  const places = new Set([
    "data_dir",
    "model_name",
    "model_dir",
    "pretrain_tfrecords",
    "vocab_file",
    "heldout_tfrecords",
  ]);
  return Object.entries(now).flatMap(([name, value]) => {
    if (places.has(name) || name.startsWith("results_") || !(name in saved)) return [];
    const [before, after] = [JSON.stringify(saved[name]), JSON.stringify(value ?? null)];
    return before === after ? [] : [`${name} ${before} -> ${after}`];
  });
}

function warnOfSmallData(sink: EventSink, setup: PretrainingSetup, data: PretrainingData): void {
  const { train_batch_size: batch } = setup.hparams;
  if (data.train.length >= batch) return;
  sink.emit({
    type: "warning",
    time: Date.now() / 1000,
    code: "fewer_records_than_a_batch",
    message: `there are ${data.train.length} records, fewer than a batch of ${batch}: every step sees some of them twice`,
    hint: "Build more data, or set a smaller train_batch_size.",
  });
}
