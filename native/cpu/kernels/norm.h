#pragma once
// Kernels on rows of activations: LayerNorm, dropout, and both in one pass. Each works on tokens first … last
// − 1 and is single-threaded.

#include <cstdint>

#include "dropout_rows.h"

namespace electra::cpu {

/// A matrix of floats, rows `stride` apart; null: absent.
struct Matrix {
  float* data = nullptr;
  int64_t stride = 0;
};

/// Tokens that kernels treat together, so that column sums stay in registers; `keep` buffers hold this many
/// rows.
constexpr int64_t kTokenGroup = 4;

/// y = LayerNorm(residual + dropout(x + bias)), or with `output_dropout` y = dropout(LayerNorm(…)).
struct NormForwardRows {
  int64_t first = 0, last = 0;
  int64_t width = 0;
  Matrix x;
  const float* bias = nullptr;  ///< or null
  Matrix residual;              ///< or absent
  // Sum of table rows instead of x: word[ids[t]] + token_type[segments[t]] + position[token_position[t]].
  const int32_t* ids = nullptr;  ///< null: x
  const int32_t* segments = nullptr;
  const int32_t* token_position = nullptr;
  const float* word = nullptr;
  const float* token_type = nullptr;
  const float* position = nullptr;
  DropoutRows dropout;
  bool output_dropout = false;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  Matrix y;
  Matrix normalized;        ///< or absent
  float* rstd = nullptr;    ///< or null
  uint8_t* keep = nullptr;  ///< scratch, keep_bytes(kTokenGroup, width)
};

/// Backward of the same. The sums over tokens first … last − 1 are written to d_gamma, d_beta and d_bias.
struct NormBackwardRows {
  int64_t first = 0, last = 0;
  int64_t width = 0;
  Matrix dy;
  DropoutRows dropout;
  bool output_dropout = false;  ///< the dropout acted on LayerNorm's result: dy passes it first
  const float* gamma = nullptr;
  Matrix normalized;
  const float* rstd = nullptr;
  Matrix d_sum;      ///< gradient of LayerNorm's input
  bool add = false;  ///< to d_sum
  Matrix dx;         ///< gradient of x behind the dropout, or absent
  float* d_gamma = nullptr;
  float* d_beta = nullptr;
  float* d_bias = nullptr;  ///< or null
  uint8_t* keep = nullptr;  ///< scratch, keep_bytes(kTokenGroup, width)
};

struct DropoutApplyRows {
  int64_t first = 0, last = 0;
  int64_t width = 0;
  DropoutRows dropout;
  Matrix x;
  Matrix y;
  uint8_t* keep = nullptr;
};

struct NormKernels {
  void (*forward)(const NormForwardRows&) = nullptr;
  void (*backward)(const NormBackwardRows&) = nullptr;
  void (*dropout)(const DropoutApplyRows&) = nullptr;
  /// total[c] += Σ partials[p · stride + c], p = 0 … count − 1 in order, for c < columns.
  void (*add_partials)(const float* partials, int64_t count, int64_t stride, int64_t columns,
                       float* total) = nullptr;
};

}  // namespace electra::cpu
