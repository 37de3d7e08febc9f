#pragma once
// One call of a single operator: its arguments by name, its results, its timing. Free of JavaScript, so that
// operators can be set up on the engine thread.

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../cpu/cpu_operators.h"
#include "../model/outputs.h"

namespace electra::addon {

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

  // Arguments. A missing or ill-sized one throws ERR_ELECTRA_SHAPE.

  bool has(const char* name) const { return arrays.count(name) != 0; }
  /// Of `size` elements; the operators only read it.
  float* floats(const char* name, int64_t size) const {
    return static_cast<float*>(memory(name, size, false));
  }
  int32_t* integers(const char* name, int64_t size) const {
    return static_cast<int32_t*>(memory(name, size, true));
  }
  float* floats_or_null(const char* name, int64_t size) const {
    return has(name) ? floats(name, size) : nullptr;
  }
  int32_t* integers_or_null(const char* name, int64_t size) const {
    return has(name) ? integers(name, size) : nullptr;
  }
  Tensor matrix(const char* name, int64_t rows, int64_t cols) const {
    return {floats(name, rows * cols), rows, cols, cols, DType::kFloat32};
  }
  Weight weight(const char* name, int64_t rows, int64_t cols) const {
    Weight weight;
    weight.master = floats(name, rows * cols);
    weight.rows = rows;
    weight.cols = cols;
    weight.stride = cols;
    return weight;
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

  // Results, zeroed. `sum` marks one that the operator adds to: it is cleared before every repetition.

  float* result(const char* name, std::vector<int64_t> shape, bool sum = false);
  int32_t* integer_result(const char* name, std::vector<int64_t> shape);
  Tensor result_matrix(const char* name, int64_t rows, int64_t cols, bool sum = false) {
    return {result(name, {rows, cols}, sum), rows, cols, cols, DType::kFloat32};
  }
  void result_number(const char* name, double value) { results_by_number[name] = value; }
  /// Memory that is neither argument nor result.
  float* scratch(int64_t floats);

  /// Runs the operator as often as asked (`repeat`) and keeps the seconds of each run. `before` is not timed.
  void run(const std::function<void()>& operation, const std::function<void()>& before = nullptr);

  std::map<std::string, HostArray> results;          ///< f32
  std::map<std::string, HostArray> integer_results;  ///< i32
  std::map<std::string, double> results_by_number;
  std::vector<float> seconds;

 private:
  void* memory(const char* name, int64_t size, bool integers) const;
  std::vector<std::pair<float*, size_t>> sums_;
  std::vector<std::vector<float>> scratch_;
};

/// The shape of a batch, from the arguments `lengths` [B], `pitch`, `keepPadding`, `firstRow`.
class KernelRows {
 public:
  explicit KernelRows(const KernelCall& call);
  KernelRows(const KernelRows&) = delete;
  KernelRows& operator=(const KernelRows&) = delete;
  Rows rows;
  int64_t tokens() const { return rows.tokens.capacity; }

 private:
  std::vector<int32_t> offsets_, valid_, global_row_, token_row_, token_position_;
};

/// `seed` and `step` of the arguments.
StepScalars kernel_scalars(const KernelCall& call);
/// Dropout of probability `dropout` at site `site`.
Dropout kernel_dropout(const KernelCall& call, const StepScalars& scalars);
/// `activation`: identity, gelu, gelu_new, relu, tanh.
Activation kernel_activation(const KernelCall& call);

/// An operator with its name in JavaScript. `reserve` makes the workspace for what the operator is about to
/// do.
struct KernelContext {
  cpu::CpuOperators& operators;
  const cpu::Gemm& gemm;
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
