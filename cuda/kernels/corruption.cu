#include "../cuda_operators.h"

namespace electra::cuda {

size_t corruption_workspace(const Capacity&) { return 0; }

void CudaOperators::mask_tokens(const MaskTokens&) { throw EngineError("ERR_ELECTRA_INTERNAL", "mask_tokens is not written yet"); }
void CudaOperators::replace_tokens(const ReplaceTokens&) { throw EngineError("ERR_ELECTRA_INTERNAL", "replace_tokens is not written yet"); }
void CudaOperators::sample_uniform(const SampleUniform&) { throw EngineError("ERR_ELECTRA_INTERNAL", "sample_uniform is not written yet"); }

}  // namespace electra::cuda
