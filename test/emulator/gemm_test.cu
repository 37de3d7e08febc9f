// electra_gemm_tests [filter] [--first-failure]: products of every kind by the built-in kernels, and through the library that
// ELECTRA_CUBLASLT names (the stand-in) if it is set, against double arithmetic. Matrices lie in allocations
// of their exact size with NaN between their rows, so reading outside shows.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gemm.h"

namespace electra::cuda {
namespace {

int passed = 0, failed = 0;
bool stop_at_failure = false;

void check(bool right, const std::string& what) {
  right ? ++passed : ++failed;
  if (!right) std::printf("FAIL %s\n", what.c_str());
  if (!right && stop_at_failure) std::exit(1);
}

uint64_t random_state = 1;
double uniform() {
  uint64_t z = (random_state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * std::ldexp(2.0, -53) - 1;
}

int64_t size_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

/// As a gap: rows start at multiples of 16 bytes, whatever their length.
constexpr int64_t kPadded = -1;

/// A matrix on the host in double and on the device in its type. `offset` elements lie before it, so that its
/// alignment can be chosen.
class TestMatrix {
 public:
  TestMatrix(cudaStream_t stream, int64_t rows, int64_t cols, DType dtype, int64_t gap, int64_t offset,
             double scale)
      : stream_(stream), offset_(offset) {
    matrix.rows = rows;
    matrix.cols = cols;
    if (gap == kPadded) gap = (8 - cols % 8) % 8;
    matrix.stride = cols + gap;
    matrix.dtype = dtype;
    const int64_t count = rows == 0 ? 0 : rows * matrix.stride - gap;
    values.assign(static_cast<size_t>(offset + count), std::numeric_limits<double>::quiet_NaN());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) at(r, c) = rounded(scale * uniform());
    bytes_ = static_cast<size_t>(std::max<int64_t>(1, offset + count) * size_of(dtype));
    ELECTRA_CUDA_CHECK(cudaMalloc(&memory_, bytes_));
    matrix.data = static_cast<char*>(memory_) + offset * size_of(dtype);
    upload();
  }
  ~TestMatrix() { cudaFree(memory_); }
  TestMatrix(const TestMatrix&) = delete;
  TestMatrix& operator=(const TestMatrix&) = delete;

  Matrix matrix;
  std::vector<double> values;

  double& at(int64_t r, int64_t c) { return values[static_cast<size_t>(offset_ + r * matrix.stride + c)]; }
  double rounded(double value) const {
    const float f = static_cast<float>(value);
    return matrix.dtype == DType::kFloat32 ? f : __bfloat162float(__float2bfloat16(f));
  }
  std::vector<double> fetch() {
    std::vector<char> raw(bytes_);
    ELECTRA_CUDA_CHECK(cudaMemcpyAsync(raw.data(), memory_, bytes_, cudaMemcpyDeviceToHost, stream_));
    ELECTRA_CUDA_CHECK(cudaStreamSynchronize(stream_));
    std::vector<double> result(values.size());
    for (size_t i = 0; i < result.size(); ++i) {
      if (matrix.dtype == DType::kFloat32) {
        float f;
        std::memcpy(&f, raw.data() + 4 * i, 4);
        result[i] = f;
      } else {
        __nv_bfloat16 b;
        std::memcpy(&b, raw.data() + 2 * i, 2);
        result[i] = __bfloat162float(b);
      }
    }
    return result;
  }

  void upload() {
    std::vector<char> raw(bytes_);
    for (size_t i = 0; i < values.size(); ++i) {
      const float f = static_cast<float>(values[i]);
      const __nv_bfloat16 b = __float2bfloat16(f);
      if (matrix.dtype == DType::kFloat32)
        std::memcpy(raw.data() + 4 * i, &f, 4);
      else
        std::memcpy(raw.data() + 2 * i, &b, 2);
    }
    ELECTRA_CUDA_CHECK(cudaMemcpyAsync(memory_, raw.data(), bytes_, cudaMemcpyHostToDevice, stream_));
    ELECTRA_CUDA_CHECK(cudaStreamSynchronize(stream_));
  }

 private:
  cudaStream_t stream_;
  int64_t offset_;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

double activated(Activation activation, double x) {
  const double gain = std::sqrt(2 / std::acos(-1.0));
  switch (activation) {
    case Activation::kGeluErf:
      return 0.5 * x * std::erfc(-x * std::sqrt(0.5));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(gain * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kIdentity:
      break;
  }
  return x;
}
double slope(Activation activation, double x) {
  if (activation == Activation::kRelu) return x > 0 ? 1 : 0;
  const double step = 1e-5;
  return (activated(activation, x + step) - activated(activation, x - step)) / (2 * step);
}

struct Kind {
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false;
  DType in = DType::kFloat32, out = DType::kFloat32;
  int64_t gap = 0, offset = 0;
  bool add = false;
  Epilogue epilogue = Epilogue::kNone;
  Activation activation = Activation::kIdentity;
  bool bias = false, narrow_bias = false, aux = false, column_sums = false, column_sums_of_b = false;
};

std::string name_of(const Kind& t) {
  const char* epilogues[] = {"", " bias", " activation", " activation gradient"};
  const char* activations[] = {"", " gelu", " tanh-gelu", " relu", " tanh"};
  const char* types[] = {"f32", "bf16"};
  return std::string(types[static_cast<int>(t.in)]) + "->" + types[static_cast<int>(t.out)] + " " +
         std::to_string(t.m) + "x" + std::to_string(t.n) + "x" + std::to_string(t.k) +
         (t.transpose_a ? " T" : " N") + (t.transpose_b ? "T" : "N") + " gap " + std::to_string(t.gap) +
         " offset " + std::to_string(t.offset) + (t.add ? " add" : "") +
         epilogues[static_cast<int>(t.epilogue)] + activations[static_cast<int>(t.activation)] +
         (t.bias ? t.narrow_bias ? " with bf16 bias" : " with bias" : "") + (t.aux ? " with aux" : "") +
         (t.column_sums ? " sums" : "") + (t.column_sums_of_b ? " sums of b" : "");
}

/// `slack` is what the values that `got` was summed from may be off by; `twice`: the product may have been
/// rounded before its epilogue.
std::string compare(TestMatrix& got, const std::vector<double>& wanted, double terms, double slack,
                    bool twice) {
  const std::vector<double> result = got.fetch();
  double largest = 0;
  for (const double w : wanted)
    if (std::isfinite(w)) largest = std::max(largest, std::fabs(w));
  const double unit = std::ldexp(1.0, -24);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (std::isnan(wanted[i])) {
      if (!std::isnan(result[i])) return "written outside, at element " + std::to_string(i);
      continue;
    }
    double tolerance = 4 * unit * std::sqrt(terms) * std::max(largest, 1.0) + slack;
    if (got.matrix.dtype == DType::kBFloat16)
      tolerance += std::ldexp(std::fabs(wanted[i]), -8) +
                   (twice ? std::ldexp(std::max(largest, 1.0), -7) : 1e-3 * largest);
    if (!(std::fabs(result[i] - wanted[i]) <= tolerance)) {
      return "element " + std::to_string(i) + " is " + std::to_string(result[i]) + ", wanted " +
             std::to_string(wanted[i]) + " +- " + std::to_string(tolerance);
    }
  }
  return "";
}

void run(Gemm& gemm, cudaStream_t stream, const Kind& t, const char* filter) {
  const std::string name = name_of(t);
  if (name.find(filter) == std::string::npos) return;
  random_state = std::hash<std::string>()(name);
  TestMatrix a(stream, t.transpose_a ? t.k : t.m, t.transpose_a ? t.m : t.k, t.in, t.gap, t.offset, 1);
  TestMatrix b(stream, t.transpose_b ? t.n : t.k, t.transpose_b ? t.k : t.n, t.in, t.gap, t.offset, 1);
  TestMatrix d(stream, t.m, t.n, t.out, t.gap, t.offset, 3);
  TestMatrix bias(stream, 1, t.n, DType::kFloat32, 0, 0, 1), aux(stream, t.m, t.n, t.out, t.gap, t.offset, 2);
  TestMatrix sums(stream, 1, t.n, DType::kFloat32, 0, 0, 1),
      sums_of_b(stream, 1, t.n, DType::kFloat32, 0, 0, 1);
  Product p;
  p.a = a.matrix;
  p.transpose_a = t.transpose_a;
  p.b = b.matrix;
  p.transpose_b = t.transpose_b;
  p.d = d.matrix;
  p.add = t.add;
  p.epilogue = t.epilogue;
  p.activation = t.activation;
  TestMatrix narrow(stream, 1, t.n, DType::kBFloat16, 0, 0, 1);
  if (t.bias) {
    p.bias = static_cast<const float*>(bias.matrix.data);
    if (t.narrow_bias) {
      p.narrow_bias = static_cast<const __nv_bfloat16*>(narrow.matrix.data);
      for (int64_t j = 0; j < t.n; ++j) bias.at(0, j) = narrow.at(0, j);
      bias.upload();
    }
  }
  if (t.aux) {
    p.aux = aux.matrix.data;
    p.aux_stride = aux.matrix.stride;
  }
  if (t.column_sums) p.column_sums = static_cast<float*>(sums.matrix.data);
  if (t.column_sums_of_b) p.column_sums_of_b = static_cast<float*>(sums_of_b.matrix.data);
  for (int64_t j = 0; j < t.n; ++j) {
    for (int64_t i = 0; i < t.m; ++i) {
      double sum = 0;
      for (int64_t l = 0; l < t.k; ++l)
        sum += (t.transpose_a ? a.at(l, i) : a.at(i, l)) * (t.transpose_b ? b.at(j, l) : b.at(l, j));
      if (t.bias) sum += bias.at(0, j);
      if (t.epilogue == Epilogue::kActivation) {
        if (t.aux) aux.at(i, j) = sum;
        sum = activated(t.activation, sum);
      }
      if (t.epilogue == Epilogue::kActivationGradient) sum *= slope(t.activation, aux.at(i, j));
      if (t.add) sum += d.at(i, j);
      d.at(i, j) = sum;
      if (t.column_sums) sums.at(0, j) += sum;
    }
    if (t.column_sums_of_b)
      for (int64_t l = 0; l < t.k; ++l) sums_of_b.at(0, j) += b.at(l, j);
  }
  std::string wrong;
  try {
    gemm.multiply(p);
    const double terms = static_cast<double>(t.k + 4);
    double largest = 0;
    for (const double value : d.values)
      if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
    for (const auto& [matrix, count] : {std::pair<TestMatrix*, double>{&d, terms},
                                        {&aux, terms},
                                        {&sums, terms + static_cast<double>(t.m)},
                                        {&sums_of_b, terms}}) {
      if (wrong.empty()) {
        // The column sums may be those of the result as it is stored.
        const bool of_d = matrix == &sums && t.out == DType::kBFloat16;
        wrong = compare(*matrix, matrix->values, count,
                        of_d ? std::ldexp(largest, -8) * std::sqrt(static_cast<double>(t.m)) : 0,
                        std::string(gemm.name()) != "built-in");
        if (!wrong.empty())
          wrong = std::string(matrix == &d      ? "d"
                              : matrix == &aux  ? "aux"
                              : matrix == &sums ? "sums"
                                                : "sums of b") +
                  ": " + wrong;
      }
    }
  } catch (const EngineError& error) {
    wrong = error.what();
  }
  check(wrong.empty(), std::string(gemm.name()) + ", " + name + ": " + wrong);
}

void run_all(Gemm& gemm, cudaStream_t stream, const char* filter) {
  struct Types {
    DType in, out;
  };
  const Types types[] = {{DType::kFloat32, DType::kFloat32},
                         {DType::kBFloat16, DType::kBFloat16},
                         {DType::kBFloat16, DType::kFloat32}};
  struct Size {
    int64_t m, n, k;
  };
  const Size sizes[] = {{1, 1, 1},     {3, 5, 7},      {64, 64, 32},   {70, 33, 17}, {128, 128, 64},
                        {130, 72, 40}, {17, 200, 100}, {200, 136, 48}, {5, 7, 0},    {0, 8, 8}};
  struct Layout {
    int64_t gap, offset;
  };
  const Layout layouts[] = {{0, 0}, {3, 0}, {8, 0}, {0, 1}, {8, 8}, {kPadded, 0}};
  for (const Types& type : types)
    for (const Size& size : sizes)
      for (const Layout& layout : layouts)
        for (int flags = 0; flags < 8; ++flags) {
          Kind t{size.m, size.n, size.k};
          t.in = type.in;
          t.out = type.out;
          t.gap = layout.gap;
          t.offset = layout.offset;
          t.transpose_a = (flags & 1) != 0;
          t.transpose_b = (flags & 2) != 0;
          t.add = (flags & 4) != 0;
          run(gemm, stream, t, filter);
          if (flags == 0 || flags == 4) {
            t.bias = true;
            t.epilogue = Epilogue::kBias;
            run(gemm, stream, t, filter);
            if (t.out == DType::kBFloat16) {
              t.narrow_bias = true;
              run(gemm, stream, t, filter);
            }
          }
          if (flags == 1 && size.k > 0) {
            t.column_sums_of_b = true;
            run(gemm, stream, t, filter);
          }
          if (flags == 2) {
            t.column_sums = true;
            run(gemm, stream, t, filter);
          }
        }
  // Long k: a weight gradient over tokens.
  for (const Types& type : types) {
    if (type.in != type.out && type.out != DType::kFloat32) continue;
    for (const Size& size : {Size{64, 64, 3000}, Size{20, 40, 2049}, Size{128, 136, 1600}})
      for (const int64_t gap : {int64_t{0}, int64_t{5}}) {
        Kind t{size.m, size.n, size.k};
        t.in = type.in;
        t.out = type.out;
        t.gap = gap;
        t.transpose_a = true;
        t.add = type.out == DType::kFloat32;
        t.column_sums_of_b = true;
        run(gemm, stream, t, filter);
        t.add = false;
        t.epilogue = Epilogue::kActivation;
        t.activation = Activation::kGeluErf;
        t.bias = t.aux = true;
        run(gemm, stream, t, filter);
      }
  }
  for (const Types& type : types)
    for (const Size& size :
         {Size{37, 40, 24}, Size{128, 64, 64}, Size{300, 136, 48}, Size{65, 20, 33}, Size{9, 1, 16}})
      for (const Layout& layout : {Layout{0, 0}, Layout{3, 0}, Layout{8, 8}, Layout{kPadded, 0}})
        for (const Activation activation : {Activation::kIdentity, Activation::kGeluErf,
                                            Activation::kGeluTanh, Activation::kRelu, Activation::kTanh})
          for (int flags = 0; flags < 4; ++flags) {
            Kind t{size.m, size.n, size.k};
            t.in = type.in;
            t.out = type.out;
            t.gap = layout.gap;
            t.offset = layout.offset;
            t.activation = activation;
            t.epilogue = Epilogue::kActivation;
            t.bias = (flags & 1) != 0;
            t.aux = (flags & 2) != 0;
            run(gemm, stream, t, filter);
            if (t.bias && t.out == DType::kBFloat16) {
              t.narrow_bias = true;
              run(gemm, stream, t, filter);
            }
            t.narrow_bias = false;
            t.epilogue = Epilogue::kActivationGradient;
            t.transpose_b = true;
            t.column_sums = t.bias;
            t.bias = false;
            if (t.aux) run(gemm, stream, t, filter);
          }
}

/// k too long for a product of our own to be worth its epilogue, and longer than the library's first answer
/// fits.
void run_deep(Gemm& gemm, cudaStream_t stream, const char* filter) {
  for (const DType type : {DType::kFloat32, DType::kBFloat16})
    for (const Activation activation : {Activation::kGeluErf, Activation::kGeluTanh}) {
      Kind t{40, 72, 1100};
      t.in = t.out = type;
      t.gap = kPadded;
      t.epilogue = Epilogue::kActivation;
      t.activation = activation;
      t.bias = t.aux = true;
      run(gemm, stream, t, filter);
      t.narrow_bias = type == DType::kBFloat16;
      run(gemm, stream, t, filter);
      t.epilogue = Epilogue::kActivationGradient;
      t.transpose_b = t.column_sums = true;
      t.bias = t.narrow_bias = false;
      run(gemm, stream, t, filter);
    }
}

/// A recorded product gives the same when it is replayed on other contents.
void check_recording(Gemm& gemm, cudaStream_t stream) {
  std::string wrong;
  try {
    TestMatrix a(stream, 48, 40, DType::kBFloat16, 0, 0, 1), b(stream, 40, 64, DType::kBFloat16, 0, 0, 1);
    TestMatrix d(stream, 48, 64, DType::kFloat32, 0, 0, 1);
    Product p;
    p.a = a.matrix;
    p.b = b.matrix;
    p.d = d.matrix;
    ELECTRA_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    gemm.multiply(p);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    ELECTRA_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
    ELECTRA_CUDA_CHECK(cudaGraphInstantiate(&exec, graph, 0));
    if (d.fetch() != d.values) wrong = "recording has multiplied";
    for (int replay = 0; replay < 3 && wrong.empty(); ++replay) {
      for (double& value : a.values) value = a.rounded(value * (replay + 1) * 0.75);
      a.upload();
      for (int64_t i = 0; i < 48; ++i)
        for (int64_t j = 0; j < 64; ++j) {
          double sum = 0;
          for (int64_t l = 0; l < 40; ++l) sum += a.at(i, l) * b.at(l, j);
          d.at(i, j) = sum;
        }
      ELECTRA_CUDA_CHECK(cudaGraphLaunch(exec, stream));
      wrong = compare(d, d.values, 40, 0, false);
    }
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
  } catch (const EngineError& error) {
    wrong = error.what();
  }
  check(wrong.empty(), std::string(gemm.name()) + ", recorded: " + wrong);
}

void check_errors(Gemm& gemm) {
  Product p;
  p.a = {nullptr, 3, 4, 4, DType::kFloat32};
  p.b = {nullptr, 5, 6, 6, DType::kFloat32};
  p.d = {nullptr, 3, 6, 6, DType::kFloat32};
  std::string message, code;
  try {
    gemm.multiply(p);
  } catch (const EngineError& error) {
    message = error.what();
    code = error.code();
  }
  check(code == "ERR_ELECTRA_SHAPE" && message.find("[3, 4]") != std::string::npos,
        std::string(gemm.name()) + ": shapes that do not fit give " + code + " " + message);
}

}  // namespace
}  // namespace electra::cuda

int main(int count, char** arguments) {
  using namespace electra::cuda;
  const char* filter = "";
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(arguments[i], "--first-failure") == 0)
      stop_at_failure = true;
    else
      filter = arguments[i];
  }
  cudaStream_t stream = nullptr;
  if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess) return 1;
  const char* given = std::getenv("ELECTRA_CUBLASLT");
  const std::string named = given != nullptr ? given : "", library = named == "built-in" ? "" : named;
  for (const bool built_in : {true, false}) {
    if (!built_in && library.empty()) continue;
    setenv("ELECTRA_CUBLASLT", built_in ? "built-in" : library.c_str(), 1);
    try {
      Gemm gemm(stream, 4);
      std::printf("%s%s%s\n", gemm.name(), gemm.reason()[0] != '\0' ? ": " : "", gemm.reason());
      check(built_in == (std::string(gemm.name()) == "built-in"), "the products that were asked for");
      run_all(gemm, stream, filter);
      run_deep(gemm, stream, filter);
      check_recording(gemm, stream);
      check_errors(gemm);
    } catch (const electra::EngineError& error) {
      check(false, error.what());
    }
  }
  setenv("ELECTRA_CUBLASLT", "/nowhere/libcublasLt.so", 1);
  std::string message;
  try {
    Gemm gemm(stream, 4);
  } catch (const electra::EngineError& error) {
    message = error.what();
  }
  check(message.find("/nowhere/libcublasLt.so") != std::string::npos,
        "a library that is not there: " + message);
  cudaStreamDestroy(stream);
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
