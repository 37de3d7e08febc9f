#include "../cuda_operators.h"

namespace electra::cuda {

size_t norm_workspace(const Capacity&) { return 0; }

void CudaOperators::layer_norm_forward(const LayerNormForward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "layer_norm_forward is not written yet"); }
void CudaOperators::layer_norm_backward(const LayerNormBackward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "layer_norm_backward is not written yet"); }
void CudaOperators::dropout_residual_norm_forward(const DropoutResidualNormForward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "dropout_residual_norm_forward is not written yet"); }
void CudaOperators::dropout_residual_norm_backward(const DropoutResidualNormBackward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "dropout_residual_norm_backward is not written yet"); }
void CudaOperators::dropout(const DropoutApply&) { throw EngineError("ERR_ELECTRA_INTERNAL", "dropout is not written yet"); }

}  // namespace electra::cuda
