#pragma once
// Matrix products of row-major matrices, all through one class: cuBLASLt where the machine has it (opened at
// run time, ELECTRA_CUBLASLT names a path), else kernels of our own (kernels/gemm_kernels.cu), so that the
// library works without it.

#include <cstdint>
#include <memory>

#include "../native/operators.h"
#include "platform/platform.h"

namespace electra::cuda {

/// A row-major matrix in device memory, rows `stride` elements apart.
struct Matrix {
  void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  DType dtype = DType::kFloat32;
};

inline Matrix matrix_of(const Tensor& t) { return Matrix{t.data, t.rows, t.cols, t.stride, t.dtype}; }

/// What happens to the product before it is stored.
enum class Epilogue : int32_t {
  kNone,
  kBias,         ///< + bias[column]
  kGeluAuxBias,  ///< aux = product + bias; result = tanh-GELU(aux)
  kGeluGradientBiasGradient,  ///< result = product ⊙ tanh-GELU'(aux); bias_gradient = column sums of the result
};

/// d (m x n) = op(a) · op(b) [+ d if `add`], with op the transpose where said. f32 accumulation; f32 inputs are
/// multiplied in full f32 (no TF32). Extents of zero are legal.
struct Product {
  Matrix a;  ///< [m, k], or [k, m] if transpose_a
  bool transpose_a = false;
  Matrix b;  ///< [k, n], or [n, k] if transpose_b
  bool transpose_b = false;
  Matrix d;  ///< [m, n]
  bool add = false;
  Epilogue epilogue = Epilogue::kNone;
  const void* bias = nullptr;      ///< [n], of d's type
  void* aux = nullptr;             ///< [m, n], of d's type, `aux_stride` apart
  int64_t aux_stride = 0;
  void* bias_gradient = nullptr;   ///< [n] written, f32 if d is f32, else of d's type
  /// Column sums of b [k, n] (the bias gradient beside a weight gradient), written, f32; or null.
  float* column_sums_of_b = nullptr;
};

class Gemm {
 public:
  /// Opens cuBLASLt, or says in name() that the built-in kernels are used and why.
  Gemm(cudaStream_t stream, int32_t multiprocessors);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  const char* name() const;    ///< "cuBLASLt 13.1.1" or "built-in"
  const char* reason() const;  ///< why built-in; empty otherwise
  /// Whether multiply() can do this epilogue in the product itself; if not, the caller does it afterwards.
  bool supports(const Product& product);
  /// Enqueues the product. Throws ERR_ELECTRA_CUDA with the shapes when the library refuses it.
  void multiply(const Product& product);
  /// Bytes of workspace held for the library.
  size_t workspace_bytes() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace electra::cuda
