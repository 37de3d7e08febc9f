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
  kBias,                ///< + bias[column]
  kActivation,          ///< aux = product + bias; result = activation(aux). Bias and aux may be null.
  kActivationGradient,  ///< result = product ⊙ activation'(aux)
};

/// d (m x n) = op(a) · op(b) [+ d if `add`], with op the transpose where said. a and b are both f32 (then d
/// is f32, and they are multiplied in full f32, no TF32) or both bf16 (then d is bf16 or f32). f32
/// accumulation. Extents of zero are legal. `add` goes with kNone and kBias only.
struct Product {
  Matrix a;  ///< [m, k], or [k, m] if transpose_a
  bool transpose_a = false;
  Matrix b;  ///< [k, n], or [n, k] if transpose_b
  bool transpose_b = false;
  Matrix d;  ///< [m, n]
  bool add = false;
  Epilogue epilogue = Epilogue::kNone;
  Activation activation = Activation::kIdentity;
  const float* bias = nullptr;  ///< [n]
  /// The bias in bf16, where d is bf16 and there is such a form: the library's epilogue wants it in d's type.
  /// Null: the bias is added by a kernel of ours.
  const __nv_bfloat16* narrow_bias = nullptr;
  void* aux = nullptr;  ///< [m, n], of d's type, `aux_stride` apart; must not be d
  int64_t aux_stride = 0;
  /// [n], f32: the column sums of the result are added to it (the bias gradient of the layer before). Null:
  /// not wanted. Not with `add`.
  float* column_sums = nullptr;
  /// [n], f32: the column sums of b are added to it (the bias gradient beside a weight gradient; b must not
  /// be transposed). Null: not wanted.
  float* column_sums_of_b = nullptr;
};

class Gemm {
 public:
  /// Opens cuBLASLt, or says in reason() why the built-in kernels are used.
  Gemm(cudaStream_t stream, int32_t multiprocessors);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  const char* name() const;    ///< "cuBLASLt 13.1.1" or "built-in"
  const char* reason() const;  ///< why built-in; empty otherwise
  /// Whether the epilogue costs no pass of its own over d. multiply() does it in any case; a caller that
  /// makes a pass over d anyway may rather do it there.
  bool supports(const Product& product);
  /// Enqueues the product with everything that was asked of it, in as few kernels as there are for it. Which
  /// ones depends on shapes, types, strides, alignment and the device, so results are the same bits from run
  /// to run. Throws ERR_ELECTRA_SHAPE, or ERR_ELECTRA_CUDA with the shapes when the library refuses.
  void multiply(const Product& product);
  /// Bytes of workspace held for products.
  size_t workspace_bytes() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace electra::cuda
