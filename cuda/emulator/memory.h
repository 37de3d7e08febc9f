#pragma once
// Device and pinned memory of the emulated runtime. Device memory ends at a guard page; what little lies
// between is filled with canaries. Damage ends the process with a message: the program's memory is not to be
// trusted then.

#include <cstddef>

namespace electra::emulator {

/// Filled with 0xFF, 256-byte aligned; null when the device is full or a failure was asked for.
void* allocate_device(size_t bytes);
void free_device(void* memory);
void* allocate_pinned(size_t bytes);
void free_pinned(void* memory);

/// Looks at all canaries; `when` is the kernel that ran last.
void check_memory(const char* when);

/// Makes a fault inside a kernel say which block and thread it was, and which allocation is nearest.
void install_fault_handler();

}  // namespace electra::emulator
