#pragma once
// The built-in matrix product, declared for dense.cc of the same instruction set.

#include <cstddef>
#include <cstdint>

namespace electra::cpu::ELECTRA_ISA {

/// Floats of scratch that matmul wants.
size_t matmul_scratch();
void matmul(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
            int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc, float* packed);

}  // namespace electra::cpu::ELECTRA_ISA
