#pragma once
// Elementary functions as the special function unit has them, for values that end in bf16.

#include "runtime_header.h"

namespace electra::cuda {

/// 2^x to 2 ulp, and 0 where the result would be a denormal: exp2f() spends three more instructions on those.
__device__ __forceinline__ float exp2_fast(float x) {
#if defined(ELECTRA_CUDA_EMULATED)
  return exp2f(x);
#else
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}

}  // namespace electra::cuda
