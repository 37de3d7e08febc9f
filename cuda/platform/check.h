#pragma once
// Errors of the CUDA runtime as EngineError.

#include "../../native/engine_error.h"
#include "runtime_header.h"

namespace electra::cuda {

[[noreturn]] inline void throw_cuda_error(cudaError_t error, const char* call, const char* file, int line) {
  // An error that is not sticky stays readable and would be blamed on the next launch.
  (void)cudaGetLastError();
  throw EngineError(error == cudaErrorMemoryAllocation ? "ERR_ELECTRA_OUT_OF_MEMORY" : "ERR_ELECTRA_CUDA",
                    "%s: %s (%s), %s:%d", call, cudaGetErrorString(error), cudaGetErrorName(error), file,
                    line);
}

}  // namespace electra::cuda

/// Throws an EngineError with the call's text, place and CUDA's words: ERR_ELECTRA_OUT_OF_MEMORY, or
/// ERR_ELECTRA_CUDA.
#define ELECTRA_CUDA_CHECK(call)                                                         \
  do {                                                                                   \
    const cudaError_t electra_cuda_status = (call);                                      \
    if (electra_cuda_status != cudaSuccess) {                                            \
      ::electra::cuda::throw_cuda_error(electra_cuda_status, #call, __FILE__, __LINE__); \
    }                                                                                    \
  } while (0)
