#pragma once
// The one way to start a kernel.

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../../native/engine_error.h"
#include "runtime_header.h"

namespace electra::cuda {

/// What a kernel may use without asking for more.
constexpr size_t kDefaultDynamicSharedBytes = 48 * 1024;

[[noreturn]] inline void throw_launch_error(const char* name, dim3 grid, dim3 block,
                                            size_t dynamic_shared_bytes, cudaError_t error) {
  (void)cudaGetLastError();
  throw EngineError(error == cudaErrorMemoryAllocation ? "ERR_ELECTRA_OUT_OF_MEMORY" : "ERR_ELECTRA_CUDA",
                    "kernel %s, grid (%u, %u, %u), block (%u, %u, %u), %zu bytes of shared memory: %s (%s)",
                    name, grid.x, grid.y, grid.z, block.x, block.y, block.z, dynamic_shared_bytes,
                    cudaGetErrorString(error), cudaGetErrorName(error));
}

/// Launches `kernel` (an instance of a template as `kernel<T, 4>`) with the arguments converted to its
/// parameters and copied now. Does nothing for an empty grid. `name` must outlive the stream's work: a
/// literal. Throws EngineError.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t dynamic_shared_bytes,
            cudaStream_t stream, A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "one argument for each parameter of the kernel");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  std::tuple<std::decay_t<P>...> parameters(static_cast<std::decay_t<P>>(std::forward<A>(arguments))...);
  cudaError_t error = cudaSuccess;
  if (dynamic_shared_bytes > kDefaultDynamicSharedBytes) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(dynamic_shared_bytes));
    if (error != cudaSuccess) throw_launch_error(name, grid, block, dynamic_shared_bytes, error);
  }
#if defined(ELECTRA_CUDA_EMULATED)
  error = emulator::enqueue_kernel(name, grid, block, dynamic_shared_bytes, stream,
                                   [kernel, parameters] { std::apply(kernel, parameters); });
#else
  std::apply(
      [&](auto&... each) {
        void* addresses[sizeof...(P) + 1] = {static_cast<void*>(&each)...};
        error = cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, addresses,
                                 dynamic_shared_bytes, stream);
      },
      parameters);
#endif
  if (error != cudaSuccess) throw_launch_error(name, grid, block, dynamic_shared_bytes, error);
}

}  // namespace electra::cuda
