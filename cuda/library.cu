#include "library.h"

#include "cuda_operators.h"

#ifndef ELECTRA_CONTRACT_HASH
#error "ELECTRA_CONTRACT_HASH must be the hash of the contract's headers"
#endif

extern "C" __attribute__((visibility("default"))) electra::Operators* electra_cuda_create(
    uint64_t contract_hash, const electra::cuda::LibraryOptions* options) {
  if (contract_hash != ELECTRA_CONTRACT_HASH)
    throw electra::EngineError(
        "ERR_ELECTRA_CONTRACT",
        "the CUDA library and the addon were built from different sources (contract %016llx and %016llx)",
        static_cast<unsigned long long>(ELECTRA_CONTRACT_HASH), static_cast<unsigned long long>(contract_hash));
  electra::cuda::CudaOptions wanted;
  wanted.device = options->device;
  wanted.compute = options->compute;
  return new electra::cuda::CudaOperators(wanted);
}
