#include "environment.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu/cpu_operators.h"

namespace electra::test {
namespace {

/// Memory of a device for the life of the object.
class Floats {
 public:
  Floats(Operators& device, const std::vector<float>& values)
      : device_(device),
        size_(values.size()),
        data_(device.allocate(values.size() * sizeof(float) + 1, "test")) {
    device.upload(data_, values.data(), size_ * sizeof(float));
  }
  ~Floats() { device_.release(data_); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  float* data() const { return static_cast<float*>(data_); }
  std::vector<float> fetch() const {
    std::vector<float> values(size_);
    device_.download(values.data(), data_, size_ * sizeof(float));
    return values;
  }

 private:
  Operators& device_;
  size_t size_;
  void* data_;
};

Tensor row_matrix(const Floats& floats, int64_t rows, int64_t cols) {
  Tensor tensor;
  tensor.data = floats.data();
  tensor.rows = rows;
  tensor.cols = tensor.stride = cols;
  return tensor;
}

std::unique_ptr<Operators> cpu(const std::string& isa, int threads) {
  cpu::CpuOptions options;
  options.isa = isa;
  options.threads = threads;
  return std::make_unique<cpu::CpuOperators>(options);
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> present;
  for (const char* isa : {"avx512", "avx2", "baseline"}) {
    try {
      cpu(isa, 1);
      present.push_back(isa);
    } catch (const EngineError&) {
      // this machine has not got it
    }
  }
  return present;
}

double ulp_of(double value) {
  const float f = static_cast<float>(std::fabs(value));
  return std::max(static_cast<double>(std::nextafter(f, std::numeric_limits<float>::infinity())) - f,
                  static_cast<double>(std::numeric_limits<float>::min()) * std::ldexp(1.0, -23));
}

/// Arguments over the whole range: a fine grid around zero, and every magnitude up to `limit`.
std::vector<float> sweep(double limit) {
  std::vector<float> x;
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i * limit / 4000));
  for (double magnitude = 1e-30; magnitude < limit; magnitude *= 1.01) {
    x.push_back(static_cast<float>(magnitude));
    x.push_back(static_cast<float>(-magnitude));
  }
  return x;
}

std::string check_activation(Activation activation, double limit, double (*exact)(double),
                             double (*tolerance)(double x, double y)) {
  for (const std::string& isa : instruction_sets()) {
    const auto device = cpu(isa, 1);
    const std::vector<float> x = sweep(limit);
    Capacity capacity;
    capacity.tokens = 1;
    capacity.max_width = static_cast<int32_t>(x.size());
    device->reserve(capacity);
    const Floats input(*device, x), output(*device, std::vector<float>(x.size(), 0.0f));
    ActivationForward p;
    p.tokens.capacity = 1;
    p.activation = activation;
    p.x = row_matrix(input, 1, static_cast<int64_t>(x.size()));
    p.y = row_matrix(output, 1, static_cast<int64_t>(x.size()));
    device->activation_forward(p);
    const std::vector<float> y = output.fetch();
    for (size_t i = 0; i < x.size(); ++i) {
      const double wanted = exact(x[i]);
      if (!(std::fabs(y[i] - wanted) <= tolerance(x[i], wanted))) {
        char text[160];
        std::snprintf(text, sizeof(text), "%s: f(%.9g) is %.9g, wanted %.9g (%.1f ulp)", isa.c_str(),
                      static_cast<double>(x[i]), static_cast<double>(y[i]), wanted,
                      std::fabs(y[i] - wanted) / ulp_of(wanted));
        return text;
      }
    }
  }
  return "";
}

double gelu(double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}
double tanh_of(double x) { return std::tanh(x); }
double three_ulp(double, double y) { return 3 * ulp_of(y); }
/// 1 + erf cancels for negative x: the error is that of erf, 3 ulp of 1, times |x| / 2.
double gelu_tolerance(double x, double y) { return 3 * ulp_of(y) + 3 * ulp_of(1) * std::fabs(x) / 2 + 1e-38; }

/// exp and log through the log-sum-exp of two logits 0 and d: log(1 + exp(d)).
std::string check_log_sum_exp() {
  for (const std::string& isa : instruction_sets()) {
    const auto device = cpu(isa, 1);
    std::vector<float> x = sweep(90);
    Capacity capacity;
    capacity.tokens = capacity.lm_rows = static_cast<int64_t>(x.size());
    capacity.vocabulary = 2;
    capacity.max_width = 2;
    device->reserve(capacity);
    const std::vector<float> table_values{0.0f, 1.0f};
    const Floats input(*device, x), table(*device, table_values), bias(*device, {0.0f, 0.0f});
    const Floats output(*device, std::vector<float>(x.size(), 0.0f));
    LanguageModelHead p;
    p.rows.capacity = static_cast<int64_t>(x.size());
    p.x = row_matrix(input, p.rows.capacity, 1);
    p.table.master = table.data();
    p.table.rows = 2;
    p.table.cols = p.table.stride = 1;
    p.bias = bias.data();
    p.log_sum_exp = output.data();
    device->language_model_head(p);
    const std::vector<float> y = output.fetch();
    for (size_t i = 0; i < x.size(); ++i) {
      const double d = x[i];
      const double wanted = std::max(d, 0.0) + std::log1p(std::exp(-std::fabs(d)));
      // The sum is at least 1, so the logarithm's error is absolute near it: 4 ulp of max(1, value).
      if (!(std::fabs(y[i] - wanted) <= 4 * ulp_of(std::max(1.0, std::fabs(wanted))))) {
        char text[160];
        std::snprintf(text, sizeof(text), "%s: log(1 + exp(%.9g)) is %.9g, wanted %.9g", isa.c_str(), d,
                      static_cast<double>(y[i]), wanted);
        return text;
      }
    }
  }
  return "";
}

#if defined(__x86_64__)
constexpr unsigned kExceptionFlags = 0x3F;  // sticky: any arithmetic may raise them

std::string check_floating_point_mode() {
  const unsigned original = _mm_getcsr();
  std::string wrong;
  for (const unsigned mode :
       {0x1F80u, 0x9FC0u, 0x5F80u}) {  // default; flush and denormals-are-zero; towards +infinity
    _mm_setcsr(mode);
    {
      const auto device = cpu("auto", 2);
      Capacity capacity;
      capacity.tokens = 600;
      capacity.max_width = 64;
      device->reserve(capacity);
      const Floats values(*device, std::vector<float>(600 * 64, 0.5f));
      ActivationForward p;
      p.tokens.capacity = 600;
      p.x = p.y = row_matrix(values, 600, 64);
      for (int i = 0; i < 20; ++i) device->activation_forward(p);
      if ((_mm_getcsr() & ~kExceptionFlags) != mode)
        wrong = "after an operator the caller's MXCSR has changed";
    }
    if ((_mm_getcsr() & ~kExceptionFlags) != (mode & ~kExceptionFlags))
      wrong = "the pool left the caller's MXCSR changed";
  }
  _mm_setcsr(original);
  return wrong;
}

std::string check_pool_restores_mode_after_error() {
  const unsigned before = _mm_getcsr() & ~kExceptionFlags;
  cpu::ThreadPool pool(2);
  bool thrown = false;
  try {
    pool.run(64, [](int64_t task, int) {
      if (task == 17) throw EngineError("ERR_ELECTRA_TEST", "task %d", 17);
    });
  } catch (const EngineError& error) {
    thrown = std::strcmp(error.what(), "task 17") == 0;
  }
  if (!thrown) return "the exception of a task was lost";
  if ((_mm_getcsr() & ~kExceptionFlags) != before) return "MXCSR differs after a task threw";
  std::vector<int> seen(1000, 0);
  pool.run(1000, [&](int64_t task, int) { ++seen[static_cast<size_t>(task)]; });
  return std::count(seen.begin(), seen.end(), 1) == 1000
             ? ""
             : "after an exception the pool skips or repeats tasks";
}
#endif

/// Gives other threads way until `ready`; false if it does not come true.
template <typename Ready>
bool wait_for(const Ready& ready) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!ready()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

std::string check_pool_deals_stretches() {
  cpu::ThreadPool pool(2);
  std::atomic<int> begun{0}, waiting{0};
  int turn[4] = {}, worker_of[4] = {};
  pool.run(4, [&](int64_t task, int worker) {
    turn[task] = begun.fetch_add(1);
    worker_of[task] = worker;
    if (task % 2 != 0) return;
    waiting.fetch_add(1);
    wait_for([&] { return waiting.load() == 2; });  // the first of both stretches, at the same time
  });
  const bool first = turn[0] < 2 && turn[2] < 2;
  return first && worker_of[0] == 0 && worker_of[2] == 1 ? "" : "a worker does not begin with its own stretch";
}

std::string check_pool_shares_what_is_left() {
  cpu::ThreadPool pool(4);
  for (const int64_t tasks : {2, 3, 4, 7, 40, 41, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
    std::atomic<int64_t> others{0};
    bool shared = true;
    pool.run(tasks, [&](int64_t task, int) {
      runs[static_cast<size_t>(task)].fetch_add(1);
      if (task > 0)
        others.fetch_add(1);
      else  // its worker does nothing else
        shared = wait_for([&] { return others.load() == tasks - 1; });
    });
    if (!shared) return "nobody takes what a worker has left of " + std::to_string(tasks) + " tasks";
    for (const std::atomic<int>& count : runs)
      if (count.load() != 1) return "of " + std::to_string(tasks) + " tasks one did not run once";
  }
  return "";
}

std::string check_shape_error() {
  const auto device = cpu("auto", 1);
  Capacity capacity;
  capacity.tokens = 8;
  capacity.max_width = 16;
  device->reserve(capacity);
  const Floats values(*device, std::vector<float>(128, 1.0f));
  LayerNormForward p;
  p.tokens.capacity = 8;
  p.x = row_matrix(values, 8, 16);
  p.y = row_matrix(values, 8, 15);
  p.gamma = p.beta = values.data();
  try {
    device->layer_norm_forward(p);
  } catch (const EngineError& error) {
    return std::strcmp(error.code(), "ERR_ELECTRA_SHAPE") == 0 ? ""
                                                               : std::string("wrong code ") + error.code();
  }
  return "y of another width was accepted";
}

std::string check_unknown_choice() {
  try {
    cpu("sse9", 1);
  } catch (const EngineError&) {
    return "";
  }
  return "an unknown instruction set was accepted";
}

}  // namespace

std::vector<EnvironmentCheck> environment_checks() {
  std::vector<EnvironmentCheck> checks = {
      {"tanh within 3 ulp on every instruction set",
       [] { return check_activation(Activation::kTanh, 12, tanh_of, three_ulp); }},
      {"erf within 3 ulp, through GELU",
       [] { return check_activation(Activation::kGeluErf, 12, gelu, gelu_tolerance); }},
      {"tanh GELU within 3 ulp of its parts",
       [] { return check_activation(Activation::kGeluTanh, 9, gelu_tanh, gelu_tolerance); }},
      {"exp and log, through log(1 + exp(d))", check_log_sum_exp},
      {"every worker of the pool begins with a stretch of its own", check_pool_deals_stretches},
      {"the pool's workers finish the stretch of one that is held up", check_pool_shares_what_is_left},
      {"a wrong shape throws ERR_ELECTRA_SHAPE", check_shape_error},
      {"an unknown instruction set throws", check_unknown_choice},
  };
#if defined(__x86_64__)
  checks.push_back({"the caller's floating-point mode stays as it was", check_floating_point_mode});
  checks.push_back({"a task that throws leaves pool and mode intact", check_pool_restores_mode_after_error});
#endif
  return checks;
}

}  // namespace electra::test
