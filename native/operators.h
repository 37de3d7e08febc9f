#pragma once
// The one contract between the model and the hardware: every operator, forward and backward, for every
// pre-training objective and every fine-tuning head. native/model is written once against it; native/cpu and
// cuda/ implement it.
//
// Rules that hold for every operator
// - Tensors are row-major; "[T, h]" means Extent tokens x h columns. A row beyond the actual extent is finite
// in forward
//   results and exactly zero in gradients.
// - Gradients of parameters (float*, f32 on every device) are always added to what is there. Other backward
// results say
//   Into::kWrite or kAdd.
// - Summation order depends on shapes only: results are bit-identical from run to run and for any number of
// threads.
// - No operator allocates after reserve(). No operator waits for the device; download() and synchronize() do.
// - Wrong shapes throw EngineError; an extent of zero is legal everywhere.

#include "engine_error.h"
#include "philox.h"
#include "tensor.h"

namespace electra {

/// Largest shapes an Operators object will be asked for; reserve() makes its workspace from them, once.
struct Capacity {
  int64_t tokens = 0;   ///< largest T
  int32_t batch = 0;    ///< largest B
  int32_t pitch = 0;    ///< longest row
  int64_t slots = 0;    ///< largest number of masked slots
  int64_t lm_rows = 0;  ///< largest number of rows given to language_model_head
  int32_t vocabulary = 0;
  int32_t max_width = 0;  ///< widest activation (feed-forward, or 3 h)
  int32_t max_heads = 0;
  int64_t max_segments = 0;  ///< entries of the optimizer's segment table
  int64_t parameters = 0;    ///< length of the flat parameter buffer
};

struct DeviceInfo {
  char device[96] = {};  ///< "cpu", "cuda:0 NVIDIA H100 80GB HBM3"
  char gemm[64] = {};    ///< "oneDNN 2.6.3", "built-in", "cuBLASLt 13.1.1"
  char isa[32] = {};     ///< "avx512", "avx2", "baseline", "sm_90"
  int32_t threads = 1;
  DType compute = DType::kFloat32;
};

// ---------------------------------------------------------------------------------------------------------------------
// Embeddings: LayerNorm(word[id] + token_type[segment] + position[t]), then dropout.

struct EmbeddingForward {
  Rows rows;
  const int32_t* ids = nullptr;       ///< [T], each in [0, vocabulary)
  const int32_t* segments = nullptr;  ///< [T], each in [0, types)
  const float* word = nullptr;        ///< [V, E]
  const float* token_type = nullptr;  ///< [types, E]
  const float* position = nullptr;    ///< [positions, E]
  const float* gamma = nullptr;       ///< [E]
  const float* beta = nullptr;        ///< [E]
  Dropout dropout;
  Tensor y;               ///< [T, E]
  Tensor normalized;      ///< [T, E] (x − mean) · rstd, kept for backward; may be empty in inference
  float* rstd = nullptr;  ///< [T], kept for backward; may be null in inference
};

struct EmbeddingBackward {
  Rows rows;
  const int32_t* ids = nullptr;
  const int32_t* segments = nullptr;
  const float* gamma = nullptr;
  Dropout dropout;
  Tensor dy;          ///< [T, E]
  Tensor normalized;  ///< [T, E]
  const float* rstd = nullptr;
  Tensor scratch;                 ///< [T, E] the gradient of the sum, per token
  float* d_word = nullptr;        ///< [V, E] added; repeated ids are summed in token order
  float* d_token_type = nullptr;  ///< [types, E] added
  float* d_position = nullptr;    ///< [positions, E] added
  float* d_gamma = nullptr;
  float* d_beta = nullptr;
};

// ---------------------------------------------------------------------------------------------------------------------
// Linear layers: y = activation(x · W + b)

struct LinearForward {
  Extent tokens;
  Tensor x;                     ///< [T, in]
  Weight weight;                ///< [in, out]
  const float* bias = nullptr;  ///< [out] or null
  Activation activation = Activation::kIdentity;
  Tensor y;    ///< [T, out]
  Tensor aux;  ///< [T, out] what linear_backward_data needs of the activation; its content is the device's
               ///< own affair (pre-activation or derivative). Empty for identity and in inference.
};

/// dx = (dy · Wᵀ) ⊙ activation'(aux): `aux` belongs to the layer that made x, so the gradient that leaves is
/// the one at that layer's pre-activation, and its bias gradient can be summed on the way.
struct LinearBackwardData {
  Extent tokens;
  Tensor dy;                                      ///< [T, out]
  Weight weight;                                  ///< [in, out]
  Activation activation = Activation::kIdentity;  ///< of the layer that made x
  Tensor aux;                                     ///< [T, in] of the layer that made x
  Tensor dx;                                      ///< [T, in]
  Into into = Into::kWrite;                       ///< kAdd only with identity
  float* d_bias_of_input = nullptr;               ///< [in] added: column sums of dx, or null
};

struct LinearBackwardWeight {
  Extent tokens;
  Tensor x;                   ///< [T, in]
  Tensor dy;                  ///< [T, out]
  float* d_weight = nullptr;  ///< [in, out] added
  int64_t d_weight_stride = 0;
  float* d_bias = nullptr;  ///< [out] added, or null
};

struct ActivationForward {
  Extent tokens;
  Activation activation = Activation::kGeluErf;
  Tensor x;
  Tensor y;    ///< may be x
  Tensor aux;  ///< may be empty; must not be x
};
struct ActivationBackward {
  Extent tokens;
  Activation activation = Activation::kGeluErf;
  Tensor dy;
  Tensor aux;
  Tensor dx;  ///< may be dy
};

// ---------------------------------------------------------------------------------------------------------------------
// LayerNorm (epsilon 1e-12, population variance) and dropout

struct LayerNormForward {
  Extent tokens;
  Tensor x;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  Tensor y;
  Tensor normalized;      ///< may be empty in inference
  float* rstd = nullptr;  ///< may be null in inference
};
struct LayerNormBackward {
  Extent tokens;
  Tensor dy;
  const float* gamma = nullptr;
  Tensor normalized;
  const float* rstd = nullptr;
  Tensor dx;  ///< may be dy
  Into into = Into::kWrite;
  float* d_gamma = nullptr;
  float* d_beta = nullptr;
};

/// y = LayerNorm(residual + dropout(x + bias)): the end of both halves of a transformer layer.
struct DropoutResidualNormForward {
  Rows rows;
  Tensor x;                     ///< [T, h] product of the linear layer before, without its bias
  const float* bias = nullptr;  ///< [h] or null
  Tensor residual;              ///< [T, h]
  Dropout dropout;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  Tensor y;           ///< [T, h]; may be residual only in inference
  Tensor normalized;  ///< [T, h]; may be empty in inference
  float* rstd = nullptr;
};
struct DropoutResidualNormBackward {
  Rows rows;
  Tensor dy;  ///< [T, h]
  Dropout dropout;
  const float* gamma = nullptr;
  Tensor normalized;
  const float* rstd = nullptr;
  Tensor d_residual;         ///< [T, h] may be dy
  Into into = Into::kWrite;  ///< for d_residual
  Tensor dx;                 ///< [T, h] gradient of x (= of x + bias); never added
  float* d_bias = nullptr;   ///< [h] added, or null
  float* d_gamma = nullptr;
  float* d_beta = nullptr;
};

/// y = dropout(x), and its gradient (the same operation on dy).
struct DropoutApply {
  Rows rows;
  Dropout dropout;
  Tensor x;
  Tensor y;  ///< may be x
};

// ---------------------------------------------------------------------------------------------------------------------
// Attention: softmax(q kᵀ / sqrt(D), masked) with dropout on the probabilities, times v. Never stores [L, L].

struct AttentionForward {
  Rows rows;
  int32_t heads = 0;
  AttentionMask mask = AttentionMask::kFull;
  Dropout dropout;
  Tensor qkv;      ///< [T, 3 h]: query, key, value columns; head a has columns a·D … of each third
  Tensor context;  ///< [T, h]
  float* log_sum_exp = nullptr;  ///< [T, heads] natural log of Σ exp(score), kept for backward; may be null
};
struct AttentionBackward {
  Rows rows;
  int32_t heads = 0;
  AttentionMask mask = AttentionMask::kFull;
  Dropout dropout;
  Tensor qkv;
  Tensor context;
  const float* log_sum_exp = nullptr;
  Tensor d_context;  ///< [T, h]
  Tensor d_qkv;      ///< [T, 3 h] written
};
/// The probabilities themselves, without dropout, for inspection: [B, heads, L, L] f32, zero where a row has
/// no token.
struct AttentionProbabilities {
  Rows rows;
  int32_t heads = 0;
  AttentionMask mask = AttentionMask::kFull;
  Tensor qkv;
  float* probabilities = nullptr;
};

// ---------------------------------------------------------------------------------------------------------------------
// Moving rows

struct GatherRows {
  Extent count;
  const int32_t* index = nullptr;  ///< [count] source row of each result row; negative: a row of zeros
  Tensor x;
  Tensor y;  ///< [count, h]
};
/// dx[index[i]] += dy[i], in order of i, for all i with index[i] >= 0. kWrite clears dx first.
struct ScatterAddRows {
  Extent count;
  const int32_t* index = nullptr;
  Tensor dy;  ///< [count, h]
  Extent target;
  Tensor dx;  ///< [target, h]
  Into into = Into::kAdd;
};
/// y[t] = concat(left_to_right[t − 1], right_to_left[t + 1]) within each row, wrapping around the row's ends:
/// position 0 takes left_to_right of the row's last position, the last takes right_to_left of position 0.
struct TowerConcat {
  Rows rows;
  Tensor left_to_right;  ///< [T, h]
  Tensor right_to_left;  ///< [T, h]
  Tensor y;              ///< [T, 2 h]
};
struct TowerConcatBackward {
  Rows rows;
  Tensor dy;               ///< [T, 2 h]
  Tensor d_left_to_right;  ///< [T, h] written
  Tensor d_right_to_left;  ///< [T, h] written
};
/// y += x.
struct AddRows {
  Extent tokens;
  Tensor x;
  Tensor y;
};

// ---------------------------------------------------------------------------------------------------------------------
// Corrupting the input (ELECTRA, Clark et al. 2020, section 2)

/// Chooses positions, replaces tokens by [MASK]. Slots are packed: slot_offsets[b] … slot_offsets[b + 1] are
/// row b's, in the order they were drawn. How many a row has is known beforehand (lengths and ids give it); a
/// row without candidate has none. Candidates are real tokens other than [CLS], [SEP] and [MASK].
struct MaskTokens {
  Rows rows;
  const StepScalars* scalars = nullptr;
  const int32_t* ids = nullptr;           ///< [T]
  Extent slots;                           ///< S
  const int32_t* slot_offsets = nullptr;  ///< [B + 1]
  int32_t slots_per_row = 0;              ///< N, pitch of slot coordinates
  int32_t cls_id = 0, sep_id = 0, mask_id = 0;
  float mask_probability = 0.85f;  ///< share of slots that really receive [MASK]; the others keep their token
  bool without_replacement = false;          ///< distinct positions instead of independent draws
  const int32_t* given_positions = nullptr;  ///< [B, N] injected positions in the row, or null: drawn
  const float* given_replace_uniform =
      nullptr;                     ///< [B, N] injected uniforms (< mask_probability: masked), or null: drawn
  int32_t* masked_ids = nullptr;   ///< [T]
  int32_t* slot_token = nullptr;   ///< [S] index into the token stream
  int32_t* slot_target = nullptr;  ///< [S] the id that stood there
  int32_t* slot_coordinate = nullptr;  ///< [S] global row · N + slot: coordinate of the slot's later draws
  int32_t* slot_local = nullptr;       ///< [S] b · N + slot: where injected [B, N, …] arrays keep it
  int32_t* token_slots =
      nullptr;  ///< [T + 1] slots of token t are slot_order[token_slots[t]] …; null: not wanted
  int32_t* slot_order = nullptr;  ///< [S] slots grouped by token, in slot order; null: not wanted
};

/// Writes the sampled ids. A position drawn by m slots receives floor(Σ ids / m); position 0 of a row is
/// never changed.
struct ReplaceTokens {
  Rows rows;
  const int32_t* ids = nullptr;  ///< [T] the uncorrupted ids
  Extent slots;
  const int32_t* slot_offsets = nullptr;  ///< [B + 1]
  const int32_t* slot_token = nullptr;    ///< [S]
  const int32_t* sampled = nullptr;       ///< [S]
  bool label_every_slot =
      false;  ///< Electric: 1 wherever a slot wrote; else 1 only where the id really changed
  int32_t* replaced_ids = nullptr;  ///< [T]
  float* labels = nullptr;          ///< [T] 0 or 1
};

/// Fakes of the uniform generator: sampled[s] uniform in [0, V), or the Gumbel argmax over injected uniforms.
struct SampleUniform {
  const StepScalars* scalars = nullptr;
  Extent slots;
  const int32_t* slot_coordinate = nullptr;
  const int32_t* slot_local = nullptr;
  const int32_t* slot_target = nullptr;
  bool disallow_correct = false;
  int32_t vocabulary = 0;
  const float* given_uniform = nullptr;  ///< [B · N, V] or null
  int32_t* sampled = nullptr;
};

// ---------------------------------------------------------------------------------------------------------------------
// The language-model head: logits = x · tableᵀ + bias, and all that is ever wanted of them, in row chunks, so
// that no [R, V] matrix exists unless it is asked for. One pass gives loss, gradient, argmax, Gumbel samples
// and log q.

struct LanguageModelHead {
  Extent rows;                  ///< R
  Tensor x;                     ///< [R, E]
  Weight table;                 ///< [V, E], used transposed
  const float* bias = nullptr;  ///< [V]

  // Loss of each row: weight · (log Σ exp z − z[target]).
  const int32_t* targets = nullptr;  ///< [R] or null: no loss, no gradient
  const float* weights = nullptr;    ///< [R] or null: 1
  const float* scale = nullptr;      ///< device scalar: d(total loss) / d(Σ w · nll)

  // Draws: sampled[s] = argmax_v(z[row] / temperature − 1000·[disallow_correct and v = target] + gumbel(v)),
  // with gumbel = −log(−log(u + 1e-9) + 1e-9) in f32 (lowest v on ties).
  const StepScalars* scalars = nullptr;
  bool sample = false;
  Extent slots;  ///< S
  const int32_t* row_slots =
      nullptr;  ///< [R + 1] slots of row r are slot_order[row_slots[r] …]; null: slot r = row r
  const int32_t* slot_order = nullptr;       ///< [S] slots grouped by row; null: identity
  const int32_t* slot_target = nullptr;      ///< [S] true id, for disallow_correct and the sampled accuracy
  const int32_t* slot_coordinate = nullptr;  ///< [S]
  const int32_t* slot_local = nullptr;       ///< [S]
  float temperature = 1;
  bool disallow_correct = false;
  const float* given_uniform = nullptr;  ///< [B · N, V] injected uniforms by slot_local, or null: Philox
  int32_t* sampled = nullptr;            ///< [S] written if `sample`, else read where log_q wants it

  // Electric: log q of the id that the discriminator will see in each row (floor-mean of the row's samples,
  // or row_ids).
  const int32_t* row_ids = nullptr;       ///< [R]
  const uint8_t* row_keeps_id = nullptr;  ///< [R] 1: never replaced (position 0 of a row); or null
  float* log_q = nullptr;                 ///< [R]

  // Results, each may be null
  float* nll = nullptr;               ///< [R] unweighted
  int32_t* predictions = nullptr;     ///< [R] argmax (lowest index on ties)
  float* log_sum_exp = nullptr;       ///< [R]
  float* logits = nullptr;            ///< [R, V] for inspection only
  LanguageModelSums* sums = nullptr;  ///< device memory, added

  // Backward, if dx is given
  Tensor dx;  ///< [R, E]
  Into into = Into::kWrite;
  float* d_table = nullptr;  ///< [V, E] added
  float* d_bias = nullptr;   ///< [V] added
};

// ---------------------------------------------------------------------------------------------------------------------
// Losses of the other heads. `scale` is a device scalar: d(total loss) / d(Σ w · loss).

/// l = max(d, 0) − d·y + log(1 + e^(−|d|)) with d = logit + addend (Electric adds log q(x_t) + ln(m / (1 −
/// m))).
struct BinaryCrossEntropy {
  Extent tokens;
  const float* logits = nullptr;  ///< [T], `logit_stride` apart
  int64_t logit_stride = 1;
  const float* addend = nullptr;   ///< [T] or null
  float constant = 0;              ///< added to every logit
  const float* labels = nullptr;   ///< [T]
  const float* weights = nullptr;  ///< [T] or null: 1
  const float* scale = nullptr;
  float* loss = nullptr;          ///< [T] unweighted, or null
  float* final_logits = nullptr;  ///< [T] logit + addend + constant, or null
  float* d_logits = nullptr;      ///< [T] `logit_stride` apart, written; or null
  BinarySums* sums = nullptr;     ///< device memory, added
};

/// Classification: softmax cross-entropy over few classes. A row with weight 0 contributes nothing (its label
/// is ignored).
struct ClassCrossEntropy {
  Extent rows;
  Tensor logits;                    ///< [R, C]
  const int32_t* labels = nullptr;  ///< [R] or null: probabilities only
  const float* weights = nullptr;   ///< [R] or null: 1
  const float* scale = nullptr;
  float* loss = nullptr;               ///< [R] unweighted
  float* log_probabilities = nullptr;  ///< [R, C] or null
  Tensor d_logits;                     ///< [R, C] written; may be logits
  double* loss_sum = nullptr;          ///< device scalar, added
};
struct MeanSquaredError {  ///< loss = (prediction − target)²
  Extent rows;
  const float* predictions = nullptr;
  int64_t stride = 1;
  const float* targets = nullptr;
  const float* weights = nullptr;
  const float* scale = nullptr;
  float* loss = nullptr;
  float* d_predictions = nullptr;
  double* loss_sum = nullptr;
};
struct MultiLabelCrossEntropy {  ///< sum over classes of the binary cross-entropy
  Extent rows;
  Tensor logits;                   ///< [R, C]
  const float* labels = nullptr;   ///< [R, C]
  const float* weights = nullptr;  ///< [R]
  const float* scale = nullptr;
  float* loss = nullptr;  ///< [R]
  Tensor d_logits;
  double* loss_sum = nullptr;
};

// ---------------------------------------------------------------------------------------------------------------------
// Ragged rows: one score per token, a softmax per row of the batch (span heads of question answering)

struct RaggedSoftmax {
  Rows rows;
  const float* scores = nullptr;  ///< [T], `stride` apart
  int64_t stride = 1;
  const float* addend = nullptr;  ///< [T] or null: 1000 · (answer mask − 1)
  bool logarithm = false;         ///< log-softmax instead of softmax
  float* y = nullptr;             ///< [T]
};
/// d_scores of y = softmax(scores), from dy.
struct RaggedSoftmaxBackward {
  Rows rows;
  const float* y = nullptr;   ///< [T] probabilities
  const float* dy = nullptr;  ///< [T]
  float* d_scores = nullptr;  ///< [T], `stride` apart
  int64_t stride = 1;
  Into into = Into::kAdd;
};
struct RaggedCrossEntropy {
  Rows rows;
  const float* scores = nullptr;
  int64_t stride = 1;
  const float* addend = nullptr;
  const int32_t* target_position = nullptr;  ///< [B] position in the row
  const float* weights = nullptr;            ///< [B]
  const float* scale = nullptr;
  float* loss = nullptr;      ///< [B] unweighted
  float* d_scores = nullptr;  ///< [T], `stride` apart
  Into into = Into::kWrite;
  double* loss_sum = nullptr;
};
/// The k best scores of each row, best first, lowest position first on ties; slots a short row lacks get
/// position −1 and value −infinity.
struct RaggedTopK {
  Rows rows;
  const float* scores = nullptr;  ///< [T]
  int32_t k = 0;
  float* values = nullptr;       ///< [B, k]
  int32_t* positions = nullptr;  ///< [B, k]
};
/// y[b] = Σ_t weight[t] · x[t] over the tokens of row b.
struct RaggedWeightedSum {
  Rows rows;
  const float* weights = nullptr;  ///< [T] or null: 1 (the gradient of BroadcastRows)
  Tensor x;                        ///< [T, h]
  Tensor y;                        ///< [B, h]
  Into into = Into::kWrite;
};
struct RaggedWeightedSumBackward {
  Rows rows;
  const float* weights = nullptr;
  Tensor x;
  Tensor dy;                   ///< [B, h]
  float* d_weights = nullptr;  ///< [T] written, or null
  Tensor dx;                   ///< [T, h] or empty
  Into into = Into::kAdd;
};
/// y[t] = (kAdd: +=) v[row of t].
struct BroadcastRows {
  Rows rows;
  Tensor v;  ///< [B, h]
  Tensor y;  ///< [T, h]
  Into into = Into::kAdd;
};

// ---------------------------------------------------------------------------------------------------------------------
// Optimizer: clip by the true global norm, Adam without bias correction, decoupled decay

/// partials[i] = Σ g² over the i-th stretch of 4096 elements of the flat gradient (double); also the finite
/// check.
struct GradientNorm {
  const float* gradient = nullptr;
  const Segment* segments = nullptr;  ///< device memory
  int32_t segment_count = 0;
  int64_t size = 0;                ///< length of the flat buffer; gaps between segments are zero
  double* partials = nullptr;      ///< [ceil(size / 4096)]
  StepScalars* scalars = nullptr;  ///< finite, nonfinite_segment are written
};
/// norm = sqrt(Σ partials); clip_scale = min(1, max_norm / norm).
struct ClipFactor {
  const double* partials = nullptr;
  int64_t count = 0;
  float max_norm = 1;
  StepScalars* scalars = nullptr;
};
/// g' = clip_scale · g; m ← β1 m + (1 − β1) g'; v ← β2 v + (1 − β2) g'²; u = m / (√v + ε) + decay · w;
/// w ← w − lr · lr_scale · u. Nothing happens when scalars.finite is 0.
struct AdamUpdate {
  float* parameters = nullptr;
  const float* gradient = nullptr;
  float* m = nullptr;
  float* v = nullptr;
  const Segment* segments = nullptr;  ///< device memory
  int32_t segment_count = 0;
  /// Double, because 1 − β is rounded to f32 from the exact β, as in the reference: 1 − 0.999f would
  /// be 1.3e-5 off, and v with it.
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-6;
  const StepScalars* scalars = nullptr;
};

// ---------------------------------------------------------------------------------------------------------------------

class Operators {
 public:
  virtual ~Operators() {}

  virtual const DeviceInfo& info() const = 0;

  // Memory. allocate() throws ERR_ELECTRA_OUT_OF_MEMORY with `purpose` and the size; memory is 64-byte
  // aligned, zeroed.
  virtual void* allocate(size_t bytes, const char* purpose) = 0;
  virtual void release(void* memory) = 0;
  virtual void upload(void* device, const void* host, size_t bytes) = 0;
  virtual void download(void* host, const void* device, size_t bytes) = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  virtual void zero(void* device, size_t bytes) = 0;
  virtual void synchronize() = 0;

  /// Makes the workspace. Called before the first operator and whenever a shape outgrows the last
  /// reservation.
  virtual void reserve(const Capacity& capacity) = 0;
  /// Bytes held by the workspace.
  virtual size_t workspace_bytes() const = 0;

  /// Bytes that reserve(capacity) would make the workspace hold.
  virtual size_t workspace_bytes_for(const Capacity& capacity) const = 0;
  /// Bytes that allocate() could still hand out; −1 when the device does not say.
  virtual int64_t memory_available() const = 0;

  /// Brackets one step: everything the device does between the uploads before it and the downloads after it.
  /// Steps of one key make the same calls with the same arguments; only the contents of memory differ. True:
  /// the work was recorded before and has been replayed; the caller then goes straight to end_step(). Neither
  /// upload() nor download() nor allocate() is called inside. abandon_step() instead of end_step() after a
  /// failure. The CPU always returns false.
  virtual bool begin_step(uint64_t key) = 0;
  virtual void end_step() = 0;
  virtual void abandon_step() = 0;

  /// Tells of a stretch of master parameters (a model's flat buffer, or one matrix), so that the device can
  /// keep a compute form of it (CUDA: bf16), found again by address. refresh_parameters() brings the compute
  /// form up to date after the masters were written; adam_update() does that by itself for its own buffer.
  virtual void bind_parameters(const float* masters, int64_t size) = 0;
  virtual void refresh_parameters(const float* masters) = 0;
  virtual void unbind_parameters(const float* masters) = 0;
  /// Bytes of the compute form of `size` parameters; 0 where the masters are used as they are.
  virtual size_t compute_form_bytes(int64_t size) const = 0;

  virtual void embedding_forward(const EmbeddingForward&) = 0;
  virtual void embedding_backward(const EmbeddingBackward&) = 0;
  virtual void linear_forward(const LinearForward&) = 0;
  virtual void linear_backward_data(const LinearBackwardData&) = 0;
  virtual void linear_backward_weight(const LinearBackwardWeight&) = 0;
  virtual void activation_forward(const ActivationForward&) = 0;
  virtual void activation_backward(const ActivationBackward&) = 0;
  virtual void layer_norm_forward(const LayerNormForward&) = 0;
  virtual void layer_norm_backward(const LayerNormBackward&) = 0;
  virtual void dropout_residual_norm_forward(const DropoutResidualNormForward&) = 0;
  virtual void dropout_residual_norm_backward(const DropoutResidualNormBackward&) = 0;
  virtual void dropout(const DropoutApply&) = 0;
  virtual void attention_forward(const AttentionForward&) = 0;
  virtual void attention_backward(const AttentionBackward&) = 0;
  virtual void attention_probabilities(const AttentionProbabilities&) = 0;

  virtual void gather_rows(const GatherRows&) = 0;
  virtual void scatter_add_rows(const ScatterAddRows&) = 0;
  virtual void tower_concat(const TowerConcat&) = 0;
  virtual void tower_concat_backward(const TowerConcatBackward&) = 0;
  virtual void add_rows(const AddRows&) = 0;

  virtual void mask_tokens(const MaskTokens&) = 0;
  virtual void replace_tokens(const ReplaceTokens&) = 0;
  virtual void sample_uniform(const SampleUniform&) = 0;

  virtual void language_model_head(const LanguageModelHead&) = 0;
  virtual void binary_cross_entropy(const BinaryCrossEntropy&) = 0;
  virtual void class_cross_entropy(const ClassCrossEntropy&) = 0;
  virtual void mean_squared_error(const MeanSquaredError&) = 0;
  virtual void multi_label_cross_entropy(const MultiLabelCrossEntropy&) = 0;

  virtual void ragged_softmax(const RaggedSoftmax&) = 0;
  virtual void ragged_softmax_backward(const RaggedSoftmaxBackward&) = 0;
  virtual void ragged_cross_entropy(const RaggedCrossEntropy&) = 0;
  virtual void ragged_top_k(const RaggedTopK&) = 0;
  virtual void ragged_weighted_sum(const RaggedWeightedSum&) = 0;
  virtual void ragged_weighted_sum_backward(const RaggedWeightedSumBackward&) = 0;
  virtual void broadcast_rows(const BroadcastRows&) = 0;

  virtual void gradient_norm(const GradientNorm&) = 0;
  virtual void clip_factor(const ClipFactor&) = 0;
  virtual void adam_update(const AdamUpdate&) = 0;
};

}  // namespace electra
