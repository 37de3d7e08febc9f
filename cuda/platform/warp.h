#pragma once
// Reductions over a warp and a block. The order is fixed, so that results are the same bits from run to run,
// and every thread gets the same bits.

#include "runtime_header.h"
#include "shared_memory.h"

namespace electra::cuda {

constexpr unsigned kFullWarp = 0xFFFFFFFFu;

/// Over all 32 lanes, to all lanes.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullWarp, value, offset);
  return value;
}
__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullWarp, value, offset);
  return value;
}
__device__ __forceinline__ int warp_sum(int value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullWarp, value, offset);
  return value;
}
/// The largest; NaN is ignored where another value is there, as fmaxf does.
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, offset));
  return value;
}

namespace detail {

/// Warps first, then their results in the order of warps. The first barrier lets the array be used again at
/// once.
template <int Threads, class T, class Warp, class Combine>
__device__ __forceinline__ T block_reduce(T value, Warp warp, Combine combine) {
  static_assert(Threads % 32 == 0 && Threads >= 0 && Threads <= 1024, "whole warps");
  value = warp(value);
  if (Threads == 32) return value;
  ELECTRA_SHARED(T, partial, 32);
  const int thread = static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  const int warps = Threads != 0 ? Threads / 32 : static_cast<int>(blockDim.x * blockDim.y * blockDim.z / 32);
  __syncthreads();
  if (thread % 32 == 0) partial[thread / 32] = value;
  __syncthreads();
  T result = partial[0];
#pragma unroll
  for (int i = 1; i < warps; ++i) result = combine(result, partial[i]);
  return result;
}

}  // namespace detail

/// Over all threads of the block, to all threads; all must call it. `Threads` is the size of the block, a
/// multiple of 32; 0 takes it from blockDim. May be called again at once.
template <int Threads = 0, class T>
__device__ __forceinline__ T block_sum(T value) {
  return detail::block_reduce<Threads>(
      value, [](T x) { return warp_sum(x); }, [](T x, T y) { return x + y; });
}
template <int Threads = 0>
__device__ __forceinline__ float block_max(float value) {
  return detail::block_reduce<Threads>(
      value, [](float x) { return warp_max(x); }, [](float x, float y) { return fmaxf(x, y); });
}

}  // namespace electra::cuda
