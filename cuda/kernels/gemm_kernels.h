#pragma once
// Products without a library, and what a library's product leaves to be done.

#include "../gemm.h"

namespace electra::cuda {

/// Memory that the functions below may use for partial sums. Work on one stream, so they can share it.
struct GemmWorkspace {
  void* memory = nullptr;
  size_t bytes = 0;
};

/// m, n and k of a product; throws ERR_ELECTRA_SHAPE where its matrices do not fit together.
struct ProductShape {
  int64_t m = 0, n = 0, k = 0;
};
ProductShape check_product(const Product& product);

/// The whole product with its epilogue and column sums, by the kernels here.
void multiply_built_in(const Product& product, const GemmWorkspace& workspace, int32_t multiprocessors,
                       cudaStream_t stream);

/// Whether multiply_built_in() has a kernel on tensor cores that does the epilogue on the way.
bool finishes_itself(const Product& product);

/// Epilogue and column sums of a product that lies in d already, in place (without `add`).
void finish_product(const Product& product, const GemmWorkspace& workspace, cudaStream_t stream);

/// into[c] += Σ x[r, c] over all rows, in an order fixed by the shape.
void add_column_sums(const Matrix& x, float* into, const GemmWorkspace& workspace, cudaStream_t stream);

/// into[c] += Σ_i partials[i, c] for c < cols, in order of i; rows of `partials` are `cols` apart.
void add_partials(const float* partials, int64_t count, int64_t cols, float* into, cudaStream_t stream);

}  // namespace electra::cuda
