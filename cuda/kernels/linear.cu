#include "../cuda_operators.h"

namespace electra::cuda {

size_t linear_workspace(const Capacity&) { return 0; }

void CudaOperators::linear_forward(const LinearForward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "linear_forward is not written yet"); }
void CudaOperators::linear_backward_data(const LinearBackwardData&) { throw EngineError("ERR_ELECTRA_INTERNAL", "linear_backward_data is not written yet"); }
void CudaOperators::linear_backward_weight(const LinearBackwardWeight&) { throw EngineError("ERR_ELECTRA_INTERNAL", "linear_backward_weight is not written yet"); }
void CudaOperators::activation_forward(const ActivationForward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "activation_forward is not written yet"); }
void CudaOperators::activation_backward(const ActivationBackward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "activation_backward is not written yet"); }

}  // namespace electra::cuda
