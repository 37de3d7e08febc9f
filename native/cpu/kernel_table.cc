#include "kernel_table.h"

#include <cstdlib>

#include "../engine_error.h"

#if defined(__x86_64__)
#define ELECTRA_X86_LEVELS 1
#endif

namespace electra::cpu {

#define ELECTRA_DECLARE_LEVEL(level)    \
  namespace level {                     \
  void fill(DenseKernels& kernels);     \
  void fill(NormKernels& kernels);      \
  void fill(AttentionKernels& kernels); \
  }
ELECTRA_DECLARE_LEVEL(baseline)
#if defined(ELECTRA_X86_LEVELS)
ELECTRA_DECLARE_LEVEL(avx2)
ELECTRA_DECLARE_LEVEL(avx512)
#endif
#undef ELECTRA_DECLARE_LEVEL

namespace {

// The compiler's run-time checks include the operating system's support of the registers (XGETBV).
bool can_run(const std::string& level) {
#if defined(ELECTRA_X86_LEVELS)
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (level == "avx2") return avx2;
  if (level == "avx512")
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
  return level == "baseline";
}

template <typename Fill>
KernelTable filled(const Fill& fill) {
  KernelTable table{};
  fill(table);
  return table;
}

}  // namespace

const KernelTable& kernel_table(const std::string& choice, std::string* name) {
  std::string level = choice;
  if (level.empty() || level == "auto") {
    const char* environment = std::getenv("ELECTRA_ISA");
    level = environment != nullptr && *environment != '\0' ? environment : "auto";
  }
  if (level == "auto") level = can_run("avx512") ? "avx512" : can_run("avx2") ? "avx2" : "baseline";
  if (level != "avx512" && level != "avx2" && level != "baseline")
    throw EngineError("ERR_ELECTRA_ISA", "unknown instruction set \"%s\": auto, avx512, avx2 or baseline",
                      level.c_str());
  if (!can_run(level))
    throw EngineError("ERR_ELECTRA_ISA", "this processor, or its operating system, cannot run %s kernels",
                      level.c_str());
  if (name != nullptr) *name = level;

#define ELECTRA_LEVEL_TABLE(level)                               \
  {                                                              \
    static const KernelTable table = filled([](KernelTable& t) { \
      level::fill(t.dense);                                      \
      level::fill(t.norm);                                       \
      level::fill(t.attention);                                  \
    });                                                          \
    return table;                                                \
  }
#if defined(ELECTRA_X86_LEVELS)
  if (level == "avx512") ELECTRA_LEVEL_TABLE(avx512)
  if (level == "avx2") ELECTRA_LEVEL_TABLE(avx2)
#endif
  ELECTRA_LEVEL_TABLE(baseline)
#undef ELECTRA_LEVEL_TABLE
}

}  // namespace electra::cpu
