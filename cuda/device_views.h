#pragma once
// Small things that kernels of every layer share: how many rows count, and the dropout decisions of a token's
// elements.

#include "../native/operators.h"
#include "platform/platform.h"

namespace electra::cuda {

/// How many rows of an extent count.
__device__ __forceinline__ int64_t actual_of(const Extent& extent) {
  return extent.actual != nullptr ? static_cast<int64_t>(*extent.actual) : extent.capacity;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Throws ERR_ELECTRA_SHAPE unless the matrix has at least `rows` rows, exactly `cols` columns and the type.
inline void check_matrix(const Tensor& t, int64_t rows, int64_t cols, DType dtype, const char* operation,
                         const char* name) {
  ELECTRA_CHECK_SHAPE(t.dtype == dtype && t.rows >= rows && t.cols == cols && t.stride >= cols &&
                          (t.data != nullptr || rows == 0 || cols == 0),
                      "%s: %s is %s [%lld, %lld] with stride %lld, wanted %s [%lld, %lld]", operation, name,
                      t.dtype == DType::kFloat32 ? "f32" : "bf16", static_cast<long long>(t.rows),
                      static_cast<long long>(t.cols), static_cast<long long>(t.stride),
                      dtype == DType::kFloat32 ? "f32" : "bf16", static_cast<long long>(rows),
                      static_cast<long long>(cols));
}

/// Calls body(T{}) with the C++ type of activations: float or __nv_bfloat16.
template <typename Body>
void with_type(DType dtype, Body body) {
  if (dtype == DType::kFloat32)
    body(float{});
  else
    body(__nv_bfloat16{});
}

/// Whether rows of a matrix can be read `width` elements at a time in one access.
inline bool rows_are_aligned(const Tensor& t, int64_t width) {
  const int64_t bytes = width * (t.dtype == DType::kFloat32 ? 4 : 2);
  return !t || (t.cols % width == 0 && (reinterpret_cast<uintptr_t>(t.data) % bytes) == 0 &&
                t.stride % width == 0);
}

/// A token-wise dropout as a kernel takes it, by value; the seed is read on the device.
struct TokenDropout {
  uint32_t threshold = 0;  ///< decisions below it drop; 0: no dropout
  float scale = 1;         ///< of what is kept
  uint32_t site = 0;
  uint32_t pitch = 0;
  const StepScalars* scalars = nullptr;
  const int32_t* global_row = nullptr;
  const int32_t* token_row = nullptr;
  const int32_t* token_position = nullptr;
};

inline TokenDropout token_dropout(const Dropout& dropout, const Rows& rows, const char* operation) {
  TokenDropout result;
  if (!(dropout.p > 0)) return result;
  const uint32_t threshold = dropout_threshold(dropout.p);
  ELECTRA_CHECK_SHAPE(threshold < 65536 && dropout.scalars != nullptr,
                      "%s: dropout %g needs a probability below 1 and the step's scalars", operation,
                      static_cast<double>(dropout.p));
  result.threshold = threshold;
  result.scale = threshold == 0 ? 1.0f : dropout_scale(dropout.p);
  result.site = dropout.site;
  result.pitch = static_cast<uint32_t>(rows.pitch);
  result.scalars = dropout.scalars;
  result.global_row = rows.global_row;
  result.token_row = rows.token_row;
  result.token_position = rows.token_position;
  return result;
}

/// Coordinate of a token's element 0 (native/philox.h); elements of the token follow it.
__device__ __forceinline__ uint64_t first_element(const TokenDropout& d, int64_t token, uint32_t width) {
  return token_element(static_cast<uint32_t>(d.global_row[d.token_row[token]]), d.pitch,
                       static_cast<uint32_t>(d.token_position[token]), width, 0);
}

/// The eight decisions of the block that element e lies in.
__device__ __forceinline__ PhiloxWords dropout_block(const TokenDropout& d, uint64_t element) {
  return random_block(d.scalars->seed, RandomPurpose::kDropout, element >> 3, d.scalars->step, d.site);
}

/// What dropout multiplies an element with, given the decisions of its block.
__device__ __forceinline__ float dropout_factor(const TokenDropout& d, const PhiloxWords& words, uint64_t element) {
  return random_decision(words, static_cast<int>(element & 7)) >= d.threshold ? d.scale : 0.0f;
}

}  // namespace electra::cuda
