#include "parameters.h"

#include <algorithm>
#include <cmath>

namespace electra {

namespace {

constexpr int64_t kBlockElements = 1024;

/// FNV-1a over the name: the site of the initializer's random words, so that a variable starts the same in
/// every model.
uint32_t name_hash(const std::string& name) {
  uint32_t hash = 2166136261u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

/// Four standard normals of one block (Box and Muller 1958).
void normals(uint64_t seed, uint64_t block, uint32_t attempt, uint32_t site, float out[4]) {
  const PhiloxWords words = random_block(seed, RandomPurpose::kInitializer, block, attempt, site);
  for (int pair = 0; pair < 2; ++pair) {
    const double radius = std::sqrt(-2.0 * std::log(static_cast<double>(uniform_open(words.word[2 * pair]))));
    const double angle = 2.0 * M_PI * static_cast<double>(uniform_open(words.word[2 * pair + 1]));
    out[2 * pair] = static_cast<float>(radius * std::cos(angle));
    out[2 * pair + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

/// TensorFlow's truncated normal: draws outside ±2 standard deviations are drawn again.
void fill_truncated_normal(uint64_t seed, uint32_t site, float deviation, std::vector<float>& values) {
  float four[4];
  for (size_t first = 0; first < values.size(); first += 4) {
    normals(seed, first / 4, 0, site, four);
    for (size_t i = first; i < std::min(first + 4, values.size()); ++i) {
      float x = four[i - first];
      for (uint32_t attempt = 1; std::fabs(x) > 2.0f; ++attempt) {
        float again[4];
        // Redraws count from a block range of their own, one per element.
        normals(seed, (uint64_t{1} << 40) + i, attempt, site, again);
        x = again[0];
      }
      values[i] = x * deviation;
    }
  }
}

void fill_glorot_uniform(uint64_t seed, uint32_t site, int64_t in, int64_t out, std::vector<float>& values) {
  const float limit = std::sqrt(6.0f / static_cast<float>(in + out));
  for (size_t i = 0; i < values.size(); ++i) {
    const PhiloxWords words = random_block(seed, RandomPurpose::kInitializer, i / 4, 0, site);
    values[i] = limit * (2.0f * uniform_open(words.word[i % 4]) - 1.0f);
  }
}

}  // namespace

bool is_decayed(const std::string& name) {
  return name.find("LayerNorm") == std::string::npos && name.find("layer_norm") == std::string::npos &&
         name.find("bias") == std::string::npos;
}

int64_t ParameterTable::reserve_block(int64_t elements) {
  const int64_t offset = size_;
  size_ += (elements + kBlockElements - 1) / kBlockElements * kBlockElements;
  blocks_.push_back(Block{offset, elements, static_cast<int>(parameters_.size())});
  return offset;
}

int ParameterTable::add(const std::string& name, std::vector<int64_t> shape, Initializer initializer,
                        float range) {
  if (index_.count(name))
    throw EngineError("ERR_ELECTRA_PARAMETER", "variable %s registered twice", name.c_str());
  int64_t elements = 1;
  for (const int64_t dim : shape) elements *= dim;
  Parameter parameter;
  parameter.name = name;
  parameter.offset = reserve_block(elements);
  parameter.stride = shape.back();
  parameter.shape = std::move(shape);
  parameter.initializer = initializer;
  parameter.initializer_range = range;
  parameter.decay = is_decayed(name);
  const int index = static_cast<int>(parameters_.size());
  parameters_.push_back(std::move(parameter));
  index_[name] = index;
  return index;
}

ParameterTable::QueryKeyValue ParameterTable::add_query_key_value(const std::string& scope, int64_t hidden,
                                                                  float range) {
  static const char* const kParts[] = {"query", "key", "value"};
  const int first = static_cast<int>(parameters_.size());
  const int64_t kernel = reserve_block(hidden * 3 * hidden);
  // The bias block's first variable is query/bias, the second that is added below.
  const int64_t bias = reserve_block(3 * hidden);
  blocks_.back().first = first + 1;
  for (int part = 0; part < 3; ++part) {
    const std::string name = scope + "/" + kParts[part];
    Parameter k;
    k.name = name + "/kernel";
    k.shape = {hidden, hidden};
    k.offset = kernel + part * hidden;
    k.stride = 3 * hidden;
    k.initializer = Initializer::kTruncatedNormal;
    k.initializer_range = range;
    k.decay = true;
    Parameter b;
    b.name = name + "/bias";
    b.shape = {hidden};
    b.offset = bias + part * hidden;
    b.stride = hidden;
    for (Parameter* parameter : {&k, &b}) {
      if (index_.count(parameter->name))
        throw EngineError("ERR_ELECTRA_PARAMETER", "variable %s registered twice", parameter->name.c_str());
      index_[parameter->name] = static_cast<int>(parameters_.size());
      parameters_.push_back(*parameter);
    }
  }
  return QueryKeyValue{first, first + 1};
}

int ParameterTable::find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? -1 : it->second;
}

std::vector<Segment> ParameterTable::segments(float weight_decay_rate) const {
  std::vector<Segment> result;
  for (const Block& block : blocks_) {
    Segment segment;
    segment.offset = block.offset;
    segment.size = block.size;
    segment.decay = at(block.first).decay ? weight_decay_rate : 0.0f;
    result.push_back(segment);
  }
  return result;
}

size_t ParameterTable::block_at(int64_t offset) const {
  const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), offset,
                                      [](int64_t value, const Block& block) { return value < block.offset; });
  return static_cast<size_t>(after - blocks_.begin()) - 1;
}

const std::string& ParameterTable::name_at(int64_t offset) const {
  return at(blocks_[block_at(offset)].first).name;
}

Parameters::Parameters(Operators& operators, ParameterTable table, float weight_decay_rate)
    : operators_(operators), table_(std::move(table)) {
  static const char* const kPurpose[] = {"parameters", "gradients", "Adam's first moments",
                                         "Adam's second moments"};
  try {
    for (int i = 0; i < 4; ++i)
      buffers_[i] = static_cast<float*>(
          operators_.allocate(static_cast<size_t>(table_.size()) * sizeof(float), kPurpose[i]));
    host_segments_ = table_.segments(weight_decay_rate);
    segment_count_ = static_cast<int32_t>(host_segments_.size());
    const size_t bytes = host_segments_.size() * sizeof(Segment);
    segments_ = static_cast<Segment*>(operators_.allocate(bytes, "the table of optimizer settings"));
    operators_.upload(segments_, host_segments_.data(), bytes);
    operators_.bind_parameters(buffers_[0], table_.size());
  } catch (...) {
    for (float* buffer : buffers_) operators_.release(buffer);
    operators_.release(segments_);
    throw;
  }
}

Parameters::~Parameters() {
  operators_.unbind_parameters(buffers_[0]);
  for (float* buffer : buffers_) operators_.release(buffer);
  operators_.release(segments_);
}

void Parameters::initialize(uint64_t seed) {
  std::vector<float> values;
  for (const Parameter& parameter : table_.all()) {
    values.assign(static_cast<size_t>(parameter.rows() * parameter.cols()), 0.0f);
    const uint32_t site = name_hash(parameter.name);
    switch (parameter.initializer) {
      case Initializer::kZeros:
        break;
      case Initializer::kOnes:
        std::fill(values.begin(), values.end(), 1.0f);
        break;
      case Initializer::kTruncatedNormal:
        fill_truncated_normal(seed, site, parameter.initializer_range, values);
        break;
      case Initializer::kGlorotUniform:
        fill_glorot_uniform(seed, site, parameter.rows(), parameter.cols(), values);
        break;
    }
    write(ParameterKind::kValue, parameter.name, values.data(), static_cast<int64_t>(values.size()));
  }
  for (const ParameterKind kind : {ParameterKind::kAdamM, ParameterKind::kAdamV})
    operators_.zero(buffer(kind), static_cast<size_t>(table_.size()) * sizeof(float));
  zero_gradients();
}

const Parameter& Parameters::entry(const std::string& name, int64_t elements) const {
  const int index = table_.find(name);
  if (index < 0) throw EngineError("ERR_ELECTRA_PARAMETER", "this model has no variable %s", name.c_str());
  const Parameter& parameter = table_.at(index);
  if (elements != parameter.rows() * parameter.cols())
    throw EngineError("ERR_ELECTRA_PARAMETER", "variable %s has %lld elements, not %lld", name.c_str(),
                      static_cast<long long>(parameter.rows() * parameter.cols()),
                      static_cast<long long>(elements));
  return parameter;
}

void Parameters::read(ParameterKind kind, const std::string& name, float* host, int64_t elements) const {
  const Parameter& parameter = entry(name, elements);
  const float* from = buffer(kind) + parameter.offset;
  if (parameter.stride == parameter.cols()) {
    operators_.download(host, from, static_cast<size_t>(elements) * sizeof(float));
    return;
  }
  for (int64_t row = 0; row < parameter.rows(); ++row)
    operators_.download(host + row * parameter.cols(), from + row * parameter.stride,
                        static_cast<size_t>(parameter.cols()) * sizeof(float));
}

void Parameters::write(ParameterKind kind, const std::string& name, const float* host, int64_t elements) {
  const Parameter& parameter = entry(name, elements);
  float* to = buffer(kind) + parameter.offset;
  if (parameter.stride == parameter.cols()) {
    operators_.upload(to, host, static_cast<size_t>(elements) * sizeof(float));
    return;
  }
  for (int64_t row = 0; row < parameter.rows(); ++row)
    operators_.upload(to + row * parameter.stride, host + row * parameter.cols(),
                      static_cast<size_t>(parameter.cols()) * sizeof(float));
}

Weight Parameters::weight(int index, int64_t columns) const {
  const Parameter& parameter = table_.at(index);
  Weight weight;
  weight.master = value(index);
  weight.rows = parameter.rows();
  weight.cols = columns > 0 ? columns : parameter.cols();
  weight.stride = parameter.stride;
  return weight;
}

void Parameters::set_learning_rate_scales(const std::vector<float>& scales) {
  const std::vector<Parameter>& all = table_.all();
  if (scales.size() != all.size())
    throw EngineError("ERR_ELECTRA_ARGUMENT", "%zu learning-rate factors for %zu variables", scales.size(),
                      all.size());
  std::vector<Segment> segments = host_segments_;
  std::vector<int> owner(segments.size(), -1);
  for (size_t i = 0; i < all.size(); ++i) {
    const size_t block = table_.block_at(all[i].offset);
    if (owner[block] < 0) {
      owner[block] = static_cast<int>(i);
      segments[block].learning_rate_scale = scales[i];
    } else if (segments[block].learning_rate_scale != scales[i]) {
      throw EngineError("ERR_ELECTRA_ARGUMENT",
                        "the learning-rate factor of %s is %g and that of %s %g, but they are updated as one",
                        table_.at(owner[block]).name.c_str(), segments[block].learning_rate_scale,
                        all[i].name.c_str(), scales[i]);
    }
  }
  host_segments_ = segments;
  operators_.upload(segments_, host_segments_.data(), host_segments_.size() * sizeof(Segment));
}

void Parameters::zero_gradients() {
  operators_.zero(buffer(ParameterKind::kGradient), static_cast<size_t>(table_.size()) * sizeof(float));
}

void Parameters::refresh_weights() { operators_.refresh_parameters(buffers_[0]); }

size_t Parameters::bytes_for(const Operators& operators, int64_t size) {
  return static_cast<size_t>(size) * sizeof(float) * 4 + operators.compute_form_bytes(size);
}

}  // namespace electra
