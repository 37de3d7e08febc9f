#pragma once
// Single-threaded matrix products: the built-in blocked kernel, or oneDNN's sgemm.

#include <cstdint>
#include <string>

namespace electra::cpu {

/// Products with a B that was packed beforehand, in panels of panel() columns.
class PackedProducts {
 public:
  virtual ~PackedProducts() = default;
  virtual int64_t panel() const = 0;
  /// Whether Gemm::multiply would copy such a B every time; what it reads in place is not worth packing.
  virtual bool worthwhile(bool transpose_b) const = 0;
  /// Copies op(B) = [depth, cols] into ceil(cols / panel) panels of [depth, panel] floats.
  virtual void pack(bool transpose_b, int64_t depth, int64_t cols, const float* b, int64_t ldb,
                    float* panels) const = 0;
  /// C[m, n] = (add ? C : 0) + A · B, the same bits as Gemm::multiply; k is the depth that B was packed with.
  virtual void multiply(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* panels,
                        bool add, float* c, int64_t ldc) const = 0;
};

/// C[m, n] = alpha · op(A) · op(B) + beta · C, row-major; op transposes if the flag is set (A is then stored
/// [k, m], B [n, k]). Zero dimensions are legal: m = 0 or n = 0 does nothing, k = 0 scales C by beta. Runs on
/// the calling thread only and may be called from several threads at once. beta = 0 never reads C.
class Gemm {
 public:
  virtual ~Gemm() = default;
  virtual void multiply(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                        const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
                        int64_t ldc) const = 0;
  /// How B can be packed once for many products; null for a provider that packs at every product.
  virtual const PackedProducts* packed() const { return nullptr; }
  /// "oneDNN 2.6.3" or "built-in avx512".
  virtual const std::string& name() const = 0;
};

/// The best provider of this machine, made once and kept for the life of the process (a library is never
/// closed). `choice`: "auto" (the environment's ELECTRA_GEMM, else the built-in kernel with AVX2 or AVX-512, else
/// oneDNN where it works), "onednn" (throws ERR_ELECTRA_GEMM with the reasons when it cannot be used) or
/// "built-in". `isa` chooses the built-in kernel, see kernel_table().
const Gemm& gemm_provider(const std::string& choice, const std::string& isa = "auto");

}  // namespace electra::cpu
