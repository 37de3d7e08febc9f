/**
 * electra-native: pre-train, evaluate and use ELECTRA text encoders from Node.js.
 *
 * @module
 */
export { benchmarkStep, type StepBenchmark, type StepBenchmarkOptions } from "./bench/step-benchmark.js";
export { saveCheckpoint } from "./checkpoint/checkpoint.js";
export { type CheckpointInfo, findLatestCheckpoint } from "./checkpoint/checkpoint-folders.js";
export { engineParameterStore } from "./checkpoint/engine-parameter-store.js";
export { loadCheckpoint, loadWeights } from "./checkpoint/load-checkpoint.js";
export { SafetensorsReader, writeSafetensors } from "./checkpoint/safetensors.js";
export { type Batch as LoadedBatch, BatchLoader } from "./data/batch-loader.js";
export { buildVocabulary } from "./data/build-vocabulary.js";
export { buildDataset } from "./data/dataset-builder.js";
export { buildOpenWebText } from "./data/openwebtext-builder.js";
export { RecordDataset } from "./data/record-dataset.js";
export { splitRecords } from "./data/record-split.js";
export { parseTruth } from "./electric/development-truth.js";
export { ElectricScorer } from "./electric/electric-scorer.js";
export { MaskedLmScorer } from "./electric/masked-lm-scorer.js";
export { measureRerank } from "./electric/measure-rerank.js";
export { formatNBest, parseNBest } from "./electric/nbest-format.js";
export { rerank } from "./electric/rerank.js";
export { scoreNBest } from "./electric/score-nbest.js";
export { tuneWeight } from "./electric/tune-weight.js";
export { type CudaReport, listCudaDevices } from "./engine/cuda-devices.js";
export { Engine } from "./engine/engine.js";
export type * from "./engine/kernel-types.js";
export { Kernels } from "./engine/kernels.js";
export type * from "./engine/types.js";
export { ElectraError } from "./errors.js";
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
export { MaskedTokenFiller } from "./inference/masked-token-filler.js";
export { PretrainedModel } from "./inference/pretrained-model.js";
export { type DetectedWord, ReplacedTokenDetector } from "./inference/replaced-token-detector.js";
export { bootstrapAuc } from "./metrics/bootstrap-auc.js";
export { PretrainingMetrics, type PretrainingMetricValues } from "./metrics/pretraining-metrics.js";
export { rankAuc } from "./metrics/rank-auc.js";
export { unigramCrossEntropy } from "./metrics/unigram-cross-entropy.js";
export { type EvaluatePretrainingOptions, evaluatePretraining } from "./pretraining/evaluate.js";
export { type MaskingIds, pretrainingModelConfig } from "./pretraining/model-config.js";
export {
  type PretrainOptions,
  type PretrainStart,
  pretrain,
} from "./pretraining/pretrain.js";
export type { PretrainResult } from "./pretraining/pretrain-result.js";
export type { EventSink } from "./telemetry/event-sink.js";
export type { RunEvent } from "./telemetry/run-event.js";
export { TerminalSink } from "./telemetry/terminal-sink.js";
export { Tokenizer } from "./tokenization/tokenizer.js";
export { Vocabulary } from "./tokenization/vocabulary.js";
export { trainWordPiece } from "./tokenization/wordpiece-trainer.js";
