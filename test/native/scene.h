#pragma once
// One case on one device: its buffers, and the operator calls between them. A case declares the same scene on
// the reference and on the device under test; contents come from the buffers' names and the case's seed, so
// both see the same data.
//
// Every buffer lies between two guards, rows of a matrix have a gap between them, outputs start as NaN: a
// result that was not written, a write outside, or a read outside shows up.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "operators.h"

namespace electra::test {

enum class Role {
  kInput,        ///< must be unchanged after the call
  kOutput,       ///< starts as NaN (or −7), compared
  kAccumulator,  ///< starts with values, added to or overwritten, compared
  kScratch,      ///< may hold anything afterwards; only its guards are checked
};

/// What the rows between actual and capacity must hold after the call.
enum class Beyond { kFinite, kZero, kSame };

/// How a float matrix is filled and compared (in f32; Settings says how in bf16). `terms` is the length of the sum behind each element: the
/// tolerance is 4 · 2^-24 · sqrt(terms) · max|reference| · slack, plus `absolute`. The error of a sum of n
/// rounded terms of random sign grows with sqrt(n); 4 leaves room for the elementary functions (2-3 ulp).
struct Look {
  Role role = Role::kInput;
  double scale = 1;  ///< inputs are uniform in (offset − scale, offset + scale)
  double offset = 0;
  int64_t actual = -1;  ///< rows that count; −1: all
  Beyond beyond = Beyond::kFinite;
  int64_t gap = 3;  ///< stride − cols
  double terms = 1;
  double slack = 1;
  double absolute = 0;
  bool gradient = false;  ///< an input whose rows beyond actual are zero
  bool weight = false;    ///< master of a matrix that products take in the device's own form
  bool f32 = false;       ///< f32 on every device: parameters, their gradients, scores of the heads
};

/// How a scene is laid out for a device.
struct Settings {
  /// The type of activations. In bf16 the reference gets the rounded inputs, and its tolerance is 4 · 2^-9 ·
  /// max|reference| · slack: every stored activation is off by up to 2^-9 of itself, and such errors add like
  /// the terms of the sums they enter, so their ratio to the result does not grow with the length of the sum.
  DType activations = DType::kFloat32;
  bool aligned = false;  ///< strides are multiples of 8, so that fast paths for aligned rows are taken
};

struct Buffer {
  enum class Kind { kFloat, kBFloat16, kInt32, kByte, kDouble, kRaw };
  std::string name;
  Kind kind = Kind::kFloat;
  Look look;
  int64_t rows = 0, cols = 0, stride = 0;
  void* base = nullptr;  ///< start of the front guard on the device
  void* data = nullptr;
  std::vector<uint8_t> initial;  ///< guard, content, guard
  std::vector<uint8_t> result;
  /// Says whether a difference between the device's and the reference's integer is a tie that rounding
  /// decides.
  std::function<bool(int64_t index, int32_t got, int32_t wanted)> tie;
};

struct RowsLook {
  std::vector<int32_t> lengths;  ///< real tokens of each row
  int32_t pitch = 0;
  bool keep_padding = false;
  int64_t spare = 0;  ///< capacity − actual tokens
  int32_t first_global_row = 0;
  bool null_actual = false;  ///< leaves the extent's `actual` null (only with spare = 0)
};

class Scene {
 public:
  Scene(Operators& device, uint64_t seed, const Settings& settings = {});
  ~Scene();
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  Operators& device() const { return device_; }
  Capacity& capacity() { return capacity_; }
  bool is_reference() const;
  const Settings& settings() const { return settings_; }

  Extent extent(int64_t capacity, int64_t actual = -1);
  Rows rows(const RowsLook& look);
  /// The lengths of rows(look) in the token stream.
  Tensor matrix(const std::string& name, int64_t rows, int64_t cols, Look look);
  float* vector(const std::string& name, int64_t size, Look look = {});
  /// A matrix that is f32 on every device.
  Tensor wide_matrix(const std::string& name, int64_t rows, int64_t cols, Look look);
  /// What a float buffer holds before the call, as f32, gaps included.
  std::vector<float> initial_values(const std::string& name) const;
  float* given(const std::string& name, const std::vector<float>& values, Role role = Role::kInput);
  int32_t* integers(const std::string& name, const std::vector<int32_t>& values, Role role = Role::kInput);
  int32_t* integer_output(const std::string& name, int64_t size,
                          std::function<bool(int64_t, int32_t, int32_t)> tie = nullptr);
  uint8_t* bytes(const std::string& name, const std::vector<uint8_t>& values);
  double* doubles(const std::string& name, const std::vector<double>& values, Role role, Look look = {});
  StepScalars* scalars(const StepScalars& values, Role role = Role::kInput);
  template <class T>
  T* raw(const std::string& name, const std::vector<T>& values) {
    return static_cast<T*>(add(name, Buffer::Kind::kRaw, values.data(), values.size(), 1, sizeof(T), Look{}));
  }
  /// A parameter matrix, bound to the device as a model's are.
  Weight weight(const std::string& name, int64_t rows, int64_t cols, double scale);

  /// Random numbers for the case itself: uniform integers in [0, count), the same on every device.
  uint32_t choose(uint32_t count);

  void forward(std::function<void(Operators&)> call) { forward_ = std::move(call); }
  void backward(std::function<void(Operators&)> call) { backward_ = std::move(call); }
  /// Work of one forward + backward, for `bench`.
  void work(double flops, double bytes) { flops_ = flops, bytes_ = bytes; }

  /// For `grad`: the loss is Σ cotangent · y over the pairs; dx holds its gradient by x. Names of buffers.
  void cotangent(const std::string& y, const std::string& dy) { cotangents_.push_back({y, dy}); }
  void gradient(const std::string& x, const std::string& dx) { gradients_.push_back({x, dx}); }
  const std::vector<std::pair<std::string, std::string>>& cotangents() const { return cotangents_; }
  const std::vector<std::pair<std::string, std::string>>& gradients() const { return gradients_; }
  /// Whether bf16 has a part in the results.
  bool rounds() const { return rounds_; }

  void prepare();  ///< reserves the workspace, refreshes the weights
  void restore();  ///< every buffer as declared
  void run_forward() { forward_(device_); }
  void run_backward() {
    if (backward_) backward_(device_);
  }
  void fetch();  ///< downloads every buffer into `result`
  double flops() const { return flops_; }
  double bytes_moved() const { return bytes_; }
  std::vector<std::unique_ptr<Buffer>>& buffers() { return buffers_; }
  Buffer& buffer(const std::string& name) const;

 private:
  void* add(const std::string& name, Buffer::Kind kind, const void* values, size_t rows, size_t cols,
            size_t element, const Look& look);
  void* place(std::unique_ptr<Buffer> buffer);
  double uniform();

  Operators& device_;
  uint64_t seed_;
  Settings settings_;
  uint64_t state_;
  Capacity capacity_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<Weight> weights_;
  std::function<void(Operators&)> forward_, backward_;
  std::vector<std::pair<std::string, std::string>> cotangents_, gradients_;
  double flops_ = 0, bytes_ = 0;
  bool rounds_ = false;
};

/// What is wrong with the device's buffers; empty if nothing. `worst` receives the largest error in
/// tolerances.
std::string compare(const Scene& reference, const Scene& device, double* worst);
/// Whether all results of two runs on devices agree to the bit.
std::string compare_bits(const std::vector<std::vector<uint8_t>>& first, Scene& second);
std::vector<std::vector<uint8_t>> results_of(Scene& scene);

}  // namespace electra::test
