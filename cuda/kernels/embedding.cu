#include "../cuda_operators.h"

namespace electra::cuda {

size_t embedding_workspace(const Capacity&) { return 0; }

void CudaOperators::embedding_forward(const EmbeddingForward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "embedding_forward is not written yet"); }
void CudaOperators::embedding_backward(const EmbeddingBackward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "embedding_backward is not written yet"); }

}  // namespace electra::cuda
