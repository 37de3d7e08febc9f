#pragma once
// CUDA for a compiler and a machine without it. Kernels run on fibers, one block at a time, in an order that can be
// chosen; the runtime's functions keep CUDA's names, so that host code compiles unchanged. See docs in the headers.
//
// Not emulated: races between warps within a barrier's reach other than by order, the memory model, bank conflicts,
// occupancy and speed.

#include "language.h"
#include "runtime.h"
#include "scheduler.h"
#include "types.h"
