#include "kernel_call.h"

#include <algorithm>

namespace electra::addon {
namespace {

int64_t elements_of(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

}  // namespace

int64_t KernelCall::count(const char* name) const {
  const auto found = numbers.find(name);
  if (found == numbers.end()) throw EngineError("ERR_ELECTRA_ARGUMENT", "%s is missing", name);
  const double value = found->second;
  if (!(value >= 0 && value < 2147483648.0) || value != static_cast<double>(static_cast<int64_t>(value)))
    throw EngineError("ERR_ELECTRA_ARGUMENT", "%s is %g; it must be a whole number that is not negative",
                      name, value);
  return static_cast<int64_t>(value);
}

void* KernelCall::memory(const char* name, int64_t size, bool integers) const {
  const auto found = arrays.find(name);
  if (found == arrays.end()) throw EngineError("ERR_ELECTRA_ARGUMENT", "%s is missing", name);
  if (found->second.integers != integers)
    throw EngineError("ERR_ELECTRA_ARGUMENT", "%s must be a %s", name,
                      integers ? "Int32Array" : "Float32Array");
  ELECTRA_CHECK_SHAPE(found->second.size == size, "%s has %lld elements; these shapes need %lld", name,
                      static_cast<long long>(found->second.size), static_cast<long long>(size));
  return found->second.data;
}

float* KernelCall::result(const char* name, std::vector<int64_t> shape, bool sum) {
  HostArray& array = results[name];
  array.f32.assign(static_cast<size_t>(elements_of(shape)), 0.0f);
  array.shape = std::move(shape);
  if (sum) sums_.emplace_back(array.f32.data(), array.f32.size());
  return array.f32.data();
}

int32_t* KernelCall::integer_result(const char* name, std::vector<int64_t> shape) {
  HostArray& array = integer_results[name];
  array.i32.assign(static_cast<size_t>(elements_of(shape)), 0);
  array.shape = std::move(shape);
  return array.i32.data();
}

float* KernelCall::scratch(int64_t floats) {
  scratch_.emplace_back(static_cast<size_t>(floats), 0.0f);
  return scratch_.back().data();
}

void KernelCall::run(const std::function<void()>& operation, const std::function<void()>& before) {
  const int64_t repeat = std::max<int64_t>(1, count("repeat", 1));
  seconds.reserve(static_cast<size_t>(repeat));
  for (int64_t i = 0; i < repeat; ++i) {
    for (const auto& [data, size] : sums_) std::memset(data, 0, size * sizeof(float));
    if (before) before();
    const auto begin = std::chrono::steady_clock::now();
    operation();
    seconds.push_back(std::chrono::duration<float>(std::chrono::steady_clock::now() - begin).count());
  }
}

KernelRows::KernelRows(const KernelCall& call) {
  const auto lengths = call.arrays.find("lengths");
  if (lengths == call.arrays.end()) throw EngineError("ERR_ELECTRA_ARGUMENT", "lengths is missing");
  const int64_t batch = lengths->second.size;
  const int32_t* length = call.integers("lengths", batch);
  const int64_t pitch = call.count("pitch");
  const int64_t first = call.count("firstRow", 0);
  rows.keep_padding = call.flag("keepPadding");
  for (int64_t b = 0; b < batch; ++b) {
    ELECTRA_CHECK_SHAPE(length[b] >= 0 && length[b] <= pitch,
                        "lengths[%lld] is %d; rows are at most %lld long", static_cast<long long>(b),
                        length[b], static_cast<long long>(pitch));
    const int32_t stored = rows.keep_padding ? static_cast<int32_t>(pitch) : length[b];
    offsets_.push_back(static_cast<int32_t>(token_row_.size()));
    valid_.push_back(length[b]);
    global_row_.push_back(static_cast<int32_t>(first + b));
    for (int32_t t = 0; t < stored; ++t) {
      token_row_.push_back(static_cast<int32_t>(b));
      token_position_.push_back(t);
    }
  }
  offsets_.push_back(static_cast<int32_t>(token_row_.size()));
  rows.batch = static_cast<int32_t>(batch);
  rows.pitch = static_cast<int32_t>(pitch);
  rows.tokens.capacity = static_cast<int64_t>(token_row_.size());
  rows.offsets = offsets_.data();
  rows.valid = valid_.data();
  rows.global_row = global_row_.data();
  rows.token_row = token_row_.data();
  rows.token_position = token_position_.data();
}

StepScalars kernel_scalars(const KernelCall& call) {
  StepScalars scalars;
  scalars.seed = static_cast<uint64_t>(call.count("seed", 0));
  scalars.step = static_cast<uint32_t>(call.count("step", 0));
  return scalars;
}

Dropout kernel_dropout(const KernelCall& call, const StepScalars& scalars) {
  Dropout dropout;
  dropout.p = call.real("dropout", 0);
  dropout.site = static_cast<uint32_t>(call.count("site", 0));
  dropout.scalars = &scalars;
  return dropout;
}

Activation kernel_activation(const KernelCall& call) {
  const std::string name = call.text("activation", "identity");
  if (name == "identity") return Activation::kIdentity;
  if (name == "gelu") return Activation::kGeluErf;
  if (name == "gelu_new") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  if (name == "tanh") return Activation::kTanh;
  throw EngineError("ERR_ELECTRA_ARGUMENT",
                    "activation is \"%s\"; it must be identity, gelu, gelu_new, relu or tanh", name.c_str());
}

}  // namespace electra::addon
