#pragma once
// What the optimizer's file gives to others.

#include <cstdint>

#include "../platform/platform.h"

namespace electra::cuda {

/// to[i] = bf16(from[i]), rounded to nearest even.
void convert_to_bf16(const float* from, __nv_bfloat16* to, int64_t size, cudaStream_t stream);

}  // namespace electra::cuda
