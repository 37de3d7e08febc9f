#pragma once
// The built-in matrix product, declared for dense.cc of the same instruction set. What each does is said in
// dense.h.

#include <cstddef>
#include <cstdint>

namespace electra::cpu::ELECTRA_ISA {

/// Columns of a panel of packed B.
int64_t matmul_panel();
/// Whether matmul copies such a B.
bool matmul_wants_panels(bool transpose_b);
/// Floats of scratch that matmul and matmul_packed want.
size_t matmul_scratch();
void matmul_pack(bool transposed, const float* b, int64_t ldb, int64_t depth, int64_t cols, float* packed);
void matmul_packed(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* packed, bool add,
                   float* c, int64_t ldc, float* scratch);
void matmul(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
            int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc, float* scratch);

}  // namespace electra::cpu::ELECTRA_ISA
