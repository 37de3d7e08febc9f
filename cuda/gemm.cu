#include "gemm.h"

#include "kernels/gemm_kernels.h"

namespace electra::cuda {

struct Gemm::Implementation {
  cudaStream_t stream = nullptr;
  int32_t multiprocessors = 1;
  GemmWorkspace workspace;
};

Gemm::Gemm(cudaStream_t stream, int32_t multiprocessors) : implementation_(std::make_unique<Implementation>()) {
  Implementation& i = *implementation_;
  i.stream = stream;
  i.multiprocessors = multiprocessors;
  i.workspace.bytes = size_t{32} << 20;
  ELECTRA_CUDA_CHECK(cudaMalloc(&i.workspace.memory, i.workspace.bytes));
}

Gemm::~Gemm() { cudaFree(implementation_->workspace.memory); }

const char* Gemm::name() const { return "built-in"; }
const char* Gemm::reason() const { return ""; }
bool Gemm::supports(const Product&) { return true; }
size_t Gemm::workspace_bytes() const { return implementation_->workspace.bytes; }

void Gemm::multiply(const Product& product) {
  Implementation& i = *implementation_;
  multiply_built_in(product, i.workspace, i.multiprocessors, i.stream);
}

}  // namespace electra::cuda
