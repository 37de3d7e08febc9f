#include "../cuda_operators.h"

namespace electra::cuda {

size_t optimizer_workspace(const Capacity&) { return 0; }

void CudaOperators::gradient_norm(const GradientNorm&) { throw EngineError("ERR_ELECTRA_INTERNAL", "gradient_norm is not written yet"); }
void CudaOperators::clip_factor(const ClipFactor&) { throw EngineError("ERR_ELECTRA_INTERNAL", "clip_factor is not written yet"); }
void CudaOperators::adam_update(const AdamUpdate&) { throw EngineError("ERR_ELECTRA_INTERNAL", "adam_update is not written yet"); }

}  // namespace electra::cuda
