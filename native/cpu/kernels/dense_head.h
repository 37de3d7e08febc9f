#pragma once
// The element-wise half of the language-model head, declared for dense.cc of the same instruction set.

#include "dense.h"

namespace electra::cpu::ELECTRA_ISA {

/// See DenseKernels.
void logit_tile(const LogitTile& tile, const GumbelDraws* draws);
void logit_gradient(float* values, int64_t stride, int64_t rows, int64_t first, int64_t columns,
                    const float* factor, const int32_t* targets, const float* onehot, float* sums);

}  // namespace electra::cpu::ELECTRA_ISA
