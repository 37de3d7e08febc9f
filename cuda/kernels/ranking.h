#pragma once
// Which of many is the best: a value and its index as one integer, so that one comparison decides and the
// lowest index wins a tie whatever the order of comparisons. And the noise that the best of a draw is taken
// with.

#include "../platform/platform.h"

namespace electra::cuda {

/// Larger for the larger value, and for the lower index among equal values. 0 is below everything that this
/// makes.
__device__ __forceinline__ unsigned long long ranked(float value, int32_t index) {
  const unsigned bits = __float_as_uint(value + 0.0f);  // −0 becomes 0: they are equal
  const unsigned ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<unsigned long long>(ordered) << 32 | ~static_cast<unsigned>(index);
}
__device__ __forceinline__ int32_t index_of(unsigned long long rank) {
  return static_cast<int32_t>(~static_cast<unsigned>(rank));
}
__device__ __forceinline__ float value_of(unsigned long long rank) {
  const unsigned ordered = static_cast<unsigned>(rank >> 32);
  return __uint_as_float((ordered >> 31) != 0 ? ordered & 0x7FFFFFFFu : ~ordered);
}

__device__ __forceinline__ unsigned long long warp_best(unsigned long long rank) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const unsigned long long other = __shfl_xor_sync(kFullWarp, rank, offset);
    rank = other > rank ? other : rank;
  }
  return rank;
}
/// The best of the block, to all threads; all must call it.
template <int Threads>
__device__ __forceinline__ unsigned long long block_best(unsigned long long rank) {
  return detail::block_reduce<Threads>(
      rank, [](unsigned long long x) { return warp_best(x); },
      [](unsigned long long x, unsigned long long y) { return y > x ? y : x; });
}

/// −log(−log(u + 1e-9) + 1e-9): the reference's Gumbel noise, in f32 as there.
__device__ __forceinline__ float gumbel(float u) { return -logf(-logf(u + 1e-9f) + 1e-9f); }

/// Element i of four registers, without sending them to memory.
template <class T>
__device__ __forceinline__ T pick(const T (&values)[4], int i) {
  return (i & 2) != 0 ? ((i & 1) != 0 ? values[3] : values[2]) : ((i & 1) != 0 ? values[1] : values[0]);
}

}  // namespace electra::cuda
