import { join } from "node:path";
import type { CheckpointInfo } from "../../checkpoint/checkpoint-folders.js";
import { engineParameterStore } from "../../checkpoint/engine-parameter-store.js";
import { loadCheckpoint, loadWeights } from "../../checkpoint/load-checkpoint.js";
import type { VariableOrigin } from "../../checkpoint/load-variables.js";
import { compareFingerprints, type Fingerprints, type JsonValue } from "../../checkpoint/training-state.js";
import type { EngineInfo } from "../../engine/types.js";
import { ElectraError } from "../../errors.js";
import { finetuningSteps } from "../../hparams/finetuning-hparams.js";
import { layerwiseMultiplier } from "../../hparams/layerwise-learning-rate.js";
import { packageVersion } from "../../package-root.js";
import { combineSinks, type EventSink } from "../../telemetry/event-sink.js";
import { JsonlSink, truncateToStep } from "../../telemetry/jsonl-sink.js";
import { formatHeading } from "../../telemetry/reference-console.js";
import { TensorboardSink } from "../../telemetry/tensorboard-sink.js";
import type { FinetunedFile } from "../finetuned-file.js";
import type { TrialResults } from "../results/trial-results.js";
import { loadEncoder } from "./initial-model.js";
import { saveTrial, type TrialEngine } from "./save-trial.js";
import { scoreTrial } from "./score-trial.js";
import { requireHeads } from "./trial-checks.js";
import type { TrialContext, TrialOutcome } from "./trial-context.js";
import { writeTrialState } from "./trial-state.js";
import { trainTrial } from "./trial-training.js";

/** Seed of a trial: trials of one run share nothing with those of a run whose seed is one higher. */
export function trialSeed(seed: number, trial: number): number {
  return Number(BigInt.asUintN(53, BigInt(seed) + BigInt(trial - 1) * 0x9e3779b97f4a7c15n));
}

/** Trains a trial, or what is left of it, and evaluates it. */
export class TrialRun {
  readonly #context: TrialContext;
  readonly #trial: number;
  readonly #folder: string;
  readonly #seed: number;

  constructor(context: TrialContext, trial: number, folder: string) {
    this.#context = context;
    this.#trial = trial;
    this.#folder = folder;
    this.#seed = trialSeed(context.setup.hparams.seed, trial);
  }

  async run(latest: CheckpointInfo | undefined, trained: boolean): Promise<TrialOutcome> {
    const { setup, features } = this.#context;
    // Bad rows and missing files are to be known before hours are spent.
    if (setup.hparams.do_eval) {
      for (const [taskId, task] of setup.tasks.entries()) {
        for (const split of task.devSplits) await features.split(taskId, split);
      }
    }
    const steps = trained ? latest!.step : await this.#steps();
    const engine = await this.#engine();
    const events = join(this.#folder, "events.jsonl");
    const step = latest?.step ?? 0;
    await truncateToStep(events, step);
    const own = [
      new JsonlSink(events),
      new TensorboardSink({ folder: join(this.#folder, "tensorboard"), firstStep: step + 1 }),
    ];
    try {
      return await this.#runWith(engine, combineSinks([...this.#context.sinks, ...own]), {
        latest,
        trained,
        steps,
      });
    } finally {
      for (const sink of own) await sink.close();
      await engine.dispose();
    }
  }

  async #runWith(
    engine: TrialEngine,
    sink: EventSink,
    { latest, trained, steps }: { latest: CheckpointInfo | undefined; trained: boolean; steps: number },
  ): Promise<TrialOutcome> {
    const { setup, features, signal, data, onLine } = this.#context;
    const { hparams } = setup;
    const trial = this.#trial;
    const fingerprints = fingerprintsOf(engine.info, data);
    const tensors = await this.#load(engine, latest, trained, fingerprints, sink);
    this.#context.onTrial({
      trial,
      info: engine.info,
      parameters: engine.parameters().reduce((sum, { elements }) => sum + elements, 0),
      memory: engine.memory().total,
      tensors,
      resumedFrom: latest?.path,
      step: latest?.step ?? 0,
      steps,
    });
    let checkpoint = latest?.path;
    let examplesPerSecond: number | undefined;
    if (!trained) {
      onLine(formatHeading(`Start training: ${this.#name()}`));
      onLine(`Training for ${steps} steps`);
      const store = await features.train();
      const result = await trainTrial({
        engine,
        setup,
        store,
        rows: await store.rowCount(),
        trial,
        seed: this.#seed,
        steps,
        step: latest?.step ?? 0,
        fingerprints,
        sink,
        signal,
      });
      checkpoint = result.checkpoint ?? checkpoint;
      examplesPerSecond = result.examplesPerSecond;
      if (result.step < steps)
        return this.#outcome("interrupted", result.step, checkpoint, engine, examplesPerSecond);
    }
    if (!hparams.do_eval) return this.#outcome("finished", steps, checkpoint, engine, examplesPerSecond);
    const evaluated = await scoreTrial(this.#context, engine, trial, sink, steps).catch((error: unknown) => {
      if (signal?.aborted === true) return undefined;
      throw error;
    });
    if (evaluated === undefined)
      return this.#outcome("interrupted", steps, checkpoint, engine, examplesPerSecond);
    const { results, files } = evaluated;
    const seed = this.#seed;
    const cursor = steps * hparams.train_batch_size;
    const saved = { engine, setup, trial, seed, step: steps, cursor, fingerprints, sink };
    checkpoint = (await saveTrial({ ...saved, moments: false, results: plainResults(results) })).path;
    await writeTrialState(this.#folder, {
      steps,
      hparams: hparams as unknown as Record<string, JsonValue>,
      data,
      results,
    });
    const outcome = this.#outcome("finished", steps, checkpoint, engine, examplesPerSecond);
    return { ...outcome, results, files };
  }

  #outcome(
    status: TrialOutcome["status"],
    steps: number,
    checkpoint: string | undefined,
    { info }: TrialEngine,
    trainExamplesPerSecond: number | undefined,
  ): TrialOutcome {
    const trial = this.#trial;
    return { trial, status, steps, checkpoint, results: undefined, files: [], trainExamplesPerSecond, info };
  }

  async #steps(): Promise<number> {
    const { setup, features, signal } = this.#context;
    const store = await features.train();
    const rows = await orAborted(store.rowCount(), signal);
    const steps = rows === 0 ? 0 : finetuningSteps(rows, setup.hparams);
    if (steps > 0) return steps;
    const { train_batch_size, num_train_epochs } = setup.hparams;
    throw new ElectraError(
      "ERR_ELECTRA_HPARAM_CONFLICT",
      rows === 0
        ? `The training data of ${setup.hparams.task_names.join(", ")} have no rows.`
        : `${rows} rows in batches of ${train_batch_size}, ${num_train_epochs} times, make no step.`,
      { hint: "Give more data or a larger num_train_epochs, or do not train: do_train false.", exitCode: 2 },
    );
  }

  async #engine(): Promise<TrialEngine> {
    const { setup, machine, createEngine, signal } = this.#context;
    const { hparams, encoder } = setup;
    return await createEngine({
      ...machine,
      model: setup.model,
      seed: this.#seed,
      // What does not fit is to be known before hours are spent.
      reserveRows: hparams.train_batch_size,
      learningRateScale: (name) =>
        layerwiseMultiplier(name, {
          decay: hparams.layerwise_lr_decay,
          numHiddenLayers: encoder.num_hidden_layers,
          closeGap: hparams.close_layerwise_gap,
        }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** Fills the engine: what a trial begins with, or continues with. */
  async #load(
    engine: TrialEngine,
    latest: CheckpointInfo | undefined,
    trained: boolean,
    fingerprints: Fingerprints,
    sink: EventSink,
  ): Promise<readonly VariableOrigin[]> {
    const { setup } = this.#context;
    const parameters = engineParameterStore(engine);
    if (latest === undefined) {
      if (setup.initial !== undefined) return await loadEncoder(setup.initial, parameters, setup.heads);
      return parameters
        .names()
        .map(({ name, shape }) => ({ name, shape, origin: "created", note: "random weights" }) as const);
    }
    await requireHeads(join(latest.path, "finetuned"), setup.heads);
    if (trained) {
      await loadWeights({ folders: { finetuned: join(latest.path, "finetuned") }, parameters });
      return [];
    }
    const configs = { finetuned: setup.encoder };
    const training = await loadCheckpoint({ path: latest.path, parameters, configs });
    for (const { name, saved, current } of compareFingerprints(training.fingerprints, fingerprints)) {
      if (name === "threads" || name === "data") continue;
      sink.emit({
        type: "warning",
        time: Date.now() / 1000,
        step: training.step,
        code: "resumed_elsewhere",
        message: `${name} was ${JSON.stringify(saved)} and is now ${JSON.stringify(current)}: the trial goes on, but not bit for bit as it would have`,
      });
    }
    return [];
  }

  #name(): string {
    const { hparams } = this.#context.setup;
    return `model=${hparams.model_name}, trial ${this.#trial}/${hparams.num_trials}`;
  }
}

function fingerprintsOf(info: EngineInfo, data: JsonValue): Fingerprints {
  return {
    data,
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

function plainResults({ tasks }: TrialResults): NonNullable<FinetunedFile["results"]> {
  return Object.fromEntries(
    Object.entries(tasks).map(([task, values]) => [task, Object.fromEntries(values)]),
  );
}

/** A wait that an abort ends. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  signal.throwIfAborted();
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener("abort", stop, { once: true });
  });
  return await Promise.race([promise, aborted]).finally(() => signal.removeEventListener("abort", stop));
}
