#pragma once
// The parameter table (names, shapes, places) and the four flat buffers: value, gradient, Adam m, Adam v.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "../operators.h"

namespace electra {

enum class Initializer : int32_t { kZeros = 0, kOnes = 1, kTruncatedNormal = 2, kGlorotUniform = 3 };

/// One variable under the reference's name. Matrices are [rows, cols] with rows `stride` apart; query, key
/// and value kernels are column views of one [h, 3h] block, their biases of one [3h] block.
struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0;
  int64_t stride = 0;
  Initializer initializer = Initializer::kZeros;
  float initializer_range = 0.02f;
  bool decay = false;

  int64_t rows() const { return shape.size() == 2 ? shape[0] : 1; }
  int64_t cols() const { return shape.back(); }
};

/// Names of variables that the optimizer does not decay: LayerNorm parameters and every bias (also
/// output_bias).
bool is_decayed(const std::string& name);

class ParameterTable {
 public:
  /// Registers a variable in a block of its own; returns its index.
  int add(const std::string& name, std::vector<int64_t> shape, Initializer initializer, float range);
  /// Registers query, key and value kernel and bias under `scope`/…; the block starts at query's offset.
  struct QueryKeyValue {
    int kernel, bias;  ///< indices of query/kernel and query/bias
  };
  QueryKeyValue add_query_key_value(const std::string& scope, int64_t hidden, float range);

  int find(const std::string& name) const;  ///< −1 when absent
  const Parameter& at(int index) const { return parameters_[static_cast<size_t>(index)]; }
  const std::vector<Parameter>& all() const { return parameters_; }
  /// Length of the flat buffers; every block starts at a multiple of 1024 elements.
  int64_t size() const { return size_; }
  /// Blocks with their optimizer settings, in order of offset.
  std::vector<Segment> segments(float weight_decay_rate) const;
  /// Index of the block (and of its segment) that a flat offset lies in.
  size_t block_at(int64_t offset) const;
  /// Name of the first variable of the block at a flat offset.
  const std::string& name_at(int64_t offset) const;

 private:
  int64_t reserve_block(int64_t elements);
  std::vector<Parameter> parameters_;
  std::unordered_map<std::string, int> index_;
  struct Block {
    int64_t offset, size;
    int first;
  };
  std::vector<Block> blocks_;
  int64_t size_ = 0;
};

enum class ParameterKind : int32_t { kValue = 0, kGradient = 1, kAdamM = 2, kAdamV = 3 };

/// Owns the buffers on the device.
class Parameters {
 public:
  Parameters(Operators& operators, ParameterTable table, float weight_decay_rate);
  ~Parameters();
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  const ParameterTable& table() const { return table_; }
  /// Fills every variable by its initializer; the same seed and name give the same values in every model.
  void initialize(uint64_t seed);
  /// Copies a variable to or from the host, dense row-major. Throws ERR_ELECTRA_PARAMETER for an unknown name
  /// or size.
  void read(ParameterKind kind, const std::string& name, float* host, int64_t elements) const;
  void write(ParameterKind kind, const std::string& name, const float* host, int64_t elements);

  float* value(int index) const { return buffers_[0] + table_.at(index).offset; }
  float* gradient(int index) const { return buffers_[1] + table_.at(index).offset; }
  /// The weight of a linear layer: `columns` of the block that starts at variable `index` (3 h for query,
  /// key, value).
  Weight weight(int index, int64_t columns = 0) const;
  float* buffer(ParameterKind kind) const { return buffers_[static_cast<int>(kind)]; }
  const Segment* device_segments() const { return segments_; }
  int32_t segment_count() const { return segment_count_; }
  const std::vector<Segment>& host_segments() const { return host_segments_; }
  /// Factors of the learning rate, one for each variable in the table's order. Query, key and value of a
  /// layer lie in one block and must have one and the same (ERR_ELECTRA_ARGUMENT).
  void set_learning_rate_scales(const std::vector<float>& scales);
  void zero_gradients();
  /// Brings the device's compute form up to date; call after values were written. Adam does it by itself.
  void refresh_weights();
  size_t bytes() const { return bytes_for(operators_, table_.size()); }
  /// What `size` parameters take: values, gradients, two moments, the device's compute form.
  static size_t bytes_for(const Operators& operators, int64_t size);

 private:
  const Parameter& entry(const std::string& name, int64_t elements) const;
  Operators& operators_;
  ParameterTable table_;
  float* buffers_[4] = {};
  Segment* segments_ = nullptr;
  int32_t segment_count_ = 0;
  std::vector<Segment> host_segments_;
};

}  // namespace electra
