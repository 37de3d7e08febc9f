#pragma once
// CUDA as the kernels see it: with nvcc the real one, with -DELECTRA_CUDA_EMULATED and a plain C++ compiler
// the one in
// ../emulator. Every file of the backend includes this and nothing of CUDA itself.
//
// Rules that keep kernels portable between the two: launch through launch(), shared memory through
// ELECTRA_SHARED and ELECTRA_DYNAMIC_SHARED, PTX only in the wrappers here, no arithmetic on bf16 values
// (convert to float first), every lane that is alive takes part in a warp function.

#include "check.h"
#include "launch.h"
#include "runtime_header.h"

#if defined(ELECTRA_CUDA_EMULATED) || defined(__CUDACC__)
#include "async_copy.h"
#include "mma.h"
#include "shared_memory.h"
#include "vector.h"
#include "warp.h"
#endif
