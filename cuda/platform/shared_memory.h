#pragma once
// Declarations of shared memory.

#include "runtime_header.h"

/// A static array for each block: ELECTRA_SHARED(float, sums, 32). `Type` may be an alias of an array type
/// (and must be an alias where it contains a comma); it has no constructor. Emulated, the array is filled
/// with 0xFF at its first use in a block, and `name` is a reference to it.
///
/// ELECTRA_DYNAMIC_SHARED(Type, name): a pointer to the launch's dynamic shared memory, aligned to 128 bytes.
#if defined(ELECTRA_CUDA_EMULATED)
#define ELECTRA_SHARED(Type, name, count)                                                    \
  static ::electra::emulator::SharedSlot electra_shared_slot_##name;                         \
  using electra_shared_type_##name = Type;                                                   \
  electra_shared_type_##name(&name)[count] =                                                 \
      *static_cast<electra_shared_type_##name(*)[count]>(::electra::emulator::static_shared( \
          electra_shared_slot_##name, sizeof(Type) * static_cast<size_t>(count), alignof(Type), #name))
#define ELECTRA_DYNAMIC_SHARED(Type, name) \
  Type* const name = reinterpret_cast<Type*>(::electra::emulator::dynamic_shared(#name))
#else
#define ELECTRA_SHARED(Type, name, count) __shared__ Type name[count]
#define ELECTRA_DYNAMIC_SHARED(Type, name)                                 \
  extern __shared__ __align__(128) unsigned char electra_dynamic_shared[]; \
  Type* const name = reinterpret_cast<Type*>(electra_dynamic_shared)
#endif
