#pragma once
// CUDA for a compiler and a machine without it. Kernels run on fibers, one block at a time, in an order that
// can be chosen (scheduler.h); the runtime's functions keep CUDA's names, so that host code compiles
// unchanged (runtime.h).
//
// Found: missing and divergent barriers, order dependence, reads of uninitialised memory, accesses out of
// bounds, bad alignment of vectors, missing waits and synchronisation. Not found: races that no order of
// whole barrier intervals shows, errors of the memory model, bank conflicts, register pressure, speed.
// Waiting in a loop for another thread or block does not work: threads give way only where they wait in a
// barrier, and blocks run one after the other.

#include "language.h"
#include "runtime.h"
#include "scheduler.h"
#include "types.h"
