/**
 * electra-native: pre-train, evaluate and use ELECTRA text encoders from Node.js.
 *
 * @module
 */
import { lazyFunction } from "./lazy-function.js";

export type { PredictBenchmark, PredictBenchmarkOptions } from "./bench/predict-benchmark.js";
export type { StepBenchmark, StepBenchmarkOptions } from "./bench/step-benchmark.js";
export { type CheckpointInfo, findLatestCheckpoint } from "./checkpoint/checkpoint-folders.js";
export { engineParameterStore } from "./checkpoint/engine-parameter-store.js";
export type { VariableOrigin } from "./checkpoint/load-variables.js";
export type { ModelWeights } from "./checkpoint/model-weights.js";
export { PytorchReader } from "./checkpoint/pytorch/pytorch-reader.js";
export { SafetensorsReader, writeSafetensors } from "./checkpoint/safetensors.js";
export { TensorBundleReader } from "./checkpoint/tensorflow/tensor-bundle.js";
export { type Batch as LoadedBatch, BatchLoader } from "./data/batch-loader.js";
export { RecordDataset } from "./data/record-dataset.js";
export { splitRecords } from "./data/record-split.js";
export { parseTruth } from "./electric/development-truth.js";
export { ElectricScorer } from "./electric/electric-scorer.js";
export { MaskedLmScorer } from "./electric/masked-lm-scorer.js";
export { measureRerank } from "./electric/measure-rerank.js";
export { formatNBest, parseNBest } from "./electric/nbest-format.js";
export { rerank } from "./electric/rerank.js";
export { tuneWeight } from "./electric/tune-weight.js";
export { type CudaReport, listCudaDevices } from "./engine/cuda-devices.js";
export { Engine } from "./engine/engine.js";
export { FinetuningEngine } from "./engine/finetuning-engine.js";
export type * from "./engine/finetuning-types.js";
export type * from "./engine/kernel-types.js";
export { Kernels } from "./engine/kernels.js";
export type * from "./engine/types.js";
export { ElectraError } from "./errors.js";
export { mixedExamples, mixedRows, paddingRows } from "./finetuning/features/mixed-examples.js";
export { pairInput } from "./finetuning/features/pair-input.js";
export { type BadRow, type BadRowSummary, noBadRows } from "./finetuning/reading/bad-rows.js";
export { summarizeTrials, type TaskSummary, type TrialResults } from "./finetuning/results/trial-results.js";
export type * from "./finetuning/task.js";
export type { TaskSource } from "./finetuning/tasks/read-task-file.js";
export { type TaskDescriptionInput, taskJsonSchema } from "./finetuning/tasks/task-description.js";
export type { TaskSettings } from "./finetuning/tasks/task-settings.js";
export type { FinetuneOptions, FinetuneResult } from "./finetuning/training/finetune.js";
export type { FinetuningSetup } from "./finetuning/training/finetuning-setup.js";
export type { TrialOutcome, TrialStart } from "./finetuning/training/trial-context.js";
export {
  type FinetuningHparams,
  type ResolvedFinetuning,
  resolveFinetuningHparams,
} from "./hparams/finetuning-hparams.js";
export { finetuningJsonSchema } from "./hparams/finetuning-json-schema.js";
export { type LayerwiseDecay, layerwiseMultiplier } from "./hparams/layerwise-learning-rate.js";
export { learningRateAt } from "./hparams/learning-rate.js";
export {
  type PretrainingHparams,
  type ResolvedPretraining,
  resolvePretrainingHparams,
} from "./hparams/pretraining-hparams.js";
export { pretrainingJsonSchema } from "./hparams/pretraining-json-schema.js";
export { pretrainingVariables } from "./hparams/pretraining-variables.js";
export {
  discriminatorConfig,
  generatorConfig,
  type TransformerConfig,
} from "./hparams/transformer-config.js";
export {
  type Classification,
  Classifier,
  type ClassifierInput,
  type ClassifyOptions,
  type OpenTaskOptions,
} from "./inference/classifier.js";
export { FinetunedModel, type OpenFinetunedOptions } from "./inference/finetuned-model.js";
export { MaskedTokenFiller } from "./inference/masked-token-filler.js";
export { PretrainedModel } from "./inference/pretrained-model.js";
export {
  type Answer,
  type AnsweredQuestion,
  type AnswerOptions,
  QuestionAnswerer,
  type QuestionInput,
} from "./inference/question-answerer.js";
export { type DetectedWord, ReplacedTokenDetector } from "./inference/replaced-token-detector.js";
export {
  type TaggedSpan,
  type TaggedText,
  type TaggedWord,
  Tagger,
  type TaggerInput,
} from "./inference/tagger.js";
export type { ExportModelOptions, ExportResult } from "./interop/export-model.js";
export type { ExportTaskOptions, TaskExport } from "./interop/export-task.js";
export type { ExportOnnxOptions, OnnxExport } from "./interop/onnx/export-onnx.js";
export { evaluateMrqa, evaluateSquadV1 } from "./metrics/answer-evaluation.js";
export { bootstrapAuc } from "./metrics/bootstrap-auc.js";
export type { MetricValues } from "./metrics/metric-values.js";
export { PretrainingMetrics, type PretrainingMetricValues } from "./metrics/pretraining-metrics.js";
export { rankAuc } from "./metrics/rank-auc.js";
export { evaluateSquadV2 } from "./metrics/squad-v2-evaluation.js";
export { evaluateConll } from "./metrics/tagging-scores.js";
export { unigramCrossEntropy } from "./metrics/unigram-cross-entropy.js";
export type { EvaluatePretrainingOptions } from "./pretraining/evaluate.js";
export { type MaskingIds, pretrainingModelConfig } from "./pretraining/model-config.js";
export type { PretrainOptions, PretrainStart } from "./pretraining/pretrain.js";
export type { PretrainResult } from "./pretraining/pretrain-result.js";
export type { EventSink } from "./telemetry/event-sink.js";
export type { RunEvent } from "./telemetry/run-event.js";
export { TerminalSink } from "./telemetry/terminal-sink.js";
export { Tokenizer } from "./tokenization/tokenizer.js";
export { Vocabulary } from "./tokenization/vocabulary.js";
export { trainWordPiece } from "./tokenization/wordpiece-trainer.js";

// These load their modules when they are called first, so that importing the library stays quick.
export const benchmarkPredict: typeof import("./bench/predict-benchmark.js").benchmarkPredict = lazyFunction(
  async () => (await import("./bench/predict-benchmark.js")).benchmarkPredict,
);
export const benchmarkStep: typeof import("./bench/step-benchmark.js").benchmarkStep = lazyFunction(
  async () => (await import("./bench/step-benchmark.js")).benchmarkStep,
);
export const saveCheckpoint: typeof import("./checkpoint/checkpoint.js").saveCheckpoint = lazyFunction(
  async () => (await import("./checkpoint/checkpoint.js")).saveCheckpoint,
);
export const loadCheckpoint: typeof import("./checkpoint/load-checkpoint.js").loadCheckpoint = lazyFunction(
  async () => (await import("./checkpoint/load-checkpoint.js")).loadCheckpoint,
);
export const loadWeights: typeof import("./checkpoint/load-checkpoint.js").loadWeights = lazyFunction(
  async () => (await import("./checkpoint/load-checkpoint.js")).loadWeights,
);
export const loadVariables: typeof import("./checkpoint/load-variables.js").loadVariables = lazyFunction(
  async () => (await import("./checkpoint/load-variables.js")).loadVariables,
);
export const readModelWeights: typeof import("./checkpoint/model-weights.js").readModelWeights = lazyFunction(
  async () => (await import("./checkpoint/model-weights.js")).readModelWeights,
);
export const writeTensorBundle: typeof import("./checkpoint/tensorflow/write-tensor-bundle.js").writeTensorBundle =
  lazyFunction(
    async () => (await import("./checkpoint/tensorflow/write-tensor-bundle.js")).writeTensorBundle,
  );
export const buildVocabulary: typeof import("./data/build-vocabulary.js").buildVocabulary = lazyFunction(
  async () => (await import("./data/build-vocabulary.js")).buildVocabulary,
);
export const buildDataset: typeof import("./data/dataset-builder.js").buildDataset = lazyFunction(
  async () => (await import("./data/dataset-builder.js")).buildDataset,
);
export const buildOpenWebText: typeof import("./data/openwebtext-builder.js").buildOpenWebText = lazyFunction(
  async () => (await import("./data/openwebtext-builder.js")).buildOpenWebText,
);
export const scoreNBest: typeof import("./electric/score-nbest.js").scoreNBest = lazyFunction(
  async () => (await import("./electric/score-nbest.js")).scoreNBest,
);
export const createTasks: typeof import("./finetuning/tasks/create-task.js").createTasks = lazyFunction(
  async () => (await import("./finetuning/tasks/create-task.js")).createTasks,
);
export const readTaskFile: typeof import("./finetuning/tasks/read-task-file.js").readTaskFile = lazyFunction(
  async () => (await import("./finetuning/tasks/read-task-file.js")).readTaskFile,
);
export const finetune: typeof import("./finetuning/training/finetune.js").finetune = lazyFunction(
  async () => (await import("./finetuning/training/finetune.js")).finetune,
);
export const setUpFinetuning: typeof import("./finetuning/training/finetuning-setup.js").setUpFinetuning =
  lazyFunction(async () => (await import("./finetuning/training/finetuning-setup.js")).setUpFinetuning);
export const exportModel: typeof import("./interop/export-model.js").exportModel = lazyFunction(
  async () => (await import("./interop/export-model.js")).exportModel,
);
export const exportTask: typeof import("./interop/export-task.js").exportTask = lazyFunction(
  async () => (await import("./interop/export-task.js")).exportTask,
);
export const exportOnnx: typeof import("./interop/onnx/export-onnx.js").exportOnnx = lazyFunction(
  async () => (await import("./interop/onnx/export-onnx.js")).exportOnnx,
);
export const evaluatePretraining: typeof import("./pretraining/evaluate.js").evaluatePretraining =
  lazyFunction(async () => (await import("./pretraining/evaluate.js")).evaluatePretraining);
export const pretrain: typeof import("./pretraining/pretrain.js").pretrain = lazyFunction(
  async () => (await import("./pretraining/pretrain.js")).pretrain,
);
