// Which kernel multiplies.
//
// cuBLASLt takes plain products, biases, and the tanh-GELU with its gradient, in the form of its own
// epilogues. Ours take what it lacks: the erf-GELU (the default) and the other activations would cost a pass
// of their own over d after its product, which with the short k of these layers is as long as the product
// itself; and everything where there is no cuBLASLt. The choice follows from shapes, types, strides and
// alignment alone.
//
// The library is column-major: a row-major matrix is its own transpose there, so d = op(a) · op(b) becomes
// dᵀ = op(b)ᵀ · op(a)ᵀ, with b as the library's A, and rows of its D are our columns: where biases and their
// gradients belong.
//
// Algorithms come from the library's heuristic, first choice, never from timing, and k is only cut in the way
// that adds partial results in a separate pass: the same run gives the same bits. A plan (descriptors and
// algorithm) is made once for each kind of product and kept.

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "cublaslt_api.h"
#include "device_views.h"
#include "gemm.h"
#include "kernels/gemm_kernels.h"

namespace electra::cuda {
namespace {

namespace lt = cublaslt;

constexpr size_t kOwnWorkspace = size_t{32} << 20;
constexpr size_t kOldestVersion = 120000;

/// The longest k for which an epilogue that the library lacks is worth our own product: with it the pass over
/// d costs more than what the library's product is faster.
constexpr int64_t kFusedDepth = 1024;

uint32_t alignment_of(const void* pointer) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  return address == 0 ? 256 : static_cast<uint32_t>(std::min<uintptr_t>(256, address & (~address + 1)));
}

lt::DataType type_of(DType dtype) { return dtype == DType::kFloat32 ? lt::kR32F : lt::kR16BF; }
const char* name_of(DType dtype) { return dtype == DType::kFloat32 ? "f32" : "bf16"; }

#if defined(ELECTRA_CUDA_EMULATED)
void enqueue_for_stand_in(lt::Stream stream, void (*work)(void*), void* argument, void (*release)(void*)) {
  const std::shared_ptr<void> owned(argument, release);
  ELECTRA_CUDA_CHECK(
      emulator::enqueue(static_cast<cudaStream_t>(stream), [work, owned] { work(owned.get()); }));
}
constexpr lt::StandInHost kStandInHost{&enqueue_for_stand_in, &emulator::is_device_memory};
#endif

/// The library, or why there is none.
struct Library {
  lt::Api api;
  lt::Handle handle = nullptr;
  size_t version = 0;
  std::string reason;

  /// Opens what ELECTRA_CUBLASLT names (an error if that fails), else what the loader finds. Never closed:
  /// other parts of the process may use it.
  Library() {
    const char* wish = std::getenv("ELECTRA_CUBLASLT");
    if (wish != nullptr && std::strcmp(wish, "built-in") == 0) {
      reason = "asked for";
      return;
    }
    const bool named = wish != nullptr && wish[0] != '\0';
    void* library = named ? dlopen(wish, RTLD_NOW | RTLD_LOCAL) : find();
    if (library == nullptr) {
      if (named) {
        const char* why = dlerror();
        throw EngineError("ERR_ELECTRA_CUDA", "ELECTRA_CUBLASLT names %s, which cannot be opened: %s", wish,
                          why != nullptr ? why : "unknown");
      }
      reason = "no libcublasLt";
      return;
    }
    if (!connect(library) && named)
      throw EngineError("ERR_ELECTRA_CUDA", "ELECTRA_CUBLASLT names %s, which cannot be used: %s", wish,
                        reason.c_str());
  }
  ~Library() {
    if (handle != nullptr) api.Destroy(handle);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

 private:
  static void* find() {
#if defined(ELECTRA_CUDA_EMULATED)
    return nullptr;  // the real one knows nothing of this device's memory
#else
    const char* const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    for (const char* name : names)
      if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
    for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
      const char* home = std::getenv(variable);
      if (home == nullptr) continue;
      for (const char* name : names)
        if (void* library = dlopen((std::string(home) + "/lib64/" + name).c_str(), RTLD_NOW | RTLD_LOCAL))
          return library;
    }
    return nullptr;
#endif
  }

  bool connect(void* library) {
#define ELECTRA_CUBLASLT_LOAD(name, result, parameters)                              \
  api.name = reinterpret_cast<decltype(api.name)>(dlsym(library, "cublasLt" #name)); \
  if (api.name == nullptr) {                                                         \
    reason = "libcublasLt has no cublasLt" #name;                                    \
    return false;                                                                    \
  }
    ELECTRA_CUBLASLT_FUNCTIONS(ELECTRA_CUBLASLT_LOAD)
#undef ELECTRA_CUBLASLT_LOAD
#if defined(ELECTRA_CUDA_EMULATED)
    const auto attach = reinterpret_cast<lt::StandInAttach>(dlsym(library, lt::kStandInAttach));
    if (attach == nullptr) {
      reason = "the emulated device wants the stand-in";
      return false;
    }
    attach(&kStandInHost);
#endif
    version = api.GetVersion();
    if (version < kOldestVersion) {
      reason = "libcublasLt " + std::to_string(version) + " is older than 12.0";
      return false;
    }
    const lt::Status status = api.Create(&handle);
    if (status != lt::kSuccess) {
      handle = nullptr;
      reason = std::string("cublasLtCreate: ") + api.GetStatusName(status);
      return false;
    }
    return true;
  }
};

/// Everything that a plan depends on.
using PlanKey = std::array<int64_t, 18>;

struct Plan {
  lt::MatmulDesc desc = nullptr;
  lt::MatrixLayout a = nullptr, b = nullptr, d = nullptr;
  lt::MatmulAlgo algo{};
  size_t workspace = 0;
  float waves = 0;
  bool usable = false;
};

}  // namespace

struct Gemm::Implementation {
  explicit Implementation(cudaStream_t stream_, int32_t multiprocessors_)
      : stream(stream_), multiprocessors(multiprocessors_) {
    if (library.handle != nullptr) {
      int device = 0, major = 0;
      ELECTRA_CUDA_CHECK(cudaGetDevice(&device));
      ELECTRA_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
      // What the library itself takes by default on these devices.
      library_bytes = (major >= 9 ? size_t{64} : size_t{32}) << 20;
      std::snprintf(name, sizeof(name), "cuBLASLt %zu.%zu.%zu", library.version / 10000,
                    library.version / 100 % 100, library.version % 100);
    }
    ELECTRA_CUDA_CHECK(cudaMalloc(&memory, library_bytes + kOwnWorkspace));
    own = {static_cast<char*>(memory) + library_bytes, kOwnWorkspace};
  }
  ~Implementation() {
    for (auto& [key, plan] : plans) destroy(plan);
    cudaFree(memory);
  }
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  void destroy(Plan& plan) {
    if (plan.a != nullptr) library.api.MatrixLayoutDestroy(plan.a);
    if (plan.b != nullptr) library.api.MatrixLayoutDestroy(plan.b);
    if (plan.d != nullptr) library.api.MatrixLayoutDestroy(plan.d);
    if (plan.desc != nullptr) library.api.MatmulDescDestroy(plan.desc);
    plan = Plan{};
  }

  /// Throws with the product's shapes unless the call went well.
  void check(lt::Status status, const char* call, const Product& p) const {
    if (status == lt::kSuccess) return;
    const char* status_name = library.api.GetStatusName(status);
    throw EngineError(
        "ERR_ELECTRA_CUDA",
        "%s: %s for [%lld, %lld]%s (%s, stride %lld) times [%lld, %lld]%s (stride %lld) into [%lld, "
        "%lld] (%s, stride %lld)",
        call, status_name != nullptr ? status_name : "unknown status", static_cast<long long>(p.a.rows),
        static_cast<long long>(p.a.cols), p.transpose_a ? " transposed" : "", name_of(p.a.dtype),
        static_cast<long long>(p.a.stride), static_cast<long long>(p.b.rows),
        static_cast<long long>(p.b.cols), p.transpose_b ? " transposed" : "",
        static_cast<long long>(p.b.stride), static_cast<long long>(p.d.rows),
        static_cast<long long>(p.d.cols), name_of(p.d.dtype), static_cast<long long>(p.d.stride));
  }

  template <typename T>
  void set(const Plan& plan, lt::MatmulDescAttribute attribute, T value, const Product& p) const {
    check(library.api.MatmulDescSetAttribute(plan.desc, attribute, &value, sizeof(value)),
          "cublasLtMatmulDescSetAttribute", p);
  }

  /// The library's epilogue for what it is to do itself of a product.
  struct Work {
    lt::EpilogueKind epilogue = lt::kEpilogueDefault;
    const void* vector = nullptr;  // bias, or where a bias gradient is written
  };

  void point(const Plan& plan, const Product& p, const Work& work) const {
    if (work.vector != nullptr) set(plan, lt::kDescBiasPointer, work.vector, p);
    if (uses_aux(work.epilogue)) set(plan, lt::kDescEpilogueAuxPointer, static_cast<const void*>(p.aux), p);
  }
  static bool uses_aux(lt::EpilogueKind epilogue) { return (epilogue & 128) != 0; }

  Plan& plan_for(const Product& p, const Work& work) {
    const bool aux = uses_aux(work.epilogue);
    const PlanKey key{p.a.rows,
                      p.a.cols,
                      p.a.stride,
                      p.transpose_a,
                      p.b.rows,
                      p.b.cols,
                      p.b.stride,
                      p.transpose_b,
                      p.d.stride,
                      static_cast<int64_t>(p.a.dtype),
                      static_cast<int64_t>(p.d.dtype),
                      p.add,
                      static_cast<int64_t>(work.epilogue),
                      aux ? p.aux_stride : 0,
                      alignment_of(p.a.data) | static_cast<int64_t>(alignment_of(p.b.data)) << 16,
                      alignment_of(p.d.data),
                      alignment_of(work.vector),
                      aux ? alignment_of(p.aux) : 0};
    const auto found = plans.find(key);
    if (found != plans.end()) return found->second;
    Plan plan;
    try {
      make_plan(plan, p, work);
    } catch (...) {
      destroy(plan);
      throw;
    }
    return plans.emplace(key, plan).first->second;
  }

  void make_plan(Plan& plan, const Product& p, const Work& work) const {
    const lt::Api& api = library.api;
    check(api.MatmulDescCreate(&plan.desc, lt::kCompute32F, lt::kR32F), "cublasLtMatmulDescCreate", p);
    set(plan, lt::kDescTransA, static_cast<int32_t>(p.transpose_b ? lt::kOpT : lt::kOpN), p);
    set(plan, lt::kDescTransB, static_cast<int32_t>(p.transpose_a ? lt::kOpT : lt::kOpN), p);
    set(plan, lt::kDescEpilogue, static_cast<uint32_t>(work.epilogue), p);
    if (uses_aux(work.epilogue)) set(plan, lt::kDescEpilogueAuxLd, p.aux_stride, p);
    point(plan, p, work);
    const auto layout = [&](lt::MatrixLayout* to, const Matrix& matrix) {
      check(api.MatrixLayoutCreate(to, type_of(matrix.dtype), static_cast<uint64_t>(matrix.cols),
                                   static_cast<uint64_t>(matrix.rows), matrix.stride),
            "cublasLtMatrixLayoutCreate", p);
    };
    layout(&plan.a, p.b);
    layout(&plan.b, p.a);
    layout(&plan.d, p.d);

    lt::MatmulPreference preference = nullptr;
    check(api.MatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate", p);
    const std::unique_ptr<void, lt::Status (*)(lt::MatmulPreference)> owned(preference,
                                                                            api.MatmulPreferenceDestroy);
    const auto prefer = [&](lt::MatmulPreferenceAttribute attribute, auto value) {
      check(api.MatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
            "cublasLtMatmulPreferenceSetAttribute", p);
    };
    prefer(lt::kPreferenceMaxWorkspaceBytes, static_cast<uint64_t>(library_bytes));
    prefer(lt::kPreferenceReductionSchemeMask, static_cast<uint32_t>(lt::kReductionComputeType));
    prefer(lt::kPreferenceMinAlignmentABytes, alignment_of(p.b.data));
    prefer(lt::kPreferenceMinAlignmentBBytes, alignment_of(p.a.data));
    prefer(lt::kPreferenceMinAlignmentCBytes, alignment_of(p.d.data));
    prefer(lt::kPreferenceMinAlignmentDBytes, alignment_of(p.d.data));

    lt::MatmulHeuristicResult results[4] = {};
    int count = 0;
    const lt::Status status = api.MatmulAlgoGetHeuristic(library.handle, plan.desc, plan.a, plan.b, plan.d,
                                                         plan.d, preference, 4, results, &count);
    // No algorithm is an answer, too: NOT_SUPPORTED, or none at all.
    if (status != lt::kSuccess && status != lt::kNotSupported && status != lt::kInvalidValue)
      check(status, "cublasLtMatmulAlgoGetHeuristic", p);
    if (status != lt::kSuccess) return;
    for (int i = 0; i < count && !plan.usable; ++i) {
      if (results[i].state != lt::kSuccess || results[i].workspace_size > library_bytes) continue;
      plan.algo = results[i].algo;
      plan.workspace = results[i].workspace_size;
      plan.waves = results[i].waves_count;
      plan.usable = true;
    }
  }

  void run(const Plan& plan, const Product& p, const Work& work) const {
    point(plan, p, work);
    const float alpha = 1, beta = p.add ? 1 : 0;
    check(library.api.Matmul(library.handle, plan.desc, &alpha, p.b.data, plan.a, p.a.data, plan.b, &beta,
                             p.d.data, plan.d, p.d.data, plan.d, &plan.algo, memory, library_bytes, stream),
          "cublasLtMatmul", p);
  }

  /// What the library can do of the product's epilogue, and whether that is all of it (but for column sums).
  Work work_of(const Product& p, bool* whole) const {
    Work work;
    *whole = true;
    const bool narrow = p.d.dtype == DType::kBFloat16;
    const void* const bias = narrow ? static_cast<const void*>(p.narrow_bias) : p.bias;
    // Its vectors are read 16 bytes at a time.
    const bool bias_fits = bias != nullptr && alignment_of(bias) >= 16;
    const bool aux_fits = p.aux != nullptr && alignment_of(p.aux) >= 16 && p.aux_stride % 8 == 0;
    switch (p.epilogue) {
      case Epilogue::kNone:
        break;
      case Epilogue::kBias:
        *whole = bias_fits;
        if (bias_fits) work = {lt::kEpilogueBias, bias};
        break;
      case Epilogue::kActivation:
        // f32 is the parity mode, and the library's tanh is an approximation.
        *whole =
            narrow && p.activation == Activation::kGeluTanh && aux_fits && (p.bias == nullptr || bias_fits);
        if (*whole) {
          work.epilogue = p.bias != nullptr ? lt::kEpilogueGeluAuxBias : lt::kEpilogueGeluAux;
          work.vector = p.bias != nullptr ? bias : nullptr;
        }
        break;
      case Epilogue::kActivationGradient:
        *whole = narrow && p.activation == Activation::kGeluTanh && aux_fits;
        if (*whole) work.epilogue = lt::kEpilogueDGelu;
        break;
    }
    return work;
  }

  /// Whether the library takes the product at all, and then its plan.
  Plan* library_plan(const Product& p, const Work& work) {
    if (library.handle == nullptr || p.d.rows == 0 || p.d.cols == 0 || p.a.rows == 0 || p.a.cols == 0)
      return nullptr;
    Plan& plan = plan_for(p, work);
    return plan.usable ? &plan : nullptr;
  }

  void multiply(const Product& p) {
    const ProductShape shape = check_product(p);
    bool whole = false;
    Work work = work_of(p, &whole);
    if (library.handle == nullptr || (!whole && shape.k <= kFusedDepth && finishes_itself(p)))
      return multiply_built_in(p, own, multiprocessors, stream);

    // Vectors that the library writes in d's type, beside its product; added to the f32 ones afterwards.
    void* const vector = own.memory;
    const size_t vector_bytes = (static_cast<size_t>(shape.n) * sizeof(float) + 255) / 256 * 256;
    if (p.column_sums_of_b != nullptr && p.d.dtype == DType::kFloat32 &&
        work.epilogue == lt::kEpilogueDefault && whole && vector_bytes < own.bytes) {
      const Work summing{lt::kEpilogueBGradA, vector};
      Plan* plain = library_plan(p, work);
      Plan* summed = library_plan(p, summing);
      // With the sums the library may be unable to cut k and leave most of the device idle: it says so in
      // waves.
      if (summed != nullptr && plain != nullptr && summed->waves >= 0.5f * std::min(1.0f, plain->waves)) {
        run(*summed, p, summing);
        add_vector(vector, p.d.dtype, shape.n, p.column_sums_of_b);
        if (p.column_sums != nullptr) add_column_sums(p.d, p.column_sums, own, stream);
        return;
      }
    }
    if (p.column_sums_of_b != nullptr) add_column_sums(p.b, p.column_sums_of_b, own, stream);
    Product rest = p;
    rest.column_sums_of_b = nullptr;
    if (work.epilogue == lt::kEpilogueDGelu && p.column_sums != nullptr && vector_bytes < own.bytes) {
      const Work summing{lt::kEpilogueDGeluBGrad, vector};
      if (Plan* plan = library_plan(p, summing)) {
        run(*plan, p, summing);
        return add_vector(vector, p.d.dtype, shape.n, p.column_sums);
      }
    }
    Plan* plan = library_plan(p, work);
    if (plan == nullptr && work.epilogue != lt::kEpilogueDefault && !finishes_itself(p)) {
      work = Work{};
      whole = false;
      plan = library_plan(p, work);
    }
    if (plan == nullptr) return multiply_built_in(rest, own, multiprocessors, stream);
    run(*plan, p, work);
    rest.add = false;  // d has been added already, and a bias may follow it
    if (!whole)
      finish_product(rest, own, stream);
    else if (p.column_sums != nullptr)
      add_column_sums(p.d, p.column_sums, own, stream);
  }

  void add_vector(const void* vector, DType dtype, int64_t size, float* into) const {
    if (dtype == DType::kFloat32)
      return add_partials(static_cast<const float*>(vector), 1, size, into, stream);
    const Matrix row{const_cast<void*>(vector), 1, size, size, dtype};
    add_column_sums(row, into, {static_cast<char*>(own.memory) + own.bytes / 2, own.bytes / 2}, stream);
  }

  cudaStream_t stream;
  int32_t multiprocessors;
  Library library;
  size_t library_bytes = 0;
  void* memory = nullptr;
  GemmWorkspace own;
  char name[40] = "built-in";
  std::map<PlanKey, Plan> plans;
};

Gemm::Gemm(cudaStream_t stream, int32_t multiprocessors)
    : implementation_(std::make_unique<Implementation>(stream, multiprocessors)) {}
Gemm::~Gemm() = default;

const char* Gemm::name() const { return implementation_->name; }
const char* Gemm::reason() const { return implementation_->library.reason.c_str(); }
size_t Gemm::workspace_bytes() const { return implementation_->library_bytes + kOwnWorkspace; }

bool Gemm::supports(const Product& product) {
  if (implementation_->library.handle == nullptr || finishes_itself(product)) return true;
  bool whole = false;
  implementation_->work_of(product, &whole);
  return whole;
}

void Gemm::multiply(const Product& product) { implementation_->multiply(product); }

}  // namespace electra::cuda
