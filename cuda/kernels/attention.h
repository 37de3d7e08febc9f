#pragma once
// What the kernels of attention share: the problem as they take it, by value; where a block works; which pairs of
// query and key are seen and which are dropped; and the launchers that attention.cu chooses among.

#include <cstdint>
#include <initializer_list>

#include "../device_views.h"
#include "../platform/platform.h"

namespace electra::cuda {

struct AttentionProblem {
  Extent tokens;
  const int32_t* offsets = nullptr;
  const int32_t* valid = nullptr;
  const int32_t* global_row = nullptr;
  int32_t batch = 0;
  int32_t pitch = 0;
  int32_t heads = 0;
  int32_t head_size = 0;
  int32_t width = 0;  ///< heads · head_size: keys lie that far behind queries, values behind keys
  bool keep_padding = false;
  AttentionMask mask = AttentionMask::kFull;
  float scale = 1;  ///< of the scores: 1 / sqrt(head_size)

  // Dropout of the probabilities.
  uint32_t threshold = 0;  ///< 16-bit decisions below it drop; 0: no dropout
  float kept_scale = 1;    ///< of what is kept
  uint32_t site = 0;
  const StepScalars* scalars = nullptr;
};

/// Of one query of one head, for the backward pass: log Σ exp of its scores (tensor cores: to base 2) and
/// rowsum(d_context ⊙ context).
struct QueryStatistics {
  float log_sum_exp;
  float delta;
};
// Written by the kernel that owns queries, read by the one that owns keys: [heads, tokens].

/// Whether qkv, context and their gradients suit the kernels for tensor cores.
bool attention_on_tensor_cores(const AttentionProblem& p, std::initializer_list<Tensor> tensors);

// bf16 on tensor cores, head size 64 (attention_tensor.cu, attention_tensor_backward.cu)
void attention_tensor_forward(const AttentionProblem& p, const Tensor& qkv, const Tensor& context,
                              float* log_sum_exp, cudaStream_t stream);
void attention_tensor_backward(const AttentionProblem& p, const Tensor& qkv, const Tensor& context,
                               const float* log_sum_exp, const Tensor& d_context, const Tensor& d_qkv,
                               QueryStatistics* statistics, cudaStream_t stream);
/// Whether the backward pass wants `statistics`.
bool attention_tensor_backward_is_split(const AttentionProblem& p);

// Any type and head size, kept padding too (attention_plain.cu, attention_plain_backward.cu)
void attention_plain_forward(const AttentionProblem& p, const Tensor& qkv, const Tensor& context,
                             float* log_sum_exp, cudaStream_t stream);
void attention_plain_backward(const AttentionProblem& p, const Tensor& qkv, const Tensor& context,
                              const float* log_sum_exp, const Tensor& d_context, const Tensor& d_qkv,
                              QueryStatistics* statistics, cudaStream_t stream);
void attention_plain_probabilities(const AttentionProblem& p, const Tensor& qkv, float* probabilities,
                                   cudaStream_t stream);

/// Blocks of a grid in which every head of every row has `tiles` blocks. Throws where that is too many.
inline unsigned attention_blocks(const AttentionProblem& p, int64_t tiles) {
  const int64_t blocks = int64_t{p.batch} * p.heads * tiles;
  ELECTRA_CHECK_SHAPE(blocks <= INT32_MAX, "attention: %d rows of %d heads are too many for one batch", p.batch,
                      p.heads);
  return static_cast<unsigned>(blocks);
}

#if defined(ELECTRA_CUDA_EMULATED) || defined(__CUDACC__)

/// Where a block works: a tile of one head of one row.
struct AttentionBlock {
  int row;
  int head;
  int tile;
  int64_t first;  ///< token
  int length;     ///< tokens of the row
};
__device__ __forceinline__ AttentionBlock attention_block(const AttentionProblem& p, int tiles) {
  AttentionBlock block;
  const int task = static_cast<int>(blockIdx.x) / tiles;
  block.tile = static_cast<int>(blockIdx.x) - task * tiles;
  block.row = task / p.heads;
  block.head = task - block.row * p.heads;
  block.first = p.offsets[block.row];
  block.length = p.offsets[block.row + 1] - static_cast<int>(block.first);
  return block;
}

__device__ __forceinline__ bool mask_allows(AttentionMask mask, int query, int key) {
  return mask == AttentionMask::kFull || (mask == AttentionMask::kLeftToRight ? key <= query : key >= query);
}

/// Keys that any of the queries first … first + count − 1 may see, of a row without kept padding.
struct KeyRange {
  int first;
  int last;
};
__device__ __forceinline__ KeyRange keys_of_queries(AttentionMask mask, int first, int count, int length) {
  KeyRange keys{0, length};
  if (mask == AttentionMask::kLeftToRight && first + count < length) keys.last = first + count;
  if (mask == AttentionMask::kRightToLeft) keys.first = first;
  return keys;
}
/// The queries that any of the keys first … first + count − 1 may be seen by.
__device__ __forceinline__ KeyRange queries_of_keys(AttentionMask mask, int first, int count, int length) {
  KeyRange queries{0, length};
  if (mask == AttentionMask::kRightToLeft && first + count < length) queries.last = first + count;
  if (mask == AttentionMask::kLeftToRight) queries.first = first;
  return queries;
}

/// Dropout decisions of one head of one row (philox.h, attention_element): a call gives the eight of one lane in a
/// tile of 16 queries and 16 keys. `kSparesRegisters`: the seed is read anew for each call (from the first-level
/// cache), or else the compiler keeps the twenty keys of Philox's rounds in registers over a whole loop.
template <bool kSparesRegisters = false>
class PairDropout {
 public:
  /// For one lane of the tiles.
  __device__ __forceinline__ PairDropout(const AttentionProblem& p, const AttentionBlock& block, int lane)
      : scalars_(p.scalars), site_(p.site), limit_(p.threshold << 16) {
    if (p.threshold == 0) return;
    seed_ = p.scalars->seed;
    step_ = p.scalars->step;
    tiles_ = static_cast<uint32_t>(attention_tiles(static_cast<uint32_t>(p.pitch)));
    first_ = attention_element(static_cast<uint32_t>(p.global_row[block.row]), static_cast<uint32_t>(p.heads),
                               static_cast<uint32_t>(block.head), static_cast<uint32_t>(p.pitch), 0, 0)
                 .block +
             static_cast<uint32_t>(lane);
  }
  /// Word 2 r + c: rows r · 8 + g, columns c · 8 + 2t (lower half) and 2t + 1, with lane = 4 g + t.
  __device__ __forceinline__ PhiloxWords words(int query_tile, int key_tile) const {
    const uint32_t tile = static_cast<uint32_t>(query_tile) * tiles_ + static_cast<uint32_t>(key_tile);
    const uint64_t block = first_ + static_cast<uint64_t>(tile) * 32;
    return random_block(kSparesRegisters ? scalars_->seed : seed_, RandomPurpose::kDropout, block, step_, site_);
  }
  /// A comparison of the upper halves is one of the words, as the threshold's lower half is zero.
  __device__ __forceinline__ bool keeps_low(uint32_t word) const { return (word << 16) >= limit_; }
  __device__ __forceinline__ bool keeps_high(uint32_t word) const { return word >= limit_; }

 private:
  const StepScalars* scalars_;
  uint64_t first_ = 0;
  uint64_t seed_ = 0;
  uint32_t step_ = 0;
  uint32_t tiles_ = 0;
  uint32_t site_;
  uint32_t limit_;
};

#endif

}  // namespace electra::cuda
