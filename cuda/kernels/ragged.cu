#include "../cuda_operators.h"

namespace electra::cuda {

size_t ragged_workspace(const Capacity&) { return 0; }

void CudaOperators::ragged_softmax(const RaggedSoftmax&) { throw EngineError("ERR_ELECTRA_INTERNAL", "ragged_softmax is not written yet"); }
void CudaOperators::ragged_softmax_backward(const RaggedSoftmaxBackward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "ragged_softmax_backward is not written yet"); }
void CudaOperators::ragged_cross_entropy(const RaggedCrossEntropy&) { throw EngineError("ERR_ELECTRA_INTERNAL", "ragged_cross_entropy is not written yet"); }
void CudaOperators::ragged_top_k(const RaggedTopK&) { throw EngineError("ERR_ELECTRA_INTERNAL", "ragged_top_k is not written yet"); }
void CudaOperators::ragged_weighted_sum(const RaggedWeightedSum&) { throw EngineError("ERR_ELECTRA_INTERNAL", "ragged_weighted_sum is not written yet"); }
void CudaOperators::ragged_weighted_sum_backward(const RaggedWeightedSumBackward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "ragged_weighted_sum_backward is not written yet"); }
void CudaOperators::broadcast_rows(const BroadcastRows&) { throw EngineError("ERR_ELECTRA_INTERNAL", "broadcast_rows is not written yet"); }

}  // namespace electra::cuda
