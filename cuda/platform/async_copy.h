#pragma once
// cp.async: copies from global to shared memory that go on while the thread computes.
//
//   cp_async16(stage_1, ...); cp_async_commit();
//   cp_async16(stage_2, ...); cp_async_commit();
//   cp_async_wait<1>();   // stage_1 has arrived, for this thread
//   __syncthreads();      // and for the block

#include "runtime_header.h"

namespace electra::cuda {

/// Starts a copy of 16 bytes, both addresses multiples of 16. Not `valid`: 16 zero bytes, and `global` is not
/// read.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, bool valid) {
#if defined(ELECTRA_CUDA_EMULATED)
  emulator::async_copy(shared, valid ? global : nullptr);
#else
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
#endif
}

/// Closes the group of the copies begun since the last commit; it may be empty.
__device__ __forceinline__ void cp_async_commit() {
#if defined(ELECTRA_CUDA_EMULATED)
  emulator::async_commit();
#else
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

/// Waits until at most the `N` youngest groups of this thread are under way.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
#if defined(ELECTRA_CUDA_EMULATED)
  emulator::async_wait(N);
#else
  asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
#endif
}

}  // namespace electra::cuda
