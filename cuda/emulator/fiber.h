#pragma once
// Fibers: stacks of our own and a switch between them that costs a few nanoseconds.

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

namespace electra::emulator {

constexpr size_t kFiberStackBytes = 128 * 1024;
/// Below the stack, without access: as much as CUDA gives a thread, so that no frame can step over it.
constexpr size_t kFiberGuardBytes = 512 * 1024;

/// A place where execution goes on: a suspended fiber, or the host's own stack (`stack` null).
struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;  // lowest usable byte; the guard lies below
  void (*entry)(Fiber&) = nullptr;
#if !defined(__x86_64__) && !defined(__aarch64__)
  ucontext_t context;
#endif
};

/// Maps the stack.
void fiber_create(Fiber& fiber);

/// Makes the next switch to `fiber` call `entry(fiber)`, which must not return; what its stack held is given
/// up. `colour` spreads the tops over the cache's sets: at equal page offsets a thousand stacks would share a
/// few lines.
void fiber_prepare(Fiber& fiber, int colour, void (*entry)(Fiber&));

/// Suspends `from` (the running one) and goes on with `to`.
void fiber_switch(Fiber& from, Fiber& to);

}  // namespace electra::emulator
