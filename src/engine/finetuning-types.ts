/**
 * The words of the fine-tuning engine: what goes in, what comes out. Everything here is plain data.
 *
 * Letters: B rows of a batch, L their padded length, W words of the batch that carry a tag, C classes of a head, K width of
 * a beam.
 */
import type {
  BackendSettings,
  Batch,
  JobOptions,
  OptimizerOptions,
  Outputs,
  TransformerShape,
} from "./types.js";

/** The network on top of the encoder that a task needs; its variables are `task_specific/<task>/…`, as the reference's. */
export type EngineTaskHead =
  /** [CLS] → dropout → dense [h, C] → softmax. */
  | { readonly kind: "classification"; readonly classes: number }
  /** [CLS] → dropout → dense [h, C] → a sigmoid for each class. */
  | { readonly kind: "multi-label"; readonly classes: number }
  /** [CLS] → dropout → dense [h, 1]; squared error. */
  | { readonly kind: "regression" }
  /** First piece of each word → dense [h, C] → softmax. */
  | { readonly kind: "tagging"; readonly classes: number }
  /** Start, end and answerability of an answer. */
  | {
      readonly kind: "span";
      readonly jointPrediction: boolean;
      readonly answerableClassifier: boolean;
      readonly answerableUsesStartLogits: boolean;
      readonly answerableWeight: number;
      /** K; a row with fewer tokens has fewer candidates. */
      readonly beamSize: number;
    };

/** An encoder and the heads of the tasks that it learns together. Mirror of the native `FinetuningConfig`. */
export interface FinetuningModelConfig {
  readonly encoder: TransformerShape;
  /** The number of a task is its place here. */
  readonly tasks: readonly { readonly name: string; readonly head: EngineTaskHead }[];
  /** Longest row; also the pitch of every random coordinate, so it is part of what a seed means. */
  readonly max_seq_length: number;
  /** Compute padding too, as the reference does; every batch must then be `max_seq_length` long. Default false. */
  readonly keep_padding?: boolean;
  /** Decoupled weight decay of everything but LayerNorm and biases. Default 0.01. */
  readonly weight_decay_rate?: number;
  /** Dropout of the heads of classification, multi-label and regression. Default 0.1, as in the reference. */
  readonly head_dropout_prob?: number;
}

export interface FinetuningEngineCreateOptions extends BackendSettings {
  readonly model: FinetuningModelConfig;
  /** Make room for training batches of so many rows at once, so that one that does not fit is refused here. Default: none. */
  readonly reserveRows?: number;
  /**
   * Time every operator, for `profile()`. On the CPU alone (`ERR_ELECTRA_ARGUMENT` elsewhere); two looks at the clock a call.
   * Default false, which costs nothing.
   */
  readonly profile?: boolean;
  /** Seeds initial weights and every random draw: a whole number below 2^53. Default 0. */
  readonly seed?: number;
  /**
   * Factor of the learning rate for each variable, by name; asked once, after the model is made. Default: 1 for all.
   */
  readonly learningRateScale?: (name: string) => number;
  readonly signal?: AbortSignal;
}

/** Rows of one or several tasks. The arrays are copied before a call returns, so they may be refilled at once. */
export interface FinetuningBatch extends Batch {
  /** [B] the task of each row; a row with the number of tasks is padding: it has no loss and no result. Default: all 0. */
  readonly taskIds?: Int32Array;
  /** Words of the rows of tagging tasks; rows of other tasks have none. Needed where there is such a task. */
  readonly words?: {
    /** [B + 1] row b has the words offsets[b] … offsets[b + 1] − 1; W = offsets[B]. */
    readonly offsets: Int32Array;
    /** [W] position in the row of the word's first piece. */
    readonly positions: Int32Array;
  };
  readonly targets?: FinetuningTargets;
}

/** What rows are to learn. Every array covers all rows; what a row's task has no use for is not looked at. */
export interface FinetuningTargets {
  /** [B] class of rows of classification tasks. */
  readonly classes?: Int32Array;
  /** [B · M] 0 or 1 for each class of rows of multi-label tasks; M is the largest C among those tasks. */
  readonly labels?: Float32Array;
  /** [B] of regression tasks. */
  readonly values?: Float32Array;
  /** [W] class of each word of tagging tasks. */
  readonly wordClasses?: Int32Array;
  /** [B] positions in the row, of span tasks. */
  readonly starts?: Int32Array;
  readonly ends?: Int32Array;
  /** [B] 0 or 1: the question has no answer. */
  readonly impossible?: Int32Array;
}

export interface FinetuningStepOptions extends JobOptions {
  /** Counter of every random draw: same seed, step and batch, same numbers. Default 0. */
  readonly step?: number;
  /** Instead of the engine's seed. */
  readonly seed?: number;
  /** Add to the gradients that are there instead of clearing them first. Default false. */
  readonly accumulate?: boolean;
  /** Names of the arrays wanted back, see {@link FinetuningStepResult.outputs}. */
  readonly outputs?: readonly string[];
}

export interface FinetuningTrainStepOptions extends Omit<OptimizerOptions, "step"> {
  readonly step: number;
  readonly seed?: number;
  readonly outputs?: readonly string[];
}

/** Inference: no dropout. Losses are computed where the batch has targets. */
export interface PredictOptions extends JobOptions {
  readonly outputs: readonly string[];
}

/**
 * Named arrays, L being the batch's length; zero where a row has another task, or no tokens:
 * - `loss` [B] of each row by its own task
 * - `<task>/logits` [B, C] classification and multi-label; [W, C] tagging
 * - `<task>/predictions` [W] int32, tagging: the most likely class of each word
 * - `<task>/predictions` [B] regression
 * - `<task>/start_logits` [B, L], `<task>/end_logits` [B, L] spans, 1000 lower where no answer may be, zeros at padding;
 *   with joint prediction `end_logits` are those of the gold start, so they need targets
 * - `<task>/answerable_logit` [B] spans; positive: no answer
 * - `<task>/start_top_log_probs`, `start_top_index` [B, K], `end_top_log_probs`, `end_top_index` [B, K, K] spans with joint
 *   prediction, inference only; candidates that a short row lacks have index −1 and value −infinity
 * - `hidden/electra/embedding_output`, `hidden/electra/sequence_output`, `hidden/electra/layer_<i>` [B, L, h]
 */
export interface FinetuningStepResult {
  /** Sum over the rows, as in the reference. */
  readonly loss: number;
  /** The same for each task. */
  readonly taskLosses: readonly number[];
  /** Rows of each task. */
  readonly taskRows: readonly number[];
  /** Real tokens of the batch. */
  readonly tokens: number;
  readonly outputs: Outputs;
  /** Time on the engine thread, without waiting in the queue. */
  readonly seconds: number;
}

export interface FinetuningTrainStepResult extends FinetuningStepResult {
  readonly step: number;
  readonly learningRate: number;
  /** Global norm before clipping. */
  readonly gradientNorm: number;
}

/** `loss` counts rows with targets only; without targets it is 0. */
export type PredictResult = FinetuningStepResult;
