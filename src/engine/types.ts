/**
 * The words of the engine: what goes in, what comes out. Everything here is plain data.
 *
 * Letters: B rows of a batch, L their padded length, N slots (`max_predictions_per_seq`), V vocabulary, h hidden size.
 */

/** Shape of one transformer, under the names of the reference's hyper-parameters. */
export interface TransformerShape {
  readonly vocab_size: number;
  /** Width of the embedding tables; where it differs from `hidden_size` a projection follows. */
  readonly embedding_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  /** `gelu` (erf), `gelu_new` or `gelu_tanh` (tanh approximation), `relu`. */
  readonly hidden_act: string;
  readonly hidden_dropout_prob: number;
  readonly attention_probs_dropout_prob: number;
  readonly max_position_embeddings: number;
  readonly type_vocab_size: number;
  readonly initializer_range: number;
}

/** What the model learns: replaced-token detection, Electric's energy, or BERT's masked language model. */
export type EngineObjective = "electra" | "electric" | "mlm";

/**
 * Which network proposes tokens: `masked` a masked-LM transformer of its own, `shared` the discriminator's encoder (always
 * so under `mlm`), `two_towers` a left-to-right and a right-to-left encoder over the uncorrupted input, `uniform` none.
 */
export type EngineGeneratorKind = "masked" | "shared" | "two_towers" | "uniform";

/** A pre-training model, all hyper-parameters resolved. Mirror of the native `PretrainingConfig`. */
export interface PretrainingModelConfig {
  readonly objective: EngineObjective;
  readonly generator_kind: EngineGeneratorKind;
  readonly discriminator: TransformerShape;
  /** Needed for `masked` and `two_towers`; ignored otherwise. */
  readonly generator?: TransformerShape;
  /** Default false. */
  readonly untied_generator_embeddings?: boolean;
  /** Default 1. */
  readonly gen_weight?: number;
  /** Default 50. */
  readonly disc_weight?: number;
  readonly mask_prob: number;
  /** Longest row; also the pitch of every random coordinate, so it is part of what a seed means. */
  readonly max_seq_length: number;
  readonly max_predictions_per_seq: number;
  /** Of the generator's samples. Default 1. */
  readonly temperature?: number;
  /** Never sample the true token. Default false. */
  readonly disallow_correct?: boolean;
  /** Distinct masked positions instead of the reference's independent draws. Default false. */
  readonly mask_without_replacement?: boolean;
  /** Compute padding too, as the reference does; every batch must then be `max_seq_length` long. Default false. */
  readonly keep_padding?: boolean;
  readonly cls_id: number;
  readonly sep_id: number;
  readonly mask_id: number;
  /** Decoupled weight decay of everything but LayerNorm and biases. Default 0.01. */
  readonly weight_decay_rate?: number;
}

/**
 * Where the engine runs: `cuda:N` is GPU number N, `cuda` the first that can be used, `auto` that one or, where there is
 * none, the CPU. `emulated` is for tests: the CUDA backend on the CPU.
 */
export type DeviceChoice = "auto" | "cpu" | "cuda" | `cuda:${number}` | "emulated";
/** Type of activations and products: `auto` is bf16 on a GPU and f32 on the CPU, which has nothing else. */
export type PrecisionChoice = "auto" | "f32" | "bf16";
/**
 * Matrix products on the CPU: the built-in kernel or oneDNN. `auto` is the built-in one where the processor has AVX2 or
 * AVX-512, else oneDNN where the system has it.
 */
export type GemmChoice = "auto" | "onednn" | "built-in";
/** Instruction set of the CPU kernels: the best of this processor (`auto`) or a lower one. */
export type IsaChoice = "auto" | "avx512" | "avx2" | "baseline";

export interface CpuSettings {
  /** Threads of the operators, the engine's own included. Default: `os.availableParallelism()`. */
  readonly threads?: number;
  readonly gemm?: GemmChoice;
  readonly isa?: IsaChoice;
}

/** The machine's part of a run. */
export interface BackendSettings extends CpuSettings {
  /** Default: the variable `ELECTRA_DEVICE`, else `auto`. */
  readonly device?: DeviceChoice;
  /** Default: the variable `ELECTRA_PRECISION`, else `auto`. */
  readonly precision?: PrecisionChoice;
}

export interface EngineCreateOptions extends BackendSettings {
  readonly model: PretrainingModelConfig;
  /** Make room for training batches of so many rows at once, so that one that does not fit is refused here. Default: none. */
  readonly reserveRows?: number;
  /**
   * Time every operator, for `profile()`. On the CPU alone (`ERR_ELECTRA_ARGUMENT` elsewhere); two looks at the clock a call.
   * Default false, which costs nothing.
   */
  readonly profile?: boolean;
  /** Seeds initial weights and every random draw: a whole number below 2^53. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

/** A batch as the records hold it. The arrays are copied before a call returns, so they may be refilled at once. */
export interface Batch {
  /** [B · L] token ids; padding may hold anything. May lie in a SharedArrayBuffer, like all arrays here. */
  readonly inputIds: Int32Array;
  /** [B] real tokens of each row. */
  readonly lengths: Int32Array;
  /** [B · L] 0 or 1; default 0. */
  readonly segmentIds?: Int32Array;
  /** B */
  readonly rows: number;
  /** L, at most `max_seq_length`. */
  readonly length: number;
  /** Number of row 0 in the whole batch, where this is a part of one. Default 0. */
  readonly firstRow?: number;
}

/**
 * Random choices fed from outside instead of drawn. These arrays are read while the job runs: leave them alone, and do
 * not transfer them, until its promise settles.
 */
export interface Draws {
  /** [B · N] positions within the row. */
  readonly positions?: Int32Array;
  /** [B · N] uniforms; below 0.85 the slot really gets `[MASK]`. */
  readonly replaceUniform?: Float32Array;
  /** [B · N · V] uniforms of the generator's Gumbel noise. */
  readonly gumbelUniform?: Float32Array;
  /** [B · N] the ids that the generator is to have sampled. */
  readonly sampledIds?: Int32Array;
}

/** What the two losses are divided by; by default the weights of this very batch. Needed where it is a part of a batch. */
export interface LossDenominators {
  readonly generator?: number;
  readonly discriminator?: number;
}

/** Common to all that runs on the engine. */
export interface JobOptions {
  /** Aborting rejects with the signal's reason, at the latest at the next layer; weights are then as before the call. */
  readonly signal?: AbortSignal;
}

export interface ForwardBackwardOptions extends JobOptions {
  /** Counter of every random draw: same seed, step and batch, same numbers. Default 0. */
  readonly step?: number;
  /** Instead of the engine's seed. */
  readonly seed?: number;
  /** Add to the gradients that are there instead of clearing them first. Default false. */
  readonly accumulate?: boolean;
  readonly draws?: Draws;
  readonly denominators?: LossDenominators;
  /** Names of the arrays wanted back, see `StepResult.outputs`. */
  readonly outputs?: readonly string[];
}

export interface OptimizerOptions extends JobOptions {
  /** Already scheduled. */
  readonly learningRate: number;
  /** Gradients are scaled down to this global norm. Default 1. */
  readonly maxGradientNorm?: number;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-6. */
  readonly epsilon?: number;
  /** Only for the message when a gradient is not finite. */
  readonly step?: number;
}

export interface TrainStepOptions extends Omit<OptimizerOptions, "step"> {
  readonly step: number;
  readonly seed?: number;
  readonly draws?: Draws;
  readonly denominators?: LossDenominators;
  readonly outputs?: readonly string[];
}

/** Evaluation masks and samples as training does, without dropout and gradients. */
export type EvaluateOptions = Omit<ForwardBackwardOptions, "accumulate">;

export interface ForwardOptions extends JobOptions {
  /** `generator` is also the masked language model under `mlm`. */
  readonly network: "generator" | "discriminator";
  /** [B · N] where the generator's logits are wanted; −1: unused slot. N is `positions.length / rows`. */
  readonly positions?: Int32Array;
  readonly outputs: readonly string[];
}

/** One named result: row-major, on the JavaScript side, owned by the caller. */
export interface OutputArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/**
 * Named arrays. Over tokens they are [B, L] with zeros at padding, over slots [B, N] with zeros at unused slots:
 * - `masked/input_ids` [B, L], `masked/positions`, `masked/targets`, `masked/weights` [B, N]
 * - `mlm/logits` [B, N, V], `mlm/loss`, `mlm/predictions` [B, N]
 * - `cloze/logits` [B, L, V], `cloze/loss`, `cloze/weights` [B, L] (two towers)
 * - `fake/sampled_ids` [B, N], `fake/replaced_ids`, `fake/labels` [B, L]
 * - `disc/logits`, `disc/probabilities`, `disc/predictions`, `disc/weights`, `disc/token_loss` [B, L], `disc/loss` [B]
 * - `hidden/<network>/embedding_output`, `…/sequence_output`, `…/layer_<i>` [B, L, h]
 * - `attention/<network>/layer_<i>` [B, heads, L, L]
 *
 * where `<network>` is `electra`, `generator`, `generator_ltr` or `generator_rtl`.
 */
export type Outputs = Readonly<Record<string, OutputArray>>;

/** Sums over the masked slots of a batch; they add over batches. */
export interface GeneratorSums {
  readonly loss: number;
  readonly weight: number;
  readonly correct: number;
  readonly sampledCorrect: number;
  readonly slots: number;
}

/** Sums over the tokens of a batch; they add over batches. "Positive" means replaced. */
export interface DiscriminatorSums {
  readonly loss: number;
  readonly weight: number;
  readonly truePositive: number;
  readonly falsePositive: number;
  readonly trueNegative: number;
  readonly falseNegative: number;
}

export interface StepResult {
  /** gen_weight · generatorLoss + disc_weight · discriminatorLoss */
  readonly loss: number;
  /** Mean masked-LM (or cloze) loss, nats per slot. */
  readonly generatorLoss: number;
  /** Mean replaced-token loss, nats per token. */
  readonly discriminatorLoss: number;
  readonly generator: GeneratorSums;
  readonly discriminator: DiscriminatorSums;
  /** Real tokens of the batch. */
  readonly tokens: number;
  /** Masked slots of the batch. */
  readonly slots: number;
  /** The arrays asked for; empty if none were. */
  readonly outputs: Outputs;
  /** Time on the engine thread, without waiting in the queue. */
  readonly seconds: number;
}

export interface OptimizerResult {
  /** Global norm before clipping. */
  readonly gradientNorm: number;
  readonly seconds: number;
}

export interface TrainStepResult extends StepResult {
  readonly step: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
}

/** All calls of one operator at one shape, since the last look. */
export interface OperatorTime {
  /** A name of {@link Kernels} where it has one: "linearBackwardWeight". */
  readonly operator: string;
  /** Of an operator with a matrix product: "256 to 1024, with activation". Empty otherwise. */
  readonly shape: string;
  readonly calls: number;
  readonly seconds: number;
  /** Multiplications and additions of its matrix products; 0 without. */
  readonly flop: number;
}

/** Which of a variable's four float32 tensors. */
export type ParameterKind = "value" | "gradient" | "adam_m" | "adam_v";

/** A trainable variable under the reference's TensorFlow name; kernels are [in, out], row-major. */
export interface ParameterInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly elements: number;
  /** Whether weight decay applies. */
  readonly decay: boolean;
}

/** Something about the machine that a person should be told once. */
export interface EngineWarning {
  /** `cpu_instead_of_gpu`: `auto` found no usable GPU; `no_cublaslt`: the GPU's products run without NVIDIA's library. */
  readonly code: "cpu_instead_of_gpu" | "no_cublaslt";
  readonly message: string;
  /** What to do. */
  readonly hint: string;
}

/** What the first line of every run says. */
export interface EngineInfo {
  /** "cpu", "cuda:0 NVIDIA H100 80GB HBM3" */
  readonly device: string;
  /** Provider of matrix products with its version: "oneDNN 2.6.3", "built-in avx512", "cuBLASLt 13.1.1". */
  readonly gemm: string;
  /** "avx512", "sm_90" */
  readonly isa: string;
  readonly threads: number;
  readonly precision: "float32" | "bfloat16";
  /** Of the package, as compiled into the addon. */
  readonly version: string;
  readonly warnings: readonly EngineWarning[];
}

/** Bytes held natively by one engine, as of the last finished job. */
export interface EngineMemory {
  /** Values, gradients, Adam moments, compute forms. */
  readonly parameters: number;
  readonly activations: number;
  readonly workspace: number;
  readonly total: number;
}
