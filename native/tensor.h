#pragma once
// The plain data that operators exchange: views of memory, the shape of a batch, the scalars of a step. No
// ownership, no STL: these structs cross the boundary of a backend library as they are.

#include <cstddef>
#include <cstdint>

namespace electra {

enum class DType : int32_t { kFloat32 = 0, kBFloat16 = 1 };

/// A row-major matrix of activations in device memory: `rows` x `cols`, rows `stride` elements apart.
struct Tensor {
  void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  DType dtype = DType::kFloat32;

  float* f32() const { return static_cast<float*>(data); }
  explicit operator bool() const { return data != nullptr; }
};

/// A view of `count` columns from `first`.
inline Tensor columns(const Tensor& t, int64_t first, int64_t count) {
  Tensor view = t;
  const size_t bytes = t.dtype == DType::kFloat32 ? 4 : 2;
  view.data = static_cast<char*>(t.data) + static_cast<size_t>(first) * bytes;
  view.cols = count;
  return view;
}

/// How many rows count. `capacity` is a function of the batch's shape alone (so that a recorded step can be
/// replayed); `actual` lies in device memory. Rows between actual and capacity are finite forward and exactly
/// zero in gradients. A null `actual` means that all of `capacity` counts.
struct Extent {
  int64_t capacity = 0;
  const int32_t* actual = nullptr;
};

/// Whether a result replaces what is in memory or is added to it. Gradients of parameters are always added.
enum class Into : int32_t { kWrite = 0, kAdd = 1 };

/// Scalars that change from step to step, in device memory; nothing that changes is passed by value.
struct StepScalars {
  uint64_t seed = 0;
  uint32_t step = 0;               ///< counter word of every random draw of this step
  float learning_rate = 0;         ///< already scheduled, for the update that ends this step
  float generator_scale = 0;       ///< gen_weight / denominator of the generator's loss
  float discriminator_scale = 0;   ///< disc_weight / denominator of the discriminator's loss
  float task_scale = 0;            ///< weight of a fine-tuning loss (the reference sums over the batch: 1)
  float clip_scale = 1;            ///< written by clip_factor: min(1, max_norm / norm)
  float gradient_norm = 0;         ///< written by clip_factor: the true global norm before clipping
  int32_t finite = 1;              ///< 0 when a gradient is NaN or Inf; Adam then does nothing
  int32_t nonfinite_segment = -1;  ///< first segment of the flat gradient that holds a NaN or Inf
};

/// How the tokens of a batch lie in the token stream [T, h].
///
/// drop mode: padding is left out at the door, offsets[b + 1] − offsets[b] = valid[b].
/// keep mode (reference mode): every row enters with `pitch` tokens, offsets[b] = b · pitch; a score whose
/// key is at or beyond valid[b] is the scaled score − 10000, so a query that sees nothing real attends to all
/// of the row. Rows of length zero are legal.
struct Rows {
  int32_t batch = 0;  ///< B
  int32_t pitch = 0;  ///< padded row length L; part of every random coordinate
  bool keep_padding = false;
  Extent tokens;                        ///< T
  const int32_t* offsets = nullptr;     ///< [B + 1]
  const int32_t* valid = nullptr;       ///< [B] real tokens of each row
  const int32_t* global_row = nullptr;  ///< [B] row number in the whole batch, across micro-batches and ranks
  const int32_t* token_row = nullptr;   ///< [T] row of each token
  const int32_t* token_position = nullptr;  ///< [T] position of each token in its row
};

/// A dropout site. p = 0 switches it off. Site numbers are unique within a step (model/sites.h).
struct Dropout {
  float p = 0;
  uint32_t site = 0;
  const StepScalars* scalars = nullptr;
};

/// A matrix of parameters. `master` is f32, row-major [rows, cols], `stride` apart; a linear layer's weight
/// is [in, out] as in TensorFlow. A device that computes in another form (bf16) finds that form by the
/// master's address (Operators::bind_parameters).
struct Weight {
  const float* master = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
};

enum class Activation : int32_t { kIdentity = 0, kGeluErf = 1, kGeluTanh = 2, kRelu = 3, kTanh = 4 };

enum class AttentionMask : int32_t { kFull = 0, kLeftToRight = 1, kRightToLeft = 2 };

/// Sums of a generator's loss over a step; double, because they are added over micro-batches.
struct LanguageModelSums {
  double loss = 0;             ///< Σ w · nll
  double weight = 0;           ///< Σ w
  double correct = 0;          ///< Σ w · [argmax = target]
  double sampled_correct = 0;  ///< Σ over slots [sampled id = target]
  double slots = 0;
};

/// Sums of the replaced-token loss over the tokens that count.
struct BinarySums {
  double loss = 0;  ///< Σ w · l
  double weight = 0;
  double true_positive = 0;
  double false_positive = 0;
  double true_negative = 0;
  double false_negative = 0;
};

/// A stretch of the flat parameter buffers with one optimizer setting. Offsets are multiples of 1024
/// elements.
struct Segment {
  int64_t offset = 0;
  int64_t size = 0;
  float decay = 0;  ///< weight_decay_rate or 0
  float learning_rate_scale = 1;
};

}  // namespace electra
