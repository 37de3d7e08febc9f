#include "../cuda_operators.h"

namespace electra::cuda {

size_t attention_workspace(const Capacity&) { return 0; }

void CudaOperators::attention_forward(const AttentionForward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "attention_forward is not written yet"); }
void CudaOperators::attention_backward(const AttentionBackward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "attention_backward is not written yet"); }
void CudaOperators::attention_probabilities(const AttentionProbabilities&) { throw EngineError("ERR_ELECTRA_INTERNAL", "attention_probabilities is not written yet"); }

}  // namespace electra::cuda
