#include "../cuda_operators.h"

namespace electra::cuda {

size_t language_model_workspace(const Capacity&) { return 0; }

void CudaOperators::language_model_head(const LanguageModelHead&) { throw EngineError("ERR_ELECTRA_INTERNAL", "language_model_head is not written yet"); }

}  // namespace electra::cuda
