#include "kernel_call.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

namespace electra::addon {
namespace {

int64_t elements_of(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

/// Rounds to nearest, ties to even, as the devices do.
uint16_t to_bf16(float value) {
  if (std::isnan(value)) return 0x7FC0;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16);
}

float from_bf16(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
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

void KernelCall::attach(Operators& operators) {
  operators_ = &operators;
  in_place_ = std::strcmp(operators.info().device, "cpu") == 0;
}

void KernelCall::detach() {
  if (operators_ == nullptr) return;
  for (const float* masters : bound_) operators_->unbind_parameters(masters);
  for (void* device : owned_) operators_->release(device);
  bound_.clear();
  owned_.clear();
  operators_ = nullptr;
}

void* KernelCall::room(size_t bytes, const char* purpose) {
  owned_.push_back(nullptr);
  owned_.back() = operators_->allocate(bytes, purpose);
  return owned_.back();
}

void* KernelCall::on_device(const void* host, int64_t count, bool narrow) {
  const size_t elements = static_cast<size_t>(count);
  void* device = room(elements * (narrow ? sizeof(uint16_t) : sizeof(float)), "a kernel's argument");
  if (count == 0) return device;
  if (narrow) {
    std::vector<uint16_t> halves(elements);
    for (size_t i = 0; i < elements; ++i) halves[i] = to_bf16(static_cast<const float*>(host)[i]);
    operators_->upload(device, halves.data(), elements * sizeof(uint16_t));
  } else {
    operators_->upload(device, host, elements * sizeof(float));
  }
  return device;
}

float* KernelCall::floats(const char* name, int64_t size) {
  void* host = memory(name, size, false);
  return static_cast<float*>(in_place_ ? host : on_device(host, size, false));
}

int32_t* KernelCall::integers(const char* name, int64_t size) {
  void* host = memory(name, size, true);
  return static_cast<int32_t*>(in_place_ ? host : on_device(host, size, false));
}

Tensor KernelCall::matrix(const char* name, int64_t rows, int64_t cols) {
  void* host = memory(name, rows * cols, false);
  return tensor(in_place_ ? host : on_device(host, rows * cols, narrow()), rows, cols);
}

Weight KernelCall::weight(const char* name, int64_t rows, int64_t cols) {
  Weight weight;
  weight.master = floats(name, rows * cols);
  weight.rows = rows;
  weight.cols = cols;
  weight.stride = cols;
  operators_->bind_parameters(weight.master, rows * cols);
  bound_.push_back(weight.master);
  return weight;
}

void* KernelCall::result_memory(void* host, int64_t count, bool narrow, bool sum) {
  Result result;
  result.host = result.device = host;
  result.count = count;
  result.narrow = narrow;
  const size_t bytes = static_cast<size_t>(count) * (narrow ? sizeof(uint16_t) : sizeof(float));
  if (!in_place_) {
    result.device = room(bytes, "a kernel's result");
    fetched_.push_back(result);
  }
  if (sum) cleared_.emplace_back(result.device, bytes);
  return result.device;
}

float* KernelCall::result(const char* name, std::vector<int64_t> shape, bool sum) {
  HostArray& array = results[name];
  array.f32.assign(static_cast<size_t>(elements_of(shape)), 0.0f);
  array.shape = std::move(shape);
  return static_cast<float*>(
      result_memory(array.f32.data(), static_cast<int64_t>(array.f32.size()), false, sum));
}

int32_t* KernelCall::integer_result(const char* name, std::vector<int64_t> shape) {
  HostArray& array = integer_results[name];
  array.i32.assign(static_cast<size_t>(elements_of(shape)), 0);
  array.shape = std::move(shape);
  return static_cast<int32_t*>(
      result_memory(array.i32.data(), static_cast<int64_t>(array.i32.size()), false, false));
}

Tensor KernelCall::result_matrix(const char* name, int64_t rows, int64_t cols) {
  HostArray& array = results[name];
  array.shape = {rows, cols};
  array.f32.assign(static_cast<size_t>(rows * cols), 0.0f);
  return tensor(result_memory(array.f32.data(), rows * cols, narrow(), false), rows, cols);
}

Tensor KernelCall::scratch_matrix(int64_t rows, int64_t cols) {
  const size_t element = narrow() ? sizeof(uint16_t) : sizeof(float);
  return tensor(room(static_cast<size_t>(rows * cols) * element, "a kernel's scratch"), rows, cols);
}

void KernelCall::run(const std::function<void()>& operation, const std::function<void()>& before) {
  const int64_t repeat = std::max<int64_t>(1, count("repeat", 1));
  const int64_t burst = std::max<int64_t>(1, count("burst", 1));
  seconds.reserve(static_cast<size_t>(repeat));
  for (int64_t i = 0; i < repeat; ++i) {
    for (const auto& [device, bytes] : cleared_)
      if (bytes > 0) operators_->zero(device, bytes);
    if (before) before();
    operators_->synchronize();
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t j = 0; j < burst; ++j) operation();
    operators_->synchronize();
    const std::chrono::duration<float> passed = std::chrono::steady_clock::now() - begin;
    seconds.push_back(passed.count() / static_cast<float>(burst));
  }
  fetch_results();
}

void KernelCall::fetch_results() {
  for (const Result& result : fetched_) {
    if (result.count == 0) continue;
    const size_t elements = static_cast<size_t>(result.count);
    if (!result.narrow) {
      operators_->download(result.host, result.device, elements * sizeof(float));
      operators_->synchronize();
      continue;
    }
    std::vector<uint16_t> halves(elements);
    operators_->download(halves.data(), result.device, elements * sizeof(uint16_t));
    operators_->synchronize();
    for (size_t i = 0; i < elements; ++i) static_cast<float*>(result.host)[i] = from_bf16(halves[i]);
  }
}

KernelRows::KernelRows(KernelCall& call) {
  const auto lengths = call.arrays.find("lengths");
  if (lengths == call.arrays.end()) throw EngineError("ERR_ELECTRA_ARGUMENT", "lengths is missing");
  const int64_t batch = lengths->second.size;
  const int32_t* length = call.host_integers("lengths", batch);
  const int64_t pitch = call.count("pitch");
  const int64_t first = call.count("firstRow", 0);
  std::vector<int32_t> valid, global_row, token_row, token_position;
  rows.keep_padding = call.flag("keepPadding");
  for (int64_t b = 0; b < batch; ++b) {
    ELECTRA_CHECK_SHAPE(length[b] >= 0 && length[b] <= pitch,
                        "lengths[%lld] is %d; rows are at most %lld long", static_cast<long long>(b),
                        length[b], static_cast<long long>(pitch));
    const int32_t stored = rows.keep_padding ? static_cast<int32_t>(pitch) : length[b];
    offsets_.push_back(static_cast<int32_t>(token_row.size()));
    valid.push_back(length[b]);
    global_row.push_back(static_cast<int32_t>(first + b));
    for (int32_t t = 0; t < stored; ++t) {
      token_row.push_back(static_cast<int32_t>(b));
      token_position.push_back(t);
    }
  }
  offsets_.push_back(static_cast<int32_t>(token_row.size()));
  const auto put = [&](const std::vector<int32_t>& values) {
    return call.put(values.data(), static_cast<int64_t>(values.size()));
  };
  rows.batch = static_cast<int32_t>(batch);
  rows.pitch = static_cast<int32_t>(pitch);
  rows.tokens.capacity = static_cast<int64_t>(token_row.size());
  rows.offsets = put(offsets_);
  rows.valid = put(valid);
  rows.global_row = put(global_row);
  rows.token_row = put(token_row);
  rows.token_position = put(token_position);
}

const StepScalars* kernel_scalars(KernelCall& call) {
  StepScalars scalars;
  scalars.seed = static_cast<uint64_t>(call.count("seed", 0));
  scalars.step = static_cast<uint32_t>(call.count("step", 0));
  return call.put(scalars);
}

Dropout kernel_dropout(KernelCall& call) {
  Dropout dropout;
  dropout.p = call.real("dropout", 0);
  dropout.site = static_cast<uint32_t>(call.count("site", 0));
  dropout.scalars = kernel_scalars(call);
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
