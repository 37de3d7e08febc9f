#pragma once
// What the kernels of attention share: the problem as they take it, by value; where a block works; which pairs of
// query and key are seen and which are dropped; and the launchers that attention.cu chooses among.

#include <cstdint>

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

// Any type and head size, kept padding too (attention_plain.cu)
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

/// The keys of Philox's rounds, in shared memory.
struct alignas(16) RoundKeys {
  uint32_t word[2 * philox::kRounds];
};

/// Dropout decisions of one head of one row (philox.h, attention_element): a call gives the eight of one lane in a
/// tile of 16 queries and 16 keys. The keys of Philox's rounds are made once and lie in shared memory: made anew they
/// would be a fifth of the work, and in registers twenty of them.
class PairDropout {
 public:
  /// Writes `keys`, which lie in shared memory: a barrier must follow.
  __device__ __forceinline__ PairDropout(const AttentionProblem& p, const AttentionBlock& block, RoundKeys* keys)
      : keys_(keys->word), site_(p.site), limit_(p.threshold << 16) {
    if (p.threshold == 0) return;
    const uint64_t seed = p.scalars->seed;
    step_ = p.scalars->step;
    if (threadIdx.x < philox::kRounds) {
      const uint32_t round = threadIdx.x;
      keys->word[2 * round] = (static_cast<uint32_t>(seed) ^ static_cast<uint32_t>(RandomPurpose::kDropout)) +
                        round * philox::kWeyl0;
      keys->word[2 * round + 1] = static_cast<uint32_t>(seed >> 32) + round * philox::kWeyl1;
    }
    tiles_ = static_cast<uint32_t>(attention_tiles(static_cast<uint32_t>(p.pitch)));
    first_ = attention_element(static_cast<uint32_t>(p.global_row[block.row]), static_cast<uint32_t>(p.heads),
                               static_cast<uint32_t>(block.head), static_cast<uint32_t>(p.pitch), 0, 0)
                 .block;
  }
  /// Word 2 r + c: rows r · 8 + g, columns c · 8 + 2t (lower half) and 2t + 1, with lane = 4 g + t.
  __device__ __forceinline__ PhiloxWords words(int query_tile, int key_tile, int lane) const {
    const uint32_t tile = static_cast<uint32_t>(query_tile) * tiles_ + static_cast<uint32_t>(key_tile);
    const uint64_t block = first_ + static_cast<uint64_t>(tile) * 32 + static_cast<uint32_t>(lane);
    uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32), c2 = step_, c3 = site_;
#pragma unroll
    for (int round = 0; round < philox::kRounds; round += 2) {
      const Packed<uint32_t, 4> keys = load_packed<4>(keys_ + 2 * round);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint64_t p0 = static_cast<uint64_t>(philox::kMultiplier0) * c0;
        const uint64_t p1 = static_cast<uint64_t>(philox::kMultiplier1) * c2;
        c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ keys[2 * half];
        c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ keys[2 * half + 1];
        c1 = static_cast<uint32_t>(p1);
        c3 = static_cast<uint32_t>(p0);
      }
    }
    return PhiloxWords{{c0, c1, c2, c3}};
  }
  /// A comparison of the upper halves is one of the words, as the threshold's lower half is zero.
  __device__ __forceinline__ bool keeps_low(uint32_t word) const { return (word << 16) >= limit_; }
  __device__ __forceinline__ bool keeps_high(uint32_t word) const { return word >= limit_; }

 private:
  const uint32_t* keys_;
  uint64_t first_ = 0;
  uint32_t step_ = 0;
  uint32_t tiles_ = 0;
  uint32_t site_;
  uint32_t limit_;
};

#endif

}  // namespace electra::cuda
