#pragma once
// CUDA itself, or the emulation: what the other headers here build on.

#if defined(ELECTRA_CUDA_EMULATED)
#include "../emulator/emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#endif
