#include "gemm.h"

#include <dlfcn.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "../engine_error.h"
#include "kernel_table.h"

namespace electra::cpu {
namespace {

/// What the C interface promises of dnnl_version(); the same in versions 2 and 3.
struct OnednnVersion {
  int major, minor, patch;
  const char* hash;
  unsigned cpu_runtime, gpu_runtime;
};
constexpr unsigned kRuntimeSequential = 1, kRuntimeOpenmp = 2;
using VersionFunction = const OnednnVersion* (*)();
using SgemmFunction = int (*)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t,
                              const float*, int64_t, float, float*, int64_t);
using SetThreadsFunction = void (*)(int);

/// The products that no library need see: nothing to do, or nothing but a scaling of C.
bool trivial(int64_t m, int64_t n, int64_t k, float beta, float* c, int64_t ldc) {
  if (m <= 0 || n <= 0) return true;
  if (k > 0) return false;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == 0 ? 0.0f : beta * c[i * ldc + j];
  return true;
}

class Onednn final : public Gemm {
 public:
  Onednn(SgemmFunction sgemm, SetThreadsFunction set_threads, std::string name)
      : sgemm_(sgemm), set_threads_(set_threads), name_(std::move(name)) {}

  void multiply(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
                int64_t ldc) const override {
    if (trivial(m, n, k, beta, c, ldc)) return;
    if (set_threads_ != nullptr) {
      // The number of OpenMP threads belongs to the calling thread, so every one of ours sets it once.
      static thread_local bool set = false;
      if (!set) {
        set_threads_(1);
        set = true;
      }
    }
    const int status = sgemm_(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, alpha, a, lda, b,
                              ldb, beta, c, ldc);
    if (status != 0)
      throw EngineError("ERR_ELECTRA_GEMM", "%s refused a product %lld x %lld x %lld (status %d)",
                        name_.c_str(), static_cast<long long>(m), static_cast<long long>(n),
                        static_cast<long long>(k), status);
  }
  const std::string& name() const override { return name_; }

 private:
  SgemmFunction sgemm_;
  SetThreadsFunction set_threads_;
  std::string name_;
};

class BuiltIn final : public Gemm, public PackedProducts {
 public:
  BuiltIn(const DenseKernels& kernels, const std::string& isa)
      : kernels_(kernels), name_("built-in " + isa) {}

  void multiply(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
                int64_t ldc) const override {
    if (trivial(m, n, k, beta, c, ldc)) return;
    kernels_.matmul(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, scratch());
  }
  const PackedProducts* packed() const override { return this; }

  int64_t panel() const override { return kernels_.matmul_panel; }
  bool worthwhile(bool transpose_b) const override { return kernels_.matmul_wants_panels(transpose_b); }
  void pack(bool transpose_b, int64_t depth, int64_t cols, const float* b, int64_t ldb,
            float* panels) const override {
    kernels_.matmul_pack(transpose_b, b, ldb, depth, cols, panels);
  }
  void multiply(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* panels, bool add,
                float* c, int64_t ldc) const override {
    if (trivial(m, n, k, add ? 1.0f : 0.0f, c, ldc)) return;
    kernels_.matmul_packed(m, n, k, a, lda, panels, add, c, ldc, scratch());
  }

  const std::string& name() const override { return name_; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  /// Memory for copies of the calling thread, made at its first product and kept until the thread ends.
  float* scratch() const {
    static thread_local std::unique_ptr<float, Free> memory;
    static thread_local size_t size = 0;
    if (size < kernels_.matmul_floats) {
      memory.reset(static_cast<float*>(std::aligned_alloc(64, (kernels_.matmul_floats * 4 + 63) / 64 * 64)));
      if (!memory)
        throw EngineError("ERR_ELECTRA_OUT_OF_MEMORY",
                          "no memory for the copies of matrix products (%zu bytes)",
                          kernels_.matmul_floats * 4);
      size = kernels_.matmul_floats;
    }
    return memory.get();
  }

  const DenseKernels& kernels_;
  std::string name_;
};

/// Whether the provider multiplies as we mean it: row-major, transposition, leading dimensions, alpha and
/// beta.
bool verified(const Gemm& gemm) {
  constexpr int m = 5, n = 19, k = 7, pad = 3;
  for (int flags = 0; flags < 4; ++flags) {
    const bool ta = (flags & 1) != 0, tb = (flags & 2) != 0;
    const int lda = (ta ? m : k) + pad, ldb = (tb ? k : n) + pad, ldc = n + pad;
    float a[(k + m) * (k + m + pad)], b[(k + n) * (k + n + pad)], c[m * (n + pad)], expected[m * (n + pad)];
    for (int i = 0; i < (k + m) * (k + m + pad); ++i) a[i] = static_cast<float>(i * 7 % 11 - 5);
    for (int i = 0; i < (k + n) * (k + n + pad); ++i) b[i] = static_cast<float>(i * 5 % 13 - 6);
    for (int i = 0; i < m * ldc; ++i) expected[i] = c[i] = static_cast<float>(i % 9 - 4);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int p = 0; p < k; ++p)
          sum += a[ta ? p * lda + i : i * lda + p] * b[tb ? j * ldb + p : p * ldb + j];
        expected[i * ldc + j] = 2 * sum + 0.5f * expected[i * ldc + j];
      }
    gemm.multiply(ta, tb, m, n, k, 2, a, lda, b, ldb, 0.5f, c, ldc);
    for (int i = 0; i < m * ldc; ++i)
      if (!(std::fabs(c[i] - expected[i]) <= 1e-3f)) return false;  // all sums are exact in f32
  }
  return true;
}

/// oneDNN, or null and the reasons in `why`.
std::unique_ptr<Gemm> open_onednn(std::string* why) {
  const char* const files[] = {"libdnnl.so.3", "libdnnl.so.2", "libdnnl.3.dylib", "libdnnl.2.dylib"};
  for (const char* file : files) {
#if defined(__APPLE__)
    if (std::strstr(file, "dylib") == nullptr) continue;
#else
    if (std::strstr(file, "dylib") != nullptr) continue;
#endif
    if (!why->empty()) *why += "; ";
    void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      const char* reason = dlerror();
      *why += reason != nullptr ? reason : file;
      continue;
    }
    const auto version = reinterpret_cast<VersionFunction>(dlsym(library, "dnnl_version"));
    const auto sgemm = reinterpret_cast<SgemmFunction>(dlsym(library, "dnnl_sgemm"));
    if (version == nullptr || sgemm == nullptr) {
      *why += std::string(file) + " has no dnnl_sgemm";
      continue;
    }
    const OnednnVersion& v = *version();
    if (v.cpu_runtime != kRuntimeSequential && v.cpu_runtime != kRuntimeOpenmp) {
      *why += std::string(file) + " was built with its own thread pool, not with OpenMP";
      continue;
    }
    // On the handle: the search also covers the library's dependencies, where libgomp is; RTLD_DEFAULT would
    // not.
    const auto set_threads = reinterpret_cast<SetThreadsFunction>(dlsym(library, "omp_set_num_threads"));
    if (v.cpu_runtime == kRuntimeOpenmp && set_threads == nullptr) {
      *why += std::string(file) + " uses OpenMP, but omp_set_num_threads cannot be found";
      continue;
    }
    char name[48];
    std::snprintf(name, sizeof(name), "oneDNN %d.%d.%d", v.major, v.minor, v.patch);
    auto gemm =
        std::make_unique<Onednn>(sgemm, v.cpu_runtime == kRuntimeOpenmp ? set_threads : nullptr, name);
    if (!verified(*gemm)) {
      *why += std::string(file) + " gave a wrong product in a small test";
      continue;
    }
    return gemm;
  }
  return nullptr;
}

/// Providers made so far, by choice and instruction set.
struct Providers {
  std::mutex mutex;
  bool tried = false;
  std::unique_ptr<Gemm> onednn;
  std::string why_not;
  std::map<std::string, std::unique_ptr<Gemm>> built_in;
};
Providers& providers() {
  static Providers* all =
      new Providers;  // never destroyed: a worker may still multiply while the process ends
  return *all;
}

}  // namespace

const Gemm& gemm_provider(const std::string& choice, const std::string& isa) {
  std::string wanted = choice;
  if (wanted.empty() || wanted == "auto") {
    const char* environment = std::getenv("ELECTRA_GEMM");
    wanted = environment != nullptr && *environment != '\0' ? environment : "auto";
  }
  if (wanted != "auto" && wanted != "onednn" && wanted != "built-in")
    throw EngineError("ERR_ELECTRA_GEMM", "unknown matrix-product provider \"%s\": auto, onednn or built-in",
                      wanted.c_str());
  Providers& p = providers();
  const std::lock_guard<std::mutex> lock(p.mutex);
  std::string level;
  const KernelTable& kernels = kernel_table(isa, &level);
  if (wanted == "onednn" || (wanted == "auto" && level == "baseline")) {
    if (!p.tried) {
      p.onednn = open_onednn(&p.why_not);
      p.tried = true;
    }
    if (p.onednn) return *p.onednn;
    if (wanted == "onednn")
      throw EngineError("ERR_ELECTRA_GEMM", "oneDNN cannot be used: %s", p.why_not.c_str());
  }
  std::unique_ptr<Gemm>& built_in = p.built_in[level];
  if (!built_in) built_in = std::make_unique<BuiltIn>(kernels.dense, level);
  return *built_in;
}

}  // namespace electra::cpu
