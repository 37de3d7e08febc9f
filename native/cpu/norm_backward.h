#pragma once
// The backward pass of LayerNorm, shared by layer_norm.cc and embedding.cc: blocks of tokens, their partial
// sums of the parameters' gradients, and the sum of those in block order.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/norm.h"
#include "thread_pool.h"

namespace electra::cpu {

constexpr int64_t kNormPartialTokens = 128;

inline int64_t norm_padded_width(int64_t width) { return (width + 15) / 16 * 16; }

/// Shared workspace: three partial sums (γ, β, bias) for each block of tokens.
inline size_t norm_partial_floats(int64_t tokens, int64_t width) {
  return static_cast<size_t>((tokens + kNormPartialTokens - 1) / kNormPartialTokens * 3 *
                             norm_padded_width(width));
}
/// Workspace of a worker: the dropout decisions of a group of tokens.
inline size_t norm_keep_floats(int64_t width) {
  return static_cast<size_t>(keep_bytes(kTokenGroup, width) / 4 + 1);
}

/// `rows` describes all tokens, with the gradients to add to in d_gamma, d_beta and d_bias. `keep_of(worker)`
/// gives norm_keep_floats(width) floats.
template <typename KeepOf>
void run_norm_backward(ThreadPool& pool, const NormKernels& kernels, const NormBackwardRows& rows,
                       int64_t tokens, float* partials, const KeepOf& keep_of) {
  const int64_t padded = norm_padded_width(rows.width);
  const int64_t blocks = (tokens + kNormPartialTokens - 1) / kNormPartialTokens;
  if (blocks == 0) return;
  pool.run(blocks, [&](int64_t block, int worker) {
    NormBackwardRows mine = rows;
    mine.first = block * kNormPartialTokens;
    mine.last = std::min(tokens, mine.first + kNormPartialTokens);
    mine.d_gamma = partials + block * 3 * padded;
    mine.d_beta = mine.d_gamma + padded;
    mine.d_bias = rows.d_bias == nullptr ? nullptr : mine.d_beta + padded;
    mine.keep = reinterpret_cast<uint8_t*>(keep_of(worker));
    kernels.backward(mine);
  });
  constexpr int64_t kColumns = 256;
  pool.run((rows.width + kColumns - 1) / kColumns, [&](int64_t task, int) {
    const int64_t first = task * kColumns;
    const int64_t count = std::min(kColumns, rows.width - first);
    const auto add = [&](int64_t which, float* total) {
      if (total != nullptr) {
        kernels.add_partials(partials + which * padded + first, blocks, 3 * padded, count, total + first);
      }
    };
    add(0, rows.d_gamma);
    add(1, rows.d_beta);
    add(2, rows.d_bias);
  });
}

}  // namespace electra::cpu
