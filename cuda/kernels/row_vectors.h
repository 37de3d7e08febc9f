#pragma once
// Rows of activations and of parameters in registers: 16 bytes at a time, as floats; and the dropout of a token's row.

#include <cstdint>

#include "../device_views.h"
#include "../platform/platform.h"

namespace electra::cuda {

/// A matrix as kernels take it, by value.
template <typename T>
struct RowsOf {
  T* data = nullptr;
  int64_t stride = 0;

  RowsOf() = default;
  explicit RowsOf(const Tensor& t) : data(static_cast<T*>(t.data)), stride(t.stride) {}
  __device__ __forceinline__ T* row(int64_t r) const { return data + r * stride; }
  __host__ __device__ __forceinline__ explicit operator bool() const { return data != nullptr; }
};

/// Elements of an activation in 16 bytes.
template <typename T>
constexpr int kRowVector = 16 / static_cast<int>(sizeof(T));

/// `kCount` neighbouring elements as floats, 16 bytes an access where they are that many.
template <int kCount, typename T>
__device__ __forceinline__ void read_row(const T* from, float* to) {
  constexpr int kPart = kCount < kRowVector<T> ? kCount : kRowVector<T>;
#pragma unroll
  for (int first = 0; first < kCount; first += kPart) {
    const Packed<T, kPart> packed = load_packed<kPart>(from + first);
#pragma unroll
    for (int i = 0; i < kPart; ++i) to[first + i] = to_float(packed[i]);
  }
}
template <int kCount, typename T>
__device__ __forceinline__ void write_row(T* to, const float* from) {
  constexpr int kPart = kCount < kRowVector<T> ? kCount : kRowVector<T>;
#pragma unroll
  for (int first = 0; first < kCount; first += kPart) {
    Packed<T, kPart> packed;
#pragma unroll
    for (int i = 0; i < kPart; ++i) packed[i] = from_float<T>(from[first + i]);
    store_packed(to + first, packed);
  }
}

/// The dropout decisions of one token's row.
class DropoutStream {
 public:
  __device__ __forceinline__ DropoutStream() {}
  __device__ __forceinline__ DropoutStream(const TokenDropout& d, int64_t token, uint32_t width)
      : threshold_(d.threshold), scale_(d.scale), site_(d.site) {
    if (threshold_ == 0) return;
    first_ = first_element(d, token, width);
    seed_ = d.scalars->seed;
    step_ = d.scalars->step;
  }
  __device__ __forceinline__ bool drops() const { return threshold_ != 0; }

  /// Of `kCount` columns from `column`, in place. The row's width and the column must be multiples of kCount, so that
  /// they lie in one block of decisions.
  template <int kCount>
  __device__ __forceinline__ void apply(int column, float* values) const {
    static_assert(kCount == 8 || kCount == 4, "all or half of a block's decisions");
    const uint64_t element = first_ + static_cast<uint32_t>(column);
    const PhiloxWords words = block(element);
    uint32_t pairs[kCount / 2];
    if (kCount == 8) {
#pragma unroll
      for (int i = 0; i < kCount / 2; ++i) pairs[i] = words.word[i];
    } else {
      const bool second = (element & 4) != 0;
      pairs[0] = second ? words.word[2] : words.word[0];
      pairs[1] = second ? words.word[3] : words.word[1];
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const uint32_t decision = i % 2 == 0 ? pairs[i / 2] & 0xFFFFu : pairs[i / 2] >> 16;
      values[i] = decision >= threshold_ ? values[i] * scale_ : 0.0f;
    }
  }
  /// What one element is multiplied with: a whole call of Philox for it.
  __device__ __forceinline__ float factor(int column) const {
    const uint64_t element = first_ + static_cast<uint32_t>(column);
    return random_decision(block(element), static_cast<int>(element & 7)) >= threshold_ ? scale_ : 0.0f;
  }

 private:
  __device__ __forceinline__ PhiloxWords block(uint64_t element) const {
    return random_block(seed_, RandomPurpose::kDropout, element >> 3, step_, site_);
  }

  uint64_t first_ = 0;
  uint64_t seed_ = 0;
  uint32_t step_ = 0;
  uint32_t threshold_ = 0;
  float scale_ = 1;
  uint32_t site_ = 0;
};

}  // namespace electra::cuda
