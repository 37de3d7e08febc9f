import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { findLatestCheckpoint } from "../checkpoint/checkpoint-folders.js";
import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import { loadCheckpoint } from "../checkpoint/load-checkpoint.js";
import { BatchLoader } from "../data/batch-loader.js";
import type { RecordView } from "../data/record-dataset.js";
import { Engine } from "../engine/engine.js";
import type { BackendSettings, EngineInfo } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { PretrainingMetrics, type PretrainingMetricValues } from "../metrics/pretraining-metrics.js";
import { formatResults } from "../telemetry/reference-console.js";
import { evaluationBatch, evaluationOutputs } from "./evaluation-batch.js";
import { loadInitialModel } from "./load-initial-model.js";
import {
  openPretrainingData,
  type PretrainingSetup,
  type SetUpPretrainingOptions,
  setUpPretraining,
} from "./pretraining-setup.js";

export interface EvaluateRecordsOptions {
  readonly engine: Engine;
  readonly setup: PretrainingSetup;
  readonly records: RecordView;
  /** At most so many batches. */
  readonly batches: number;
  readonly batchSize: number;
  /** `ordered`: once through the records; `shuffled`: an endless stream, as training reads it. */
  readonly order: "ordered" | "shuffled";
  /** Counter of the random choices: the same step masks the same records alike. */
  readonly step: number;
  readonly signal?: AbortSignal;
}

/** The evaluation metrics of an engine's present weights over records. */
export async function evaluateRecords(options: EvaluateRecordsOptions): Promise<PretrainingMetrics> {
  const { engine, setup, records, batchSize, signal } = options;
  const metrics = new PretrainingMetrics();
  const outputs = evaluationOutputs(setup.objective);
  const loader = new BatchLoader({
    source: records,
    batchSize,
    order: options.order === "ordered" ? { kind: "ordered" } : { kind: "shuffled", seed: setup.hparams.seed },
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    for (let index = 0; index < options.batches; index++) {
      const batch = await loader.next();
      if (batch === undefined) break;
      // Rows are numbered through the whole evaluation, so that no two share their random choices.
      const rows = { ...batch, length: setup.hparams.max_seq_length, firstRow: index * batchSize };
      const result = await engine.evaluate(rows, {
        step: options.step,
        outputs,
        ...(signal === undefined ? {} : { signal }),
      });
      metrics.add(evaluationBatch(rows, result, setup.ids));
    }
  } finally {
    loader.close();
  }
  return metrics;
}

export interface EvaluatePretrainingOptions extends SetUpPretrainingOptions, BackendSettings {
  readonly signal?: AbortSignal;
}

export interface EvaluatePretrainingResult {
  readonly metrics: PretrainingMetricValues;
  readonly checkpoint: string;
  /** What was evaluated: records held out, or those that were trained on. */
  readonly split: "held_out" | "train";
  readonly info: EngineInfo;
  /** Where the values were written, in the reference's form and as JSON. */
  readonly files: readonly string[];
}

/**
 * Evaluates the newest checkpoint of a run, or while it has none the model that it would begin with (`do_eval`):
 * `num_eval_steps` batches without dropout, the reference's ten values and ours, written to `results_txt` and `results_json`.
 *
 * The reference evaluates on its training records. Here held-out records are used where there are any.
 *
 * @throws ElectraError ERR_ELECTRA_NO_CHECKPOINT where there is neither; the reference evaluates random weights then
 */
export async function evaluatePretraining(
  options: EvaluatePretrainingOptions,
): Promise<EvaluatePretrainingResult> {
  const setup = await setUpPretraining(options);
  const { hparams } = setup;
  const latest = await findLatestCheckpoint(hparams.model_dir);
  if (latest === undefined && setup.initial === undefined) {
    throw new ElectraError(
      "ERR_ELECTRA_NO_CHECKPOINT",
      `${hparams.model_dir} holds no complete checkpoint to evaluate`,
      {
        hint: "Train first: npx electra-native pretrain with do_train true, or correct --model-name.",
      },
    );
  }
  const data = await openPretrainingData(hparams);
  try {
    const engine = await Engine.create({ ...options, model: setup.model, seed: hparams.seed });
    try {
      const { path, step } =
        latest === undefined
          ? await loadInitialModel(engine, setup.initial!, [], setup)
          : await loadOwn(engine, setup, latest.path);
      const metrics = await evaluateRecords({
        engine,
        setup,
        records: data.heldOut ?? data.train,
        batches: hparams.num_eval_steps,
        batchSize: hparams.eval_batch_size,
        order: data.heldOut === undefined ? "shuffled" : "ordered",
        step,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      const values = metrics.values(step);
      const files = [hparams.results_txt, hparams.results_json];
      await writeResult(hparams.results_txt, `${formatResults(numbers(values))}\n`);
      await writeResult(hparams.results_json, `${JSON.stringify(values, null, 2)}\n`);
      return {
        metrics: values,
        checkpoint: path,
        split: data.heldOut === undefined ? "train" : "held_out",
        info: engine.info,
        files,
      };
    } finally {
      await engine.dispose();
    }
  } finally {
    data.close();
  }
}

async function loadOwn(
  engine: Engine,
  { configs }: PretrainingSetup,
  path: string,
): Promise<{ readonly path: string; readonly step: number }> {
  const { step } = await loadCheckpoint({ path, parameters: engineParameterStore(engine), configs });
  return { path, step };
}

/** Metric values that are numbers; a value that does not exist (an area with one class only) is left out. */
export function numbers(values: object): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, number] => typeof entry[1] === "number"),
  );
}

async function writeResult(path: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.tmp`, text);
    await rename(`${path}.tmp`, path);
  } catch (error) {
    throw new ElectraError("ERR_ELECTRA_FILE", `cannot write ${path}: ${(error as Error).message}`, {
      hint: "Check the folder's permissions and the free space of its disk, or set results_txt and results_json.",
      cause: error,
    });
  }
}
