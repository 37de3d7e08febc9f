#pragma once
// Rows of activations and of parameters in registers: 16 bytes at a time, as floats; and the dropout of a
// token's row.

#include <cstdint>
#include <cstring>

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

/// 16 bytes of a row as they come: bf16 stay two to a register until they are used.
using RowBits = Packed<uint32_t, 4>;

template <typename T>
__device__ __forceinline__ RowBits load_bits(const T* from) {
  return load_packed<4>(reinterpret_cast<const uint32_t*>(from));
}
/// For what is not read again soon.
template <typename T>
__device__ __forceinline__ RowBits load_bits_streaming(const T* from) {
  return load_packed_streaming<4>(reinterpret_cast<const uint32_t*>(from));
}

/// Element i of neighbouring elements of type T.
template <typename T>
__device__ __forceinline__ float element_of(const uint32_t* bits, int i) {
  if constexpr (sizeof(T) == 4)
    return __uint_as_float(bits[i]);
  else
    return __uint_as_float(i % 2 == 0 ? bits[i / 2] << 16 : bits[i / 2] & 0xFFFF0000u);
}

/// Rounds kCount elements to type T, two of bf16 in one instruction.
template <typename T, int kCount>
__device__ __forceinline__ auto packed_bits(const float* from) {
  if constexpr (sizeof(T) == 4) {
    Packed<uint32_t, kCount> bits;
#pragma unroll
    for (int i = 0; i < kCount; ++i) bits[i] = __float_as_uint(from[i]);
    return bits;
  } else {
    Packed<uint32_t, kCount / 2> bits;
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);
      memcpy(&bits[i], &pair, sizeof(pair));
    }
    return bits;
  }
}

/// `kCount` neighbouring elements as floats, 16 bytes an access where they are that many.
template <int kCount, typename T>
__device__ __forceinline__ void read_row(const T* from, float* to) {
  constexpr int kPart = kCount < kRowVector<T> ? kCount : kRowVector<T>;
  if constexpr (kPart == 1) {
    for (int i = 0; i < kCount; ++i) to[i] = to_float(from[i]);
  } else {
#pragma unroll
    for (int first = 0; first < kCount; first += kPart) {
      constexpr int kWords = kPart * static_cast<int>(sizeof(T)) / 4;
      const auto bits = load_packed<kWords>(reinterpret_cast<const uint32_t*>(from + first));
#pragma unroll
      for (int i = 0; i < kPart; ++i) to[first + i] = element_of<T>(bits.value, i);
    }
  }
}
template <int kCount, typename T>
__device__ __forceinline__ void write_row(T* to, const float* from) {
  constexpr int kPart = kCount < kRowVector<T> ? kCount : kRowVector<T>;
  if constexpr (kPart == 1) {
    for (int i = 0; i < kCount; ++i) to[i] = from_float<T>(from[i]);
  } else {
#pragma unroll
    for (int first = 0; first < kCount; first += kPart)
      store_packed(reinterpret_cast<uint32_t*>(to + first), packed_bits<T, kPart>(from + first));
  }
}
/// 16 bytes that are not read again soon.
template <typename T>
__device__ __forceinline__ void write_row_streaming(T* to, const float* from) {
  store_packed_streaming(reinterpret_cast<uint32_t*>(to), packed_bits<T, kRowVector<T>>(from));
}

/// Which vector of which row a thread of an element-wise kernel has, with a thread for every vector of a
/// matrix.
struct Place {
  int64_t row;
  int64_t column;
};
template <int kVector>
__device__ __forceinline__ Place place_of_thread(int64_t width) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t vectors = width / kVector;
  // Nearly all matrices have fewer than 2^32 vectors, and a 32-bit division is several times faster.
  const int64_t row =
      i <= INT64_C(0xFFFFFFFF) ? static_cast<uint32_t>(i) / static_cast<uint32_t>(vectors) : i / vectors;
  return Place{row, (i - row * vectors) * kVector};
}

/// The dropout decisions of a token's row, one row after the other.
class DropoutStream {
 public:
  /// `d` is a kernel's parameter: it stays in constant memory.
  __device__ __forceinline__ explicit DropoutStream(const TokenDropout& d) : d_(d) {
    if (!drops()) return;
    seed_ = d.scalars->seed;
    step_ = d.scalars->step;
  }
  __device__ __forceinline__ DropoutStream(const TokenDropout& d, int64_t token, uint32_t width)
      : DropoutStream(d) {
    start(token, width);
  }
  /// Only for tokens that count.
  __device__ __forceinline__ void start(int64_t token, uint32_t width) {
    if (drops()) first_ = first_element(d_, token, width);
  }
  __device__ __forceinline__ bool drops() const { return d_.threshold != 0; }
  __device__ __forceinline__ float scale() const { return d_.scale; }

  /// Drops among `kCount` columns from `column`, in place. The row's width and the column must be multiples
  /// of kCount, so that they lie in one block of decisions.
  template <int kCount>
  __device__ __forceinline__ void apply(int column, float* values) const {
    uint32_t pairs[kCount / 2];
    decide<kCount>(column, pairs);
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = keeps(pairs, i) ? values[i] * d_.scale : 0.0f;
  }
  /// Bit i: column + i is kept.
  template <int kCount>
  __device__ __forceinline__ uint32_t kept(int column) const {
    uint32_t pairs[kCount / 2];
    decide<kCount>(column, pairs);
    uint32_t bits = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) bits |= keeps(pairs, i) ? 1u << i : 0u;
    return bits;
  }
  /// What one element is multiplied with: a whole call of Philox for it.
  __device__ __forceinline__ float factor(int column) const {
    const uint64_t element = first_ + static_cast<uint32_t>(column);
    return random_decision(block(element), static_cast<int>(element & 7)) >= d_.threshold ? d_.scale : 0.0f;
  }

 private:
  template <int kCount>
  __device__ __forceinline__ void decide(int column, uint32_t (&pairs)[kCount / 2]) const {
    static_assert(kCount == 8 || kCount == 4, "all or half of a block's decisions");
    const uint64_t element = first_ + static_cast<uint32_t>(column);
    const PhiloxWords words = block(element);
    const bool second = kCount == 4 && (element & 4) != 0;
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) pairs[i] = second ? words.word[(i + 2) % 4] : words.word[i];
  }
  __device__ __forceinline__ bool keeps(const uint32_t* pairs, int i) const {
    return (i % 2 == 0 ? pairs[i / 2] & 0xFFFFu : pairs[i / 2] >> 16) >= d_.threshold;
  }
  __device__ __forceinline__ PhiloxWords block(uint64_t element) const {
    return random_block(seed_, RandomPurpose::kDropout, element >> 3, step_, d_.site);
  }

  const TokenDropout& d_;
  uint64_t first_ = 0;
  uint64_t seed_ = 0;
  uint32_t step_ = 0;
};

}  // namespace electra::cuda
