#include "fiber.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "../../native/engine_error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Saves what a callee must keep, and the stack pointer. The floating-point control words stay: all fibers of
// a launch share the mode of the thread that launched.
asm(R"(
.text
.p2align 4
.hidden electra_fiber_switch
.globl electra_fiber_switch
.type electra_fiber_switch, @function
electra_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size electra_fiber_switch, .-electra_fiber_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
.hidden electra_fiber_switch
.globl electra_fiber_switch
.type electra_fiber_switch, %function
electra_fiber_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size electra_fiber_switch, .-electra_fiber_switch
)");
#endif

namespace electra::emulator {
namespace {

Fiber* running = nullptr;

#if defined(__SANITIZE_ADDRESS__)
const void* host_stack = nullptr;
size_t host_stack_bytes = 0;
bool left_host = false;

void arrived(void* fake_stack) {
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake_stack, &bottom, &bytes);
  if (left_host) host_stack = bottom, host_stack_bytes = bytes;
  left_host = false;
}
#else
void arrived(void*) {}
#endif

/// Stands where the first switch to a fiber returns to.
[[noreturn]] void trampoline() {
  arrived(nullptr);
  running->entry(*running);
  __builtin_unreachable();
}

}  // namespace

#if defined(__x86_64__) || defined(__aarch64__)
extern "C" void electra_fiber_switch(void** save, void* load);
#endif

void fiber_create(Fiber& fiber) {
  void* memory = mmap(nullptr, kFiberGuardBytes + kFiberStackBytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  char* stack = static_cast<char*>(memory) + kFiberGuardBytes;
  if (memory == MAP_FAILED || mprotect(stack, kFiberStackBytes, PROT_READ | PROT_WRITE) != 0) {
    throw EngineError("ERR_ELECTRA_OUT_OF_MEMORY", "emulator: no stack for a thread: %s",
                      std::strerror(errno));
  }
  fiber.stack = stack;
}

void fiber_prepare(Fiber& fiber, int colour, void (*entry)(Fiber&)) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(fiber.stack, kFiberStackBytes);
#endif
  fiber.entry = entry;
  void** top = reinterpret_cast<void**>(fiber.stack + kFiberStackBytes - 64 - (colour % 21) * 192);
#if defined(__x86_64__)
  *--top = nullptr;  // the trampoline's "return address": ends a backtrace, and aligns as a call would
  *--top = reinterpret_cast<void*>(&trampoline);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber.stack_pointer = top;
#elif defined(__aarch64__)
  top -= 20;
  for (int i = 0; i < 20; ++i) top[i] = nullptr;
  top[11] = reinterpret_cast<void*>(&trampoline);  // x30
  fiber.stack_pointer = top;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = static_cast<size_t>(reinterpret_cast<char*>(top) - fiber.stack);
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, &trampoline, 0);
#endif
}

void fiber_switch(Fiber& from, Fiber& to) {
  running = &to;
  void* fake_stack = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  left_host = from.stack == nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, to.stack == nullptr ? host_stack : to.stack,
                                 to.stack == nullptr ? host_stack_bytes : kFiberStackBytes);
#endif
#if defined(__x86_64__) || defined(__aarch64__)
  electra_fiber_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
  arrived(fake_stack);
}

}  // namespace electra::emulator
