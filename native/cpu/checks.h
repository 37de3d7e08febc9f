#pragma once
// Checks and small views that several families of CPU operators share.

#include <cstdint>
#include <cstring>

#include "../engine_error.h"
#include "../philox.h"
#include "../tensor.h"
#include "kernels/dropout_rows.h"

namespace electra::cpu {

/// How many rows of an extent count.
inline int64_t actual_rows(const Extent& extent, const char* operation) {
  const int64_t count = extent.actual != nullptr ? *extent.actual : extent.capacity;
  ELECTRA_CHECK_SHAPE(count >= 0 && count <= extent.capacity, "%s: extent %lld is outside 0..%lld", operation,
                      static_cast<long long>(count), static_cast<long long>(extent.capacity));
  return count;
}

inline void check_matrix(const Tensor& t, int64_t rows, int64_t cols, const char* operation,
                         const char* name) {
  ELECTRA_CHECK_SHAPE(t.dtype == DType::kFloat32 && t.rows >= rows && t.cols == cols && t.stride >= cols &&
                          (t.data != nullptr || rows == 0 || cols == 0),
                      "%s: %s is [%lld, %lld] with stride %lld, wanted f32 [%lld, %lld]", operation, name,
                      static_cast<long long>(t.rows), static_cast<long long>(t.cols),
                      static_cast<long long>(t.stride), static_cast<long long>(rows),
                      static_cast<long long>(cols));
}

/// Zeroes rows first … last − 1 of a matrix: what lies between the actual extent and the capacity.
inline void zero_rows(const Tensor& t, int64_t first, int64_t last) {
  if (!t) return;
  for (int64_t r = first; r < last; ++r) {
    std::memset(t.f32() + r * t.stride, 0, static_cast<size_t>(t.cols) * sizeof(float));
  }
}

/// The dropout of a token-wise tensor as the kernels want it; threshold 0 when it is off.
inline DropoutRows dropout_rows(const Dropout& dropout, const Rows& rows, const char* operation) {
  DropoutRows result;
  if (!(dropout.p > 0)) return result;
  const uint32_t threshold = dropout_threshold(dropout.p);
  ELECTRA_CHECK_SHAPE(threshold < 65536 && dropout.scalars != nullptr,
                      "%s: dropout %g needs a probability below 1 and the step's scalars", operation,
                      static_cast<double>(dropout.p));
  result.threshold = threshold;
  result.scale = threshold == 0 ? 1.0f : dropout_scale(dropout.p);
  result.seed = dropout.scalars->seed;
  result.step = dropout.scalars->step;
  result.site = dropout.site;
  result.pitch = static_cast<uint32_t>(rows.pitch);
  result.global_row = rows.global_row;
  result.token_row = rows.token_row;
  result.token_position = rows.token_position;
  return result;
}

}  // namespace electra::cpu
