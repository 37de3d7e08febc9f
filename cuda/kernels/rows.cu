#include "../cuda_operators.h"

namespace electra::cuda {

size_t rows_workspace(const Capacity&) { return 0; }

void CudaOperators::gather_rows(const GatherRows&) { throw EngineError("ERR_ELECTRA_INTERNAL", "gather_rows is not written yet"); }
void CudaOperators::scatter_add_rows(const ScatterAddRows&) { throw EngineError("ERR_ELECTRA_INTERNAL", "scatter_add_rows is not written yet"); }
void CudaOperators::tower_concat(const TowerConcat&) { throw EngineError("ERR_ELECTRA_INTERNAL", "tower_concat is not written yet"); }
void CudaOperators::tower_concat_backward(const TowerConcatBackward&) { throw EngineError("ERR_ELECTRA_INTERNAL", "tower_concat_backward is not written yet"); }
void CudaOperators::add_rows(const AddRows&) { throw EngineError("ERR_ELECTRA_INTERNAL", "add_rows is not written yet"); }

}  // namespace electra::cuda
