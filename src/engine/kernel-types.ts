import type { JobOptions } from "./types.js";

/**
 * Arguments and results of single operators. Arrays are row-major and read while the operator runs: leave them alone until
 * its promise settles. Letters: T tokens, B rows, S slots, R rows of the language-model head, V vocabulary, h width.
 */

export type KernelActivation = "identity" | "gelu" | "gelu_new" | "relu" | "tanh";
export type KernelAttentionMask = "full" | "left_to_right" | "right_to_left";

export interface KernelOptions extends JobOptions {
  /** Run the operator so often, on the same arguments; `seconds` has an entry for each run. Default 1. */
  readonly repeat?: number;
  /**
   * So many runs share one look at the clock, and an entry of `seconds` is one run's share: for operators of a GPU that
   * take no longer than waiting for them. Results that are sums then hold as many. Default 1.
   */
  readonly burst?: number;
}

/** Seconds of each run, on the engine thread, until the device is done; set-up and copies not included. */
export interface KernelTiming {
  readonly seconds: Float32Array;
}

/** The shape of a batch; T is the sum of `lengths`, or B · pitch with `keepPadding`. */
export interface KernelRowShape {
  /** [B] */
  readonly lengths: Int32Array;
  /** Padded row length, part of every random coordinate. */
  readonly pitch: number;
  readonly keepPadding?: boolean;
  /** Number of row 0 in the whole batch. Default 0. */
  readonly firstRow?: number;
}

/** Where random decisions come from. */
export interface KernelRandom {
  /** Default 0. */
  readonly seed?: number;
  /** Default 0. */
  readonly step?: number;
}

export interface KernelDropout extends KernelRandom {
  /** Probability of dropping. Default 0. */
  readonly dropout?: number;
  /** Number of the place in a network; different sites drop differently. Default 0. */
  readonly site?: number;
}

/** c = alpha · op(a) · op(b) + beta · c on one thread. */
export interface GemmArguments extends KernelOptions {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** [m, k], or [k, m] with `transposeA` */
  readonly a: Float32Array;
  /** [k, n], or [n, k] with `transposeB` */
  readonly b: Float32Array;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** Default 1. */
  readonly alpha?: number;
  /** Default 0. */
  readonly beta?: number;
  /** [m, n] what `beta` scales; not changed. */
  readonly c?: Float32Array;
}
export interface GemmResult extends KernelTiming {
  readonly c: Float32Array;
}

interface LinearShape extends KernelOptions {
  /** T */
  readonly tokens: number;
  readonly in: number;
  readonly out: number;
}
/** y = activation(x · weight + bias) */
export interface LinearArguments extends LinearShape {
  readonly x: Float32Array;
  /** [in, out] */
  readonly weight: Float32Array;
  readonly bias?: Float32Array;
  readonly activation?: KernelActivation;
}
export interface LinearResult extends KernelTiming {
  readonly y: Float32Array;
  /** What the backward pass needs of the activation, in the device's own form; absent for `identity`. */
  readonly aux?: Float32Array;
}
/** dx = (dy · weightᵀ) ⊙ activation'(aux), with `activation` and `aux` of the layer that made x. */
export interface LinearBackwardDataArguments extends LinearShape {
  /** [T, out] */
  readonly dy: Float32Array;
  readonly weight: Float32Array;
  readonly activation?: KernelActivation;
  /** [T, in] */
  readonly aux?: Float32Array;
}
export interface LinearBackwardDataResult extends KernelTiming {
  readonly dx: Float32Array;
  /** [in] column sums of dx */
  readonly dBiasOfInput: Float32Array;
}
export interface LinearBackwardWeightArguments extends LinearShape {
  readonly x: Float32Array;
  readonly dy: Float32Array;
}
export interface LinearBackwardWeightResult extends KernelTiming {
  readonly dWeight: Float32Array;
  readonly dBias: Float32Array;
}

interface TokenMatrix extends KernelOptions {
  /** T */
  readonly tokens: number;
  readonly width: number;
}
export interface ActivationArguments extends TokenMatrix {
  readonly activation: KernelActivation;
  readonly x: Float32Array;
}
export interface ActivationResult extends KernelTiming {
  readonly y: Float32Array;
  readonly aux: Float32Array;
}
export interface ActivationBackwardArguments extends TokenMatrix {
  readonly activation: KernelActivation;
  readonly dy: Float32Array;
  readonly aux: Float32Array;
}
export interface ActivationBackwardResult extends KernelTiming {
  readonly dx: Float32Array;
}
export type GeluArguments = Omit<ActivationArguments, "activation" | "tokens" | "width"> & {
  /** The tanh formula instead of erf. */
  readonly approximate?: boolean;
};
export type GeluBackwardArguments = Omit<ActivationBackwardArguments, "activation" | "tokens" | "width"> & {
  readonly approximate?: boolean;
};

export interface LayerNormArguments extends TokenMatrix {
  readonly x: Float32Array;
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
}
export interface LayerNormResult extends KernelTiming {
  readonly y: Float32Array;
  /** (x − mean) · rstd */
  readonly normalized: Float32Array;
  /** [T] */
  readonly rstd: Float32Array;
}
export interface LayerNormBackwardArguments extends TokenMatrix {
  readonly dy: Float32Array;
  readonly gamma: Float32Array;
  readonly normalized: Float32Array;
  readonly rstd: Float32Array;
}
export interface LayerNormBackwardResult extends KernelTiming {
  readonly dx: Float32Array;
  readonly dGamma: Float32Array;
  readonly dBeta: Float32Array;
}

/** y = LayerNorm(residual + dropout(x + bias)) */
export interface DropoutResidualLayerNormArguments extends KernelOptions, KernelRowShape, KernelDropout {
  readonly width: number;
  readonly x: Float32Array;
  readonly bias?: Float32Array;
  readonly residual: Float32Array;
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
}
export interface DropoutResidualLayerNormBackwardArguments
  extends KernelOptions,
    KernelRowShape,
    KernelDropout {
  readonly width: number;
  readonly dy: Float32Array;
  readonly gamma: Float32Array;
  readonly normalized: Float32Array;
  readonly rstd: Float32Array;
}
export interface DropoutResidualLayerNormBackwardResult extends KernelTiming {
  readonly dx: Float32Array;
  readonly dResidual: Float32Array;
  readonly dBias: Float32Array;
  readonly dGamma: Float32Array;
  readonly dBeta: Float32Array;
}

interface AttentionShape extends KernelOptions, KernelRowShape {
  readonly heads: number;
  /** h, a multiple of `heads` */
  readonly width: number;
  /** [T, 3 h] query, key and value columns */
  readonly qkv: Float32Array;
  /** Default `full`. */
  readonly mask?: KernelAttentionMask;
}
export interface AttentionArguments extends AttentionShape, KernelDropout {}
export interface AttentionResult extends KernelTiming {
  /** [T, h] */
  readonly context: Float32Array;
  /** [T, heads] */
  readonly logSumExp: Float32Array;
}
export interface AttentionBackwardArguments extends AttentionArguments {
  readonly context: Float32Array;
  readonly logSumExp: Float32Array;
  readonly dContext: Float32Array;
}
export interface AttentionBackwardResult extends KernelTiming {
  readonly dQkv: Float32Array;
}
export type AttentionProbabilitiesArguments = AttentionShape;
export interface AttentionProbabilitiesResult extends KernelTiming {
  /** [B, heads, pitch, pitch] without dropout */
  readonly probabilities: Float32Array;
}

interface EmbeddingShape extends KernelOptions, KernelRowShape, KernelDropout {
  readonly width: number;
  readonly vocabulary: number;
  readonly types: number;
  readonly positions: number;
  /** [T] */
  readonly ids: Int32Array;
  /** [T] */
  readonly segments: Int32Array;
  readonly gamma: Float32Array;
}
/** y = dropout(LayerNorm(word[id] + tokenType[segment] + position[t])) */
export interface EmbeddingArguments extends EmbeddingShape {
  readonly word: Float32Array;
  readonly tokenType: Float32Array;
  readonly position: Float32Array;
  readonly beta: Float32Array;
}
export interface EmbeddingBackwardArguments extends EmbeddingShape {
  readonly dy: Float32Array;
  readonly normalized: Float32Array;
  readonly rstd: Float32Array;
}
export interface EmbeddingBackwardResult extends KernelTiming {
  readonly dWord: Float32Array;
  readonly dTokenType: Float32Array;
  readonly dPosition: Float32Array;
  readonly dGamma: Float32Array;
  readonly dBeta: Float32Array;
}

/** logits = x · tableᵀ + bias, and what is wanted of them. One slot per row. */
export interface LanguageModelHeadArguments extends KernelOptions, KernelRandom {
  /** R */
  readonly rows: number;
  readonly width: number;
  readonly vocabulary: number;
  readonly x: Float32Array;
  /** [V, width] */
  readonly table: Float32Array;
  /** [V] */
  readonly bias: Float32Array;
  /** [R] */
  readonly targets?: Int32Array;
  /** [R]; default 1 */
  readonly weights?: Float32Array;
  /** d(total loss) / d(Σ w · nll). Default 1. */
  readonly scale?: number;
  /** Return the logits [R, V]. */
  readonly logits?: boolean;
  /** Return gradients; needs `targets`. */
  readonly backward?: boolean;
  /** Draw an id for each row. */
  readonly sample?: boolean;
  /** [R, V] uniforms of the Gumbel noise instead of drawn ones */
  readonly uniform?: Float32Array;
  /** [R] coordinates of the draws; default 0, 1, … */
  readonly slotCoordinate?: Int32Array;
  readonly temperature?: number;
  readonly disallowCorrect?: boolean;
}
export interface LanguageModelHeadResult extends KernelTiming {
  readonly predictions: Int32Array;
  readonly logSumExp: Float32Array;
  readonly logits?: Float32Array;
  readonly nll?: Float32Array;
  readonly sampled?: Int32Array;
  readonly dx?: Float32Array;
  readonly dTable?: Float32Array;
  readonly dBias?: Float32Array;
  /** Σ w · nll, and the other sums, where there are targets. */
  readonly loss?: number;
  readonly weight?: number;
  readonly correct?: number;
  readonly sampledCorrect?: number;
}
export type SoftmaxCrossEntropyArguments = Omit<
  LanguageModelHeadArguments,
  "sample" | "uniform" | "targets"
> & {
  readonly targets: Int32Array;
};

export interface MaskTokensArguments extends KernelOptions, KernelRowShape, KernelRandom {
  /** [T] */
  readonly ids: Int32Array;
  /** [B] slots of each row */
  readonly slotCounts: Int32Array;
  /** N */
  readonly slotsPerRow: number;
  readonly clsId: number;
  readonly sepId: number;
  readonly maskId: number;
  /** Default 0.85. */
  readonly maskProbability?: number;
  readonly withoutReplacement?: boolean;
  /** [B · N] positions in the row instead of drawn ones */
  readonly positions?: Int32Array;
  /** [B · N] */
  readonly replaceUniform?: Float32Array;
}
export interface MaskTokensResult extends KernelTiming {
  readonly maskedIds: Int32Array;
  /** [S] index into the tokens */
  readonly slotToken: Int32Array;
  readonly slotTarget: Int32Array;
  readonly slotCoordinate: Int32Array;
  readonly slotLocal: Int32Array;
}
export interface ReplaceTokensArguments extends KernelOptions, KernelRowShape {
  readonly ids: Int32Array;
  readonly slotCounts: Int32Array;
  readonly slotToken: Int32Array;
  readonly sampled: Int32Array;
  /** Electric: label 1 wherever a slot wrote. */
  readonly labelEverySlot?: boolean;
}
export interface ReplaceTokensResult extends KernelTiming {
  readonly replacedIds: Int32Array;
  readonly labels: Float32Array;
}
export interface SampleUniformArguments extends KernelOptions, KernelRandom {
  /** S */
  readonly slots: number;
  readonly vocabulary: number;
  readonly slotCoordinate: Int32Array;
  readonly slotTarget: Int32Array;
  readonly disallowCorrect?: boolean;
  /** [S, V] */
  readonly uniform?: Float32Array;
}
export interface SampleUniformResult extends KernelTiming {
  readonly sampled: Int32Array;
}

export interface BinaryCrossEntropyArguments extends KernelOptions {
  readonly tokens: number;
  readonly logits: Float32Array;
  readonly labels: Float32Array;
  readonly addend?: Float32Array;
  readonly constant?: number;
  readonly weights?: Float32Array;
  /** Default 1. */
  readonly scale?: number;
}
export interface BinaryCrossEntropyResult extends KernelTiming {
  /** [T] unweighted */
  readonly loss: Float32Array;
  readonly finalLogits: Float32Array;
  readonly dLogits: Float32Array;
  readonly lossSum: number;
  readonly weightSum: number;
  readonly truePositive: number;
  readonly falsePositive: number;
  readonly trueNegative: number;
  readonly falseNegative: number;
}

/** Norm, clip, Adam without bias correction, decoupled decay; the arguments are not changed. */
export interface AdamArguments extends KernelOptions {
  readonly size: number;
  readonly parameters: Float32Array;
  readonly gradient: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  readonly learningRate: number;
  readonly decay?: number;
  readonly learningRateScale?: number;
  readonly maxGradientNorm?: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
}
export interface AdamResult extends KernelTiming {
  readonly parameters: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  /** Before clipping. */
  readonly gradientNorm: number;
  /** False: the gradient holds a NaN or an infinity and nothing was changed. */
  readonly finite: boolean;
}
