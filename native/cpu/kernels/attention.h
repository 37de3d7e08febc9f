#pragma once
// Kernels for one head of one row of the batch; single-threaded.

#include <cstddef>
#include <cstdint>

#include "../../tensor.h"

namespace electra::cpu {

/// Queries that are worked on together: a tile of scores is this many rows by all keys, never [L, L]. A
/// multiple of 16, the height of a block of dropout decisions.
constexpr int64_t kQueryBlock = 32;

/// Pointers are at the row's token 0, column 0 of the head.
struct AttentionHead {
  int64_t tokens = 0;     ///< queries and keys of the row
  int64_t visible = 0;    ///< keys at or beyond this are padding: their scaled score is lowered by 10000
  int64_t head_size = 0;  ///< D
  AttentionMask mask = AttentionMask::kFull;
  const float* query = nullptr;
  const float* key = nullptr;
  const float* value = nullptr;
  int64_t stride = 0;  ///< between tokens of query, key and value

  uint32_t threshold = 0;  ///< dropout decisions below it drop; 0: no dropout
  float scale = 1;         ///< of what is kept
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t site = 0;
  uint64_t first_tile = 0;  ///< number of the head's first 16 x 16 tile (philox.h, attention_element)
  uint64_t tiles = 0;       ///< tiles in a row of tiles

  int64_t first_query = 0;  ///< forward only: queries first … last − 1; first is a multiple of kQueryBlock
  int64_t last_query = 0;
  float* context = nullptr;  ///< forward: written; backward: read
  int64_t context_stride = 0;
  float* log_sum_exp = nullptr;  ///< forward: written, or null; backward: read
  int64_t log_sum_exp_stride = 0;

  const float* d_context = nullptr;
  int64_t d_context_stride = 0;
  float* d_query = nullptr;
  float* d_key = nullptr;
  float* d_value = nullptr;
  int64_t d_stride = 0;

  float* probabilities = nullptr;
  int64_t probabilities_stride = 0;

  float* scratch = nullptr;  ///< attention_scratch_floats(tokens, head_size), 64-byte aligned
};

/// Scratch that any of the kernels needs for a row of `tokens`: the backward pass packs queries, their
/// gradients and those of the context for the whole row, and keys and values for 128 keys; either pass has a
/// tile of scores for all keys.
inline constexpr size_t attention_scratch_floats(int64_t tokens, int64_t head_size) {
  const int64_t rows = (tokens + 127) / 128 * 128;
  const int64_t width = (head_size + 15) / 16 * 16;
  return static_cast<size_t>((3 * rows + 5 * 128 + 2 * kQueryBlock) * width +
                             kQueryBlock * (rows + rows / 32 + 192) + 2 * rows + 256);
}

struct AttentionKernels {
  void (*forward)(const AttentionHead&) = nullptr;
  void (*backward)(const AttentionHead&) = nullptr;
  /// Writes the probabilities without dropout.
  void (*probabilities)(const AttentionHead&) = nullptr;
};

}  // namespace electra::cpu
