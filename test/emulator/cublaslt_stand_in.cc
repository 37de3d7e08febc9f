// A stand-in for libcublasLt, for tests without a GPU: the functions that cuda/gemm.cu uses, on the emulated
// device's memory, which is the host's. It is strict where the library is strict (types, dimensions, leading
// dimensions, which epilogue goes with what, alignment) and where the library would silently go wrong: an
// algorithm is only good for the kind of product it was asked for.
//
// Order: a library's work takes its place in a stream, runs late, and is recorded into graphs. The Gemm,
// built for the emulator, hands over a function that does so (StandInHost in cuda/cublaslt_api.h);
// cublasLtMatmul copies what it needs of its descriptors into a piece of work and enqueues that. Bias, aux
// and workspace pointers are read from the descriptor when cublasLtMatmul is called, as the library does.
//
// Products are sums in f32, in order of k.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "cublaslt_api.h"

namespace lt = electra::cublaslt;

namespace {

const lt::StandInHost* host = nullptr;

struct Layout {
  lt::DataType type;
  int64_t rows, cols, ld;
};
struct Desc {
  lt::ComputeType compute;
  lt::DataType scale;
  int32_t trans_a = lt::kOpN, trans_b = lt::kOpN;
  uint32_t epilogue = lt::kEpilogueDefault;
  void* bias = nullptr;
  void* aux = nullptr;
  int64_t aux_ld = 0;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t reduction = 7;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

/// What is in an algorithm: the product it was asked for.
struct Ticket {
  uint64_t magic;
  uint64_t hash;
  uint32_t alignment[4];
  uint64_t workspace;
};
constexpr uint64_t kMagic = 0x454C454354524131ull;
static_assert(sizeof(Ticket) <= sizeof(lt::MatmulAlgo), "fits");

size_t size_of(lt::DataType type) { return type == lt::kR32F ? 4 : 2; }

float load(const void* memory, lt::DataType type, int64_t index) {
  if (type == lt::kR32F) return static_cast<const float*>(memory)[index];
  const uint32_t word = static_cast<uint32_t>(static_cast<const uint16_t*>(memory)[index]) << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}
void store(void* memory, lt::DataType type, int64_t index, float value) {
  if (type == lt::kR32F) {
    static_cast<float*>(memory)[index] = value;
    return;
  }
  uint32_t word;
  std::memcpy(&word, &value, sizeof(word));
  const bool nan = (word & 0x7FFFFFFFu) > 0x7F800000u;
  static_cast<uint16_t*>(memory)[index] =
      static_cast<uint16_t>(nan ? 0x7FFFu : (word + 0x7FFFu + ((word >> 16) & 1u)) >> 16);
}

bool has_aux(uint32_t epilogue) { return (epilogue & 128u) != 0; }
bool has_vector(uint32_t epilogue) {
  return epilogue == lt::kEpilogueBias || epilogue == lt::kEpilogueGeluAuxBias ||
         epilogue == lt::kEpilogueDGeluBGrad || epilogue == lt::kEpilogueBGradA;
}

uint64_t hash_of(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  uint64_t hash = 1469598103934665603ull;
  const auto mix = [&hash](int64_t value) {
    hash = (hash ^ static_cast<uint64_t>(value)) * 1099511628211ull;
  };
  for (const Layout* layout : {&a, &b, &c, &d}) {
    mix(layout->type), mix(layout->rows), mix(layout->cols), mix(layout->ld);
  }
  mix(desc.trans_a), mix(desc.trans_b), mix(desc.epilogue), mix(has_aux(desc.epilogue) ? desc.aux_ld : 0);
  return hash;
}

/// Whether the library would take the product, from all but the matrices' addresses.
lt::Status judge(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const bool turn_a = desc.trans_a == lt::kOpT, turn_b = desc.trans_b == lt::kOpT;
  const int64_t m = turn_a ? a.cols : a.rows, k = turn_a ? a.rows : a.cols;
  const int64_t n = turn_b ? b.rows : b.cols, b_k = turn_b ? b.cols : b.rows;
  if (m != d.rows || n != d.cols || k != b_k || c.rows != d.rows || c.cols != d.cols || c.type != d.type ||
      m == 0 || n == 0 || k == 0)
    return lt::kInvalidValue;
  for (const Layout* layout : {&a, &b, &c, &d})
    if (layout->ld < layout->rows) return lt::kInvalidValue;
  if (desc.compute != lt::kCompute32F || desc.scale != lt::kR32F) return lt::kNotSupported;
  if (a.type != b.type || (d.type != a.type && d.type != lt::kR32F)) return lt::kNotSupported;
  switch (desc.epilogue) {
    case lt::kEpilogueDefault:
      break;
    case lt::kEpilogueBias:
      break;
    case lt::kEpilogueGeluAux:
    case lt::kEpilogueGeluAuxBias:
    case lt::kEpilogueDGelu:
    case lt::kEpilogueDGeluBGrad:
      if (desc.aux_ld % 8 != 0 || desc.aux_ld < m) return lt::kNotSupported;
      if (reinterpret_cast<uintptr_t>(desc.aux) % 16 != 0) return lt::kNotSupported;
      break;
    case lt::kEpilogueBGradA:
      if (turn_a) return lt::kNotSupported;
      break;
    default:
      return lt::kNotSupported;
  }
  if (has_vector(desc.epilogue) && reinterpret_cast<uintptr_t>(desc.bias) % 16 != 0) return lt::kNotSupported;
  return lt::kSuccess;
}

/// A matrix to be read as [k][width], width contiguous.
std::vector<float> packed(const void* memory, const Layout& layout, bool along_rows) {
  std::vector<float> values(static_cast<size_t>(layout.rows * layout.cols));
  for (int64_t j = 0; j < layout.cols; ++j)
    for (int64_t i = 0; i < layout.rows; ++i)
      values[static_cast<size_t>(along_rows ? j * layout.rows + i : i * layout.cols + j)] =
          load(memory, layout.type, i + j * layout.ld);
  return values;
}

struct Work {
  Desc desc;
  Layout a, b, d;
  const void *a_data, *b_data, *c_data;
  void* d_data;
  int64_t c_ld;
  float alpha, beta;
  void* workspace;
  size_t workspace_bytes;

  static void run(void* self) { static_cast<const Work*>(self)->run(); }
  static void release(void* self) { delete static_cast<Work*>(self); }

  void run() const {
    const int64_t m = d.rows, n = d.cols, k = desc.trans_a == lt::kOpT ? a.rows : a.cols;
    // The library writes where it likes in the workspace it asked for.
    if (workspace_bytes > 0) std::memset(workspace, 0xA5, workspace_bytes);
    const std::vector<float> as = packed(a_data, a, desc.trans_a == lt::kOpN);  // [k][m]
    const std::vector<float> bs = packed(b_data, b, desc.trans_b == lt::kOpT);  // [k][n]
    const bool sums = desc.epilogue == lt::kEpilogueDGeluBGrad;
    std::vector<float> row_sums(static_cast<size_t>(m), 0.0f), sum(static_cast<size_t>(m));
    for (int64_t j = 0; j < n; ++j) {
      std::fill(sum.begin(), sum.end(), 0.0f);
      float* const to = sum.data();
      for (int64_t l = 0; l < k; ++l) {
        const float factor = bs[static_cast<size_t>(l * n + j)];
        const float* const from = as.data() + l * m;
        for (int64_t i = 0; i < m; ++i) to[i] += factor * from[i];
      }
      for (int64_t i = 0; i < m; ++i) {
        float value = alpha * to[i];
        if (beta != 0) value += beta * load(c_data, d.type, i + j * c_ld);
        if (desc.epilogue == lt::kEpilogueBias || desc.epilogue == lt::kEpilogueGeluAuxBias)
          value += load(desc.bias, d.type, i);
        if (desc.epilogue == lt::kEpilogueGeluAux || desc.epilogue == lt::kEpilogueGeluAuxBias) {
          store(desc.aux, d.type, i + j * desc.aux_ld, value);
          const float u = 0.797884561f * (value + 0.044715f * value * value * value);
          value = 0.5f * value * (1 + std::tanh(u));
        }
        if (desc.epilogue == lt::kEpilogueDGelu || sums) {
          const float x = load(desc.aux, d.type, i + j * desc.aux_ld);
          const float t = std::tanh(0.797884561f * (x + 0.044715f * x * x * x));
          value *= 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.797884561f * (1 + 3 * 0.044715f * x * x);
          row_sums[static_cast<size_t>(i)] += value;
        }
        store(d_data, d.type, i + j * d.ld, value);
      }
    }
    if (sums)
      for (int64_t i = 0; i < m; ++i) store(desc.bias, d.type, i, row_sums[static_cast<size_t>(i)]);
    if (desc.epilogue == lt::kEpilogueBGradA) {
      for (int64_t i = 0; i < m; ++i) {
        float total = 0;
        for (int64_t l = 0; l < k; ++l) total += as[static_cast<size_t>(l * m + i)];
        store(desc.bias, d.type, i, total);
      }
    }
  }
};

bool is_aligned(const void* memory, uint32_t bytes) {
  return reinterpret_cast<uintptr_t>(memory) % bytes == 0;
}

bool lies_on_device(const void* memory, const Layout& layout) {
  const int64_t elements = (layout.cols - 1) * layout.ld + layout.rows;
  return host->is_device_memory(memory, static_cast<size_t>(elements) * size_of(layout.type));
}

template <typename T>
lt::Status set(T* to, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof(T)) return lt::kInvalidValue;
  std::memcpy(to, value, sizeof(T));
  return lt::kSuccess;
}

}  // namespace

#define STAND_IN extern "C" __attribute__((visibility("default")))

STAND_IN void electra_stand_in_attach(const lt::StandInHost* given) { host = given; }

STAND_IN lt::Status cublasLtCreate(lt::Handle* handle) {
  if (host == nullptr) return lt::kNotInitialized;
  *handle = new int(1);
  return lt::kSuccess;
}
STAND_IN lt::Status cublasLtDestroy(lt::Handle handle) {
  delete static_cast<int*>(handle);
  return lt::kSuccess;
}
STAND_IN size_t cublasLtGetVersion() { return 130101; }
STAND_IN const char* cublasLtGetStatusName(lt::Status status) {
  switch (status) {
    case lt::kSuccess:
      return "CUBLAS_STATUS_SUCCESS";
    case lt::kNotInitialized:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case lt::kInvalidValue:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case lt::kNotSupported:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
  }
}

STAND_IN lt::Status cublasLtMatmulDescCreate(lt::MatmulDesc* desc, lt::ComputeType compute,
                                             lt::DataType scale) {
  Desc* const made = new Desc;
  made->compute = compute;
  made->scale = scale;
  *desc = made;
  return lt::kSuccess;
}
STAND_IN lt::Status cublasLtMatmulDescDestroy(lt::MatmulDesc desc) {
  delete static_cast<Desc*>(desc);
  return lt::kSuccess;
}
STAND_IN lt::Status cublasLtMatmulDescSetAttribute(lt::MatmulDesc desc, lt::MatmulDescAttribute attribute,
                                                   const void* value, size_t bytes) {
  Desc* const d = static_cast<Desc*>(desc);
  if (d == nullptr) return lt::kInvalidValue;
  switch (attribute) {
    case lt::kDescTransA:
      return set(&d->trans_a, value, bytes);
    case lt::kDescTransB:
      return set(&d->trans_b, value, bytes);
    case lt::kDescEpilogue:
      return set(&d->epilogue, value, bytes);
    case lt::kDescBiasPointer:
      return set(&d->bias, value, bytes);
    case lt::kDescEpilogueAuxPointer:
      return set(&d->aux, value, bytes);
    case lt::kDescEpilogueAuxLd:
      return set(&d->aux_ld, value, bytes);
  }
  return lt::kInvalidValue;
}

STAND_IN lt::Status cublasLtMatrixLayoutCreate(lt::MatrixLayout* layout, lt::DataType type, uint64_t rows,
                                               uint64_t cols, int64_t ld) {
  if (type != lt::kR32F && type != lt::kR16BF) return lt::kInvalidValue;
  *layout = new Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(cols), ld};
  return lt::kSuccess;
}
STAND_IN lt::Status cublasLtMatrixLayoutDestroy(lt::MatrixLayout layout) {
  delete static_cast<Layout*>(layout);
  return lt::kSuccess;
}

STAND_IN lt::Status cublasLtMatmulPreferenceCreate(lt::MatmulPreference* preference) {
  *preference = new Preference;
  return lt::kSuccess;
}
STAND_IN lt::Status cublasLtMatmulPreferenceDestroy(lt::MatmulPreference preference) {
  delete static_cast<Preference*>(preference);
  return lt::kSuccess;
}
STAND_IN lt::Status cublasLtMatmulPreferenceSetAttribute(lt::MatmulPreference preference,
                                                         lt::MatmulPreferenceAttribute attribute,
                                                         const void* value, size_t bytes) {
  Preference* const p = static_cast<Preference*>(preference);
  if (p == nullptr) return lt::kInvalidValue;
  switch (attribute) {
    case lt::kPreferenceMaxWorkspaceBytes:
      return set(&p->workspace, value, bytes);
    case lt::kPreferenceReductionSchemeMask:
      return set(&p->reduction, value, bytes);
    case lt::kPreferenceMinAlignmentABytes:
    case lt::kPreferenceMinAlignmentBBytes:
    case lt::kPreferenceMinAlignmentCBytes:
    case lt::kPreferenceMinAlignmentDBytes:
      return set(&p->alignment[attribute - lt::kPreferenceMinAlignmentABytes], value, bytes);
  }
  return lt::kInvalidValue;
}

STAND_IN lt::Status cublasLtMatmulAlgoGetHeuristic(lt::Handle, lt::MatmulDesc desc, lt::MatrixLayout a,
                                                   lt::MatrixLayout b, lt::MatrixLayout c, lt::MatrixLayout d,
                                                   lt::MatmulPreference preference, int requested,
                                                   lt::MatmulHeuristicResult* results, int* returned) {
  *returned = 0;
  if (desc == nullptr || a == nullptr || b == nullptr || c == nullptr || d == nullptr ||
      preference == nullptr || requested < 1)
    return lt::kInvalidValue;
  const Desc& dd = *static_cast<Desc*>(desc);
  const Layout &la = *static_cast<Layout*>(a), &lb = *static_cast<Layout*>(b), &lc = *static_cast<Layout*>(c),
               &ld = *static_cast<Layout*>(d);
  const Preference& p = *static_cast<Preference*>(preference);
  const lt::Status status = judge(dd, la, lb, lc, ld);
  if (status != lt::kSuccess) return status;
  const int64_t k = dd.trans_a == lt::kOpT ? la.rows : la.cols;
  // Cutting k is allowed only with partial results in workspace.
  const bool cuts = k >= 1024 && (p.reduction & lt::kReductionComputeType) != 0;
  // The first answer of a long k wants more than there is, so that it must be passed over.
  int count = 0;
  if (cuts && requested > 1) {
    results[count] = lt::MatmulHeuristicResult{};
    results[count].state = lt::kSuccess;
    results[count++].workspace_size = static_cast<size_t>(p.workspace) + 1;
  }
  Ticket ticket{kMagic, hash_of(dd, la, lb, lc, ld), {}, cuts ? uint64_t{65536} : 0};
  for (int i = 0; i < 4; ++i) {
    const Layout* const layouts[4] = {&la, &lb, &lc, &ld};
    // An element's own alignment is the least that can be promised.
    if (p.alignment[i] < size_of(layouts[i]->type)) return lt::kNotSupported;
    ticket.alignment[i] = p.alignment[i];
  }
  lt::MatmulHeuristicResult& result = results[count++];
  result = lt::MatmulHeuristicResult{};
  std::memcpy(&result.algo, &ticket, sizeof(ticket));
  result.workspace_size = static_cast<size_t>(ticket.workspace);
  result.state = lt::kSuccess;
  result.waves_count = 1;
  *returned = count;
  return lt::kSuccess;
}

STAND_IN lt::Status cublasLtMatmul(lt::Handle handle, lt::MatmulDesc desc, const void* alpha, const void* a,
                                   lt::MatrixLayout a_layout, const void* b, lt::MatrixLayout b_layout,
                                   const void* beta, const void* c, lt::MatrixLayout c_layout, void* d,
                                   lt::MatrixLayout d_layout, const lt::MatmulAlgo* algo, void* workspace,
                                   size_t workspace_bytes, lt::Stream stream) {
  if (handle == nullptr || desc == nullptr || alpha == nullptr || beta == nullptr || a_layout == nullptr ||
      b_layout == nullptr || c_layout == nullptr || d_layout == nullptr || algo == nullptr)
    return lt::kInvalidValue;
  std::unique_ptr<Work> work(new Work);
  work->desc = *static_cast<Desc*>(desc);
  work->a = *static_cast<Layout*>(a_layout);
  work->b = *static_cast<Layout*>(b_layout);
  work->d = *static_cast<Layout*>(d_layout);
  const Layout& c_shape = *static_cast<Layout*>(c_layout);
  const lt::Status status = judge(work->desc, work->a, work->b, c_shape, work->d);
  if (status != lt::kSuccess) return status;
  Ticket ticket;
  std::memcpy(&ticket, algo, sizeof(ticket));
  if (ticket.magic != kMagic || ticket.hash != hash_of(work->desc, work->a, work->b, c_shape, work->d) ||
      ticket.workspace > workspace_bytes)
    return lt::kInvalidValue;
  const void* const matrices[4] = {a, b, c, d};
  for (int i = 0; i < 4; ++i)
    if (!is_aligned(matrices[i], ticket.alignment[i])) return lt::kInvalidValue;
  if (ticket.workspace > 0 &&
      (!is_aligned(workspace, 16) || !host->is_device_memory(workspace, workspace_bytes)))
    return lt::kInvalidValue;
  std::memcpy(&work->alpha, alpha, sizeof(float));
  std::memcpy(&work->beta, beta, sizeof(float));
  if (!lies_on_device(a, work->a) || !lies_on_device(b, work->b) || !lies_on_device(d, work->d) ||
      (work->beta != 0 && !lies_on_device(c, c_shape)))
    return lt::kInvalidValue;
  const uint32_t epilogue = work->desc.epilogue;
  if (has_vector(epilogue) &&
      !host->is_device_memory(work->desc.bias, static_cast<size_t>(work->d.rows) * size_of(work->d.type)))
    return lt::kInvalidValue;
  if (has_aux(epilogue) &&
      !lies_on_device(work->desc.aux, Layout{work->d.type, work->d.rows, work->d.cols, work->desc.aux_ld}))
    return lt::kInvalidValue;
  // In place only if C is D.
  if (work->beta != 0 && c == d && c_shape.ld != work->d.ld) return lt::kInvalidValue;
  work->a_data = a;
  work->b_data = b;
  work->c_data = c;
  work->d_data = d;
  work->c_ld = c_shape.ld;
  work->workspace = workspace;
  work->workspace_bytes = static_cast<size_t>(ticket.workspace);
  host->enqueue(stream, &Work::run, work.get(), &Work::release);
  (void)work.release();
  return lt::kSuccess;
}
