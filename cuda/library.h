#pragma once
// What electra_cuda.so gives to whoever opens it: one function. Both sides are built by the same compiler from
// the same native/operators.h; a hash of the contract's headers says so.

#include <cstdint>

#include "../native/operators.h"

namespace electra::cuda {

/// ELECTRA_CONTRACT_HASH, a build-time constant over operators.h, tensor.h, philox.h and engine_error.h.
struct LibraryOptions {
  int32_t device = 0;                    ///< ordinal among the visible GPUs
  DType compute = DType::kBFloat16;      ///< type of activations and products
};

extern "C" {
/// Makes the operators of one GPU; the caller deletes them. Throws EngineError: ERR_ELECTRA_CONTRACT when
/// `contract_hash` is another one than the library was built with, ERR_ELECTRA_NO_CUDA when the GPU cannot be
/// used, ERR_ELECTRA_CUDA when something in CUDA fails.
using CreateFunction = Operators* (*)(uint64_t contract_hash, const LibraryOptions* options);
}
constexpr const char* kCreateSymbol = "electra_cuda_create";

}  // namespace electra::cuda
