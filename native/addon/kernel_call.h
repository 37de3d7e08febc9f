#pragma once
// One call of a single operator: its arguments by name, its results, its timing. Free of JavaScript, so that
// operators can be set up on the engine thread.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../cpu/gemm.h"
#include "../model/outputs.h"
#include "../operators.h"

namespace electra::addon {

/// Arguments and results lie in host memory as f32 and int32. On the CPU the operators work on them in place;
/// another device gets copies, activations in the type that it computes with.
class KernelCall {
 public:
  struct Memory {
    void* data = nullptr;
    int64_t size = 0;
    bool integers = false;
  };

  // Filled from JavaScript before the call.
  std::map<std::string, Memory> arrays;
  std::map<std::string, double> numbers;
  std::map<std::string, std::string> texts;

  KernelCall() = default;
  KernelCall(const KernelCall&) = delete;
  KernelCall& operator=(const KernelCall&) = delete;

  // Engine thread: attach() before anything below, detach() at the end, whatever happened.

  void attach(Operators& operators);
  void detach();

  // Arguments. A missing or ill-sized one throws ERR_ELECTRA_SHAPE.

  bool has(const char* name) const { return arrays.count(name) != 0; }
  /// Of `size` elements, on the device; operators only read it.
  float* floats(const char* name, int64_t size);
  int32_t* integers(const char* name, int64_t size);
  float* floats_or_null(const char* name, int64_t size) { return has(name) ? floats(name, size) : nullptr; }
  int32_t* integers_or_null(const char* name, int64_t size) {
    return has(name) ? integers(name, size) : nullptr;
  }
  /// Activations.
  Tensor matrix(const char* name, int64_t rows, int64_t cols);
  /// A matrix of parameters, bound for the length of the call.
  Weight weight(const char* name, int64_t rows, int64_t cols);
  /// Where the caller has it.
  const float* host_floats(const char* name, int64_t size) const {
    return static_cast<const float*>(memory(name, size, false));
  }
  const int32_t* host_integers(const char* name, int64_t size) const {
    return static_cast<const int32_t*>(memory(name, size, true));
  }
  int64_t count(const char* name) const;
  int64_t count(const char* name, int64_t fallback) const {
    return numbers.count(name) ? count(name) : fallback;
  }
  double real(const char* name, double fallback) const {
    const auto found = numbers.find(name);
    return found == numbers.end() ? fallback : found->second;
  }
  bool flag(const char* name) const {
    const auto found = numbers.find(name);
    return found != numbers.end() && found->second != 0;
  }
  std::string text(const char* name, const char* fallback) const {
    const auto found = texts.find(name);
    return found == texts.end() ? fallback : found->second;
  }

  // Results, zeroed, on the device; run() brings them back. `sum` marks one that the operator adds to: it is
  // cleared before every repetition.

  float* result(const char* name, std::vector<int64_t> shape, bool sum = false);
  int32_t* integer_result(const char* name, std::vector<int64_t> shape);
  /// Activations, or gradients of some.
  Tensor result_matrix(const char* name, int64_t rows, int64_t cols);
  void result_number(const char* name, double value) { results_by_number[name] = value; }

  // What is neither argument nor result: on the device until the end of the call.

  /// Zeroed.
  void* room(size_t bytes, const char* purpose);
  template <typename T>
  T* put(const T* host, int64_t count) {
    T* device = static_cast<T*>(room(static_cast<size_t>(count) * sizeof(T), "a kernel's argument"));
    if (count > 0) operators_->upload(device, host, static_cast<size_t>(count) * sizeof(T));
    return device;
  }
  template <typename T>
  T* put(const T& value) {
    return put(&value, 1);
  }
  template <typename T>
  T fetch(const T* device) const {
    T value;
    operators_->download(&value, device, sizeof(T));
    operators_->synchronize();
    return value;
  }
  /// A block that the operator adds to, cleared before every repetition.
  template <typename T>
  T* sums() {
    void* device = room(sizeof(T), "a kernel's sums");
    cleared_.emplace_back(device, sizeof(T));
    return static_cast<T*>(device);
  }
  Tensor scratch_matrix(int64_t rows, int64_t cols);
  Operators& operators() const { return *operators_; }

  /// Runs the operator as often as asked (`repeat`) and keeps the seconds of each run, from the call to the
  /// device's being done; then brings the results back. `burst` runs share one look at the clock, for
  /// operators that take no longer than waiting for them does. `before` is not timed.
  void run(const std::function<void()>& operation, const std::function<void()>& before = nullptr);

  std::map<std::string, HostArray> results;          ///< f32
  std::map<std::string, HostArray> integer_results;  ///< i32
  std::map<std::string, double> results_by_number;
  std::vector<float> seconds;

 private:
  struct Result {
    void* host = nullptr;
    void* device = nullptr;
    int64_t count = 0;
    bool narrow = false;  ///< bf16 on the device
  };
  void* memory(const char* name, int64_t size, bool integers) const;
  void* on_device(const void* host, int64_t count, bool narrow);
  /// Whether activations are bf16 here.
  bool narrow() const { return operators_->info().compute == DType::kBFloat16; }
  Tensor tensor(void* data, int64_t rows, int64_t cols) const {
    return {data, rows, cols, cols, operators_->info().compute};
  }
  void* result_memory(void* host, int64_t count, bool narrow, bool sum);
  void fetch_results();

  Operators* operators_ = nullptr;
  bool in_place_ = false;  ///< the device's memory is the host's
  std::vector<void*> owned_;
  std::vector<const float*> bound_;
  std::vector<Result> fetched_;
  std::vector<std::pair<void*, size_t>> cleared_;
};

/// The shape of a batch, from the arguments `lengths` [B], `pitch`, `keepPadding`, `firstRow`.
class KernelRows {
 public:
  explicit KernelRows(KernelCall& call);
  KernelRows(const KernelRows&) = delete;
  KernelRows& operator=(const KernelRows&) = delete;
  Rows rows;  ///< on the device
  int64_t tokens() const { return rows.tokens.capacity; }
  /// rows.offsets where they can be read.
  const std::vector<int32_t>& offsets() const { return offsets_; }

 private:
  std::vector<int32_t> offsets_;
};

/// `seed` and `step` of the arguments.
const StepScalars* kernel_scalars(KernelCall& call);
/// Dropout of probability `dropout` at site `site`.
Dropout kernel_dropout(KernelCall& call);
/// `activation`: identity, gelu, gelu_new, relu, tanh.
Activation kernel_activation(const KernelCall& call);

/// An operator with its name in JavaScript. `reserve` makes the workspace for what the operator is about to
/// do.
struct KernelContext {
  Operators& operators;
  const cpu::Gemm* gemm;  ///< the CPU's matrix products; null on another device
  std::function<void(const Capacity&)> reserve;
};
using KernelFunction = void (*)(KernelContext&, KernelCall&);
using KernelFunctions = std::map<std::string, KernelFunction>;

void add_dense_kernels(KernelFunctions& functions);
void add_norm_kernels(KernelFunctions& functions);
void add_attention_kernels(KernelFunctions& functions);
void add_token_kernels(KernelFunctions& functions);
void add_loss_kernels(KernelFunctions& functions);
void add_optimizer_kernels(KernelFunctions& functions);

}  // namespace electra::addon
