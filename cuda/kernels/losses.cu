#include "../cuda_operators.h"

namespace electra::cuda {

size_t losses_workspace(const Capacity&) { return 0; }

void CudaOperators::binary_cross_entropy(const BinaryCrossEntropy&) { throw EngineError("ERR_ELECTRA_INTERNAL", "binary_cross_entropy is not written yet"); }
void CudaOperators::class_cross_entropy(const ClassCrossEntropy&) { throw EngineError("ERR_ELECTRA_INTERNAL", "class_cross_entropy is not written yet"); }
void CudaOperators::mean_squared_error(const MeanSquaredError&) { throw EngineError("ERR_ELECTRA_INTERNAL", "mean_squared_error is not written yet"); }
void CudaOperators::multi_label_cross_entropy(const MultiLabelCrossEntropy&) { throw EngineError("ERR_ELECTRA_INTERNAL", "multi_label_cross_entropy is not written yet"); }

}  // namespace electra::cuda
