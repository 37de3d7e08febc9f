#pragma once
// Several neighbouring elements in one access of up to 16 bytes.

#include <cstdint>
#include <cstring>

#include "runtime_header.h"

namespace electra::cuda {

/// N neighbouring elements, aligned as a whole.
template <class T, int N>
struct alignas(N * sizeof(T)) Packed {
  static_assert(N * sizeof(T) <= 16 && (N & (N - 1)) == 0, "a power of two, at most 16 bytes");
  T value[N];
  __host__ __device__ __forceinline__ T& operator[](int i) { return value[inside(i)]; }
  __host__ __device__ __forceinline__ const T& operator[](int i) const { return value[inside(i)]; }

 private:
  /// The device keeps the elements in registers, where nothing would notice.
  __host__ __device__ __forceinline__ static int inside(int i) {
#if defined(ELECTRA_CUDA_EMULATED)
    if (i < 0 || i >= N) emulator::kernel_error("element %d of a Packed of %d", i, N);
#endif
    return i;
  }
};

__host__ __device__ __forceinline__ bool is_aligned(const void* address, unsigned bytes) {
  return reinterpret_cast<uintptr_t>(address) % bytes == 0;
}

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

/// float or __nv_bfloat16, rounded to nearest even.
template <class T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

namespace detail {

/// The built-in type that one instruction moves.
template <int Bytes>
struct Word;
template <>
struct Word<2> {
  using type = unsigned short;
};
template <>
struct Word<4> {
  using type = unsigned int;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<16> {
  using type = uint4;
};
template <class T, int N>
using WordOf = typename Word<N* static_cast<int>(sizeof(T))>::type;

__device__ __forceinline__ void require_aligned(const void* address, unsigned bytes) {
#if defined(ELECTRA_CUDA_EMULATED)
  if (!is_aligned(address, bytes))
    emulator::kernel_error("address %p is not a multiple of %u", address, bytes);
#else
  (void)address, (void)bytes;  // the device faults
#endif
}

}  // namespace detail

/// `address` must be a multiple of N * sizeof(T).
template <int N, class T>
__device__ __forceinline__ Packed<T, N> load_packed(const T* address) {
  detail::require_aligned(address, N * sizeof(T));
  const detail::WordOf<T, N> word = *reinterpret_cast<const detail::WordOf<T, N>*>(address);
  Packed<T, N> packed;
  memcpy(&packed, &word, sizeof(packed));
  return packed;
}
template <int N, class T>
__device__ __forceinline__ void store_packed(T* address, const Packed<T, N>& packed) {
  detail::require_aligned(address, N * sizeof(T));
  detail::WordOf<T, N> word;
  memcpy(&word, &packed, sizeof(word));
  *reinterpret_cast<detail::WordOf<T, N>*>(address) = word;
}

/// For data used once: first in line to leave the caches.
template <int N, class T>
__device__ __forceinline__ Packed<T, N> load_packed_streaming(const T* address) {
  detail::require_aligned(address, N * sizeof(T));
  const detail::WordOf<T, N> word = __ldcs(reinterpret_cast<const detail::WordOf<T, N>*>(address));
  Packed<T, N> packed;
  memcpy(&packed, &word, sizeof(packed));
  return packed;
}
template <int N, class T>
__device__ __forceinline__ void store_packed_streaming(T* address, const Packed<T, N>& packed) {
  detail::require_aligned(address, N * sizeof(T));
  detail::WordOf<T, N> word;
  memcpy(&word, &packed, sizeof(word));
  __stcs(reinterpret_cast<detail::WordOf<T, N>*>(address), word);
}

}  // namespace electra::cuda
