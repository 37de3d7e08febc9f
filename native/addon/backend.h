#pragma once
// Which hardware a session computes on.

#include <napi.h>

#include <memory>
#include <string>

#include "../cpu/cpu_operators.h"
#include "../operators.h"

namespace electra::addon {

/// What the shell has decided; `device` is one, never "auto".
struct BackendOptions {
  /// The first GPU that can be used.
  static constexpr int32_t kAnyGpu = -1;

  bool cuda = false;
  cpu::CpuOptions cpu;
  // Of CUDA.
  std::string library;    ///< path
  bool emulated = false;  ///< the library runs on the CPU
  int32_t ordinal = kAnyGpu;
  DType compute = DType::kFloat32;
};

/// { device: "cpu", threads, gemm, isa } or { device: "cuda", library, emulated, ordinal, precision }.
BackendOptions read_backend_options(Napi::Value value);

/// To be called on the thread that will use the operators: a GPU is current for a thread. Throws
/// ERR_ELECTRA_NO_CUDA where the GPU asked for cannot be used; the message's second line says what to do.
std::unique_ptr<Operators> make_operators(const BackendOptions& options);

}  // namespace electra::addon
