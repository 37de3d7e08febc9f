#pragma once
// What a kernel needs to regenerate the dropout decisions of a token-wise tensor.

#include <cstdint>

namespace electra::cpu {

struct DropoutRows {
  uint32_t threshold = 0;  ///< decisions below it drop; 0: no dropout
  float scale = 1;         ///< of what is kept
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t site = 0;
  uint32_t pitch = 0;                       ///< padded row length
  const int32_t* global_row = nullptr;      ///< [B]
  const int32_t* token_row = nullptr;       ///< [T]
  const int32_t* token_position = nullptr;  ///< [T]
};

/// Bytes of decisions for one token of `width` elements: a bit for each element, 16 readable from any
/// multiple of 16.
inline constexpr int64_t keep_row_bytes(int64_t width) { return (width + 15) / 16 * 2; }
/// Bytes for the decisions of `tokens` tokens, with room for the generator to write whole vectors.
inline constexpr int64_t keep_bytes(int64_t tokens, int64_t width) {
  return tokens * keep_row_bytes(width) + 64;
}

}  // namespace electra::cpu
