#include "scene.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace electra::test {
namespace {

constexpr size_t kGuardBytes = 256;
constexpr uint8_t kGuardByte =
    0xF7;  // as floats and doubles a huge negative number, as integers an absurd index
const float kPoison = std::numeric_limits<float>::quiet_NaN();

uint64_t hash_name(const std::string& name) {
  uint64_t h = 1469598103934665603ull;
  for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 1099511628211ull;
  return h;
}

uint64_t split_mix(uint64_t* state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

template <class T>
T value_at(const std::vector<uint8_t>& bytes, int64_t i) {
  T value;
  std::memcpy(&value, bytes.data() + kGuardBytes + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

/// Round to nearest, ties to even, as the devices do.
uint16_t bf16_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (std::isnan(value)) return 0x7FC0;
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16);
}

float from_bf16(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

/// Element i of a float buffer of either type.
float float_at(const Buffer& b, const std::vector<uint8_t>& bytes, int64_t i) {
  return b.kind == Buffer::Kind::kBFloat16 ? from_bf16(value_at<uint16_t>(bytes, i))
                                           : value_at<float>(bytes, i);
}

bool is_float(const Buffer& b) {
  return b.kind == Buffer::Kind::kFloat || b.kind == Buffer::Kind::kBFloat16;
}

/// The part of the largest result that an element may be off, for a sum of `terms` terms.
double relative_tolerance(double terms, bool rounds) {
  return rounds ? 4 * std::ldexp(1.0, -9) : 4 * std::ldexp(1.0, -24) * std::sqrt(std::max(1.0, terms));
}

std::string at(const Buffer& b, int64_t r, int64_t c) {
  return b.name + "[" + std::to_string(r) + (b.cols > 1 ? ", " + std::to_string(c) : "") + "]";
}

std::string number(double v) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.9g", v);
  return text;
}

std::string check_untouched(const Buffer& b) {
  const size_t size = b.initial.size();
  for (size_t i = 0; i < size; ++i) {
    const bool guard = i < kGuardBytes || i >= size - kGuardBytes;
    if ((guard || b.look.role == Role::kInput) && b.result[i] != b.initial[i]) {
      return b.name + (guard ? (i < kGuardBytes ? ": written before its start" : ": written past its end")
                             : ": an input was changed");
    }
  }
  if (!is_float(b)) return "";
  const size_t element = b.kind == Buffer::Kind::kFloat ? sizeof(float) : sizeof(uint16_t);
  for (int64_t r = 0; r < b.rows; ++r) {
    for (int64_t c = b.cols; c < b.stride; ++c) {
      const size_t i = kGuardBytes + static_cast<size_t>(r * b.stride + c) * element;
      if (i + element > size - kGuardBytes) continue;
      if (std::memcmp(b.result.data() + i, b.initial.data() + i, element) != 0) {
        return b.name + ": written between its rows, at row " + std::to_string(r);
      }
    }
  }
  return "";
}

std::string compare_floats(const Buffer& wanted, const Buffer& got, bool rounds, double* worst) {
  const int64_t actual = got.look.actual < 0 ? got.rows : got.look.actual;
  double largest = 0;
  for (int64_t r = 0; r < actual; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      const double w = value_at<float>(wanted.result, r * wanted.stride + c);
      if (std::isfinite(w)) largest = std::max(largest, std::fabs(w));
    }
  }
  const double tolerance =
      relative_tolerance(got.look.terms, rounds) * largest * got.look.slack + got.look.absolute;
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.cols; ++c) {
      const double g = float_at(got, got.result, r * got.stride + c);
      if (r >= actual) {
        const double before = float_at(got, got.initial, r * got.stride + c);
        const bool fine = got.look.beyond == Beyond::kZero   ? g == 0
                          : got.look.beyond == Beyond::kSame ? g == before
                                                             : std::isfinite(g);
        if (!fine) return at(got, r, c) + " lies beyond the actual extent and is " + number(g);
        continue;
      }
      const double w = value_at<float>(wanted.result, r * wanted.stride + c);
      if (g == w) continue;
      const double error = std::fabs(g - w);
      if (!(error <= tolerance)) {
        return at(got, r, c) + " is " + number(g) + ", wanted " + number(w) + " (error " + number(error) +
               ", tolerance " + number(tolerance) + ")";
      }
      *worst = std::max(*worst, error / tolerance);
    }
  }
  return "";
}

std::string compare_doubles(const Buffer& wanted, const Buffer& got, bool rounds, double* worst) {
  for (int64_t i = 0; i < got.rows; ++i) {
    const double g = value_at<double>(got.result, i), w = value_at<double>(wanted.result, i);
    const double tolerance = relative_tolerance(got.look.terms, rounds) * got.look.slack *
                                 std::max(std::fabs(w), got.look.scale) +
                             got.look.absolute;
    if (g == w) continue;
    if (!(std::fabs(g - w) <= tolerance)) return at(got, i, 0) + " is " + number(g) + ", wanted " + number(w);
    *worst = std::max(*worst, std::fabs(g - w) / tolerance);
  }
  return "";
}

std::string compare_integers(const Buffer& wanted, const Buffer& got) {
  for (int64_t i = 0; i < got.rows; ++i) {
    const int32_t g = value_at<int32_t>(got.result, i), w = value_at<int32_t>(wanted.result, i);
    if (g == w || (got.tie && got.tie(i, g, w))) continue;
    return at(got, i, 0) + " is " + std::to_string(g) + ", wanted " + std::to_string(w);
  }
  return "";
}

/// The scalars that operators write.
std::string compare_scalars(const Buffer& wanted, const Buffer& got) {
  const StepScalars w = value_at<StepScalars>(wanted.result, 0), g = value_at<StepScalars>(got.result, 0);
  if (g.finite != w.finite) return "scalars.finite is " + std::to_string(g.finite);
  if (g.nonfinite_segment != w.nonfinite_segment) {
    return "scalars.nonfinite_segment is " + std::to_string(g.nonfinite_segment) + ", wanted " +
           std::to_string(w.nonfinite_segment);
  }
  if (w.finite == 0) return "";  // the norm of a gradient that is no number
  const auto near = [](float a, float b) { return std::fabs(a - b) <= 4e-7f * std::fabs(b); };
  if (!near(g.gradient_norm, w.gradient_norm)) {
    return "scalars.gradient_norm is " + number(g.gradient_norm) + ", wanted " + number(w.gradient_norm);
  }
  return near(g.clip_scale, w.clip_scale)
             ? ""
             : "scalars.clip_scale is " + number(g.clip_scale) + ", wanted " + number(w.clip_scale);
}

}  // namespace

Scene::Scene(Operators& device, uint64_t seed, const Settings& settings)
    : device_(device), seed_(seed), settings_(settings), state_(seed ^ 0x5DEECE66Dull) {}

Scene::~Scene() {
  for (const Weight& weight : weights_) device_.unbind_parameters(weight.master);
  for (const auto& buffer : buffers_) device_.release(buffer->base);
}

bool Scene::is_reference() const { return std::strcmp(device_.info().device, "reference") == 0; }

uint32_t Scene::choose(uint32_t count) { return static_cast<uint32_t>(split_mix(&state_) % count); }

double Scene::uniform() { return static_cast<double>(split_mix(&state_) >> 11) * std::ldexp(1.0, -53); }

void* Scene::place(std::unique_ptr<Buffer> buffer) {
  buffer->base = device_.allocate(buffer->initial.size(), buffer->name.c_str());
  buffer->data = static_cast<char*>(buffer->base) + kGuardBytes;
  device_.upload(buffer->base, buffer->initial.data(), buffer->initial.size());
  buffers_.push_back(std::move(buffer));
  return buffers_.back()->data;
}

void* Scene::add(const std::string& name, Buffer::Kind kind, const void* values, size_t rows, size_t cols,
                 size_t element, const Look& look) {
  auto buffer = std::make_unique<Buffer>();
  buffer->name = name;
  buffer->kind = kind;
  buffer->look = look;
  buffer->rows = static_cast<int64_t>(rows);
  buffer->cols = buffer->stride = static_cast<int64_t>(cols);
  const size_t size = rows * cols * element;
  buffer->initial.assign(2 * kGuardBytes + size, kGuardByte);
  if (size > 0) std::memcpy(buffer->initial.data() + kGuardBytes, values, size);
  return place(std::move(buffer));
}

Tensor Scene::matrix(const std::string& name, int64_t rows, int64_t cols, Look look) {
  capacity_.tokens = std::max(capacity_.tokens, rows);
  capacity_.max_width = std::max(capacity_.max_width, static_cast<int32_t>(cols));
  const uint64_t saved = state_;
  state_ = seed_ ^ hash_name(name);
  auto buffer = std::make_unique<Buffer>();
  buffer->name = name;
  buffer->look = look;
  buffer->rows = rows;
  buffer->cols = cols;
  buffer->stride = cols + look.gap;
  if (settings_.aligned && look.gap > 0 && cols > 1) buffer->stride = (cols + 7) / 8 * 8 + 8;
  look.gap = buffer->stride - cols;
  // The reference computes in double from the rounded inputs. Weights stay f32 masters, of values that their
  // bf16 form holds exactly.
  const bool rounded = settings_.activations == DType::kBFloat16 && (!look.f32 || look.weight);
  const bool narrow = rounded && !look.f32 && !is_reference();
  rounds_ = rounds_ || rounded;
  // The gap after the last row belongs to the back guard.
  const int64_t floats = rows == 0 ? 0 : rows * buffer->stride - look.gap;
  std::vector<float> values(static_cast<size_t>(floats), kPoison);
  const int64_t actual = look.actual < 0 ? rows : look.actual;
  if (look.role == Role::kInput || look.role == Role::kAccumulator) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        const double value = look.offset + look.scale * (2 * uniform() - 1);
        const double spare = look.gradient || look.role == Role::kAccumulator ? 0 : 100 * value;
        values[static_cast<size_t>(r * buffer->stride + c)] = static_cast<float>(r < actual ? value : spare);
      }
    }
  }
  std::vector<uint16_t> halves;
  if (rounded) {
    for (const float value : values) halves.push_back(bf16_bits(value));
    for (size_t i = 0; i < values.size(); ++i) values[i] = from_bf16(halves[i]);
  }
  if (narrow) buffer->kind = Buffer::Kind::kBFloat16;
  const size_t size = values.size() * (narrow ? sizeof(uint16_t) : sizeof(float));
  const void* content =
      narrow ? static_cast<const void*>(halves.data()) : static_cast<const void*>(values.data());
  buffer->initial.assign(2 * kGuardBytes + size, kGuardByte);
  if (size > 0) std::memcpy(buffer->initial.data() + kGuardBytes, content, size);
  state_ = saved;
  Tensor tensor;
  tensor.dtype = narrow ? DType::kBFloat16 : DType::kFloat32;
  tensor.rows = rows;
  tensor.cols = cols;
  tensor.stride = buffer->stride;
  tensor.data = place(std::move(buffer));
  return tensor;
}

float* Scene::vector(const std::string& name, int64_t size, Look look) {
  const Capacity saved = capacity_;  // a parameter vector is no activation
  look.gap = 0;
  float* data = wide_matrix(name, size, 1, look).f32();
  capacity_ = saved;
  return data;
}

Tensor Scene::wide_matrix(const std::string& name, int64_t rows, int64_t cols, Look look) {
  look.f32 = true;
  return matrix(name, rows, cols, look);
}

std::vector<float> Scene::initial_values(const std::string& name) const {
  const Buffer& b = buffer(name);
  const size_t element = b.kind == Buffer::Kind::kBFloat16 ? sizeof(uint16_t) : sizeof(float);
  std::vector<float> values((b.initial.size() - 2 * kGuardBytes) / element);
  for (size_t i = 0; i < values.size(); ++i) values[i] = float_at(b, b.initial, static_cast<int64_t>(i));
  return values;
}

float* Scene::given(const std::string& name, const std::vector<float>& values, Role role) {
  Look look;
  look.role = role;
  return static_cast<float*>(
      add(name, Buffer::Kind::kFloat, values.data(), values.size(), 1, sizeof(float), look));
}

int32_t* Scene::integers(const std::string& name, const std::vector<int32_t>& values, Role role) {
  Look look;
  look.role = role;
  return static_cast<int32_t*>(
      add(name, Buffer::Kind::kInt32, values.data(), values.size(), 1, sizeof(int32_t), look));
}

int32_t* Scene::integer_output(const std::string& name, int64_t size,
                               std::function<bool(int64_t, int32_t, int32_t)> tie) {
  int32_t* data = integers(name, std::vector<int32_t>(static_cast<size_t>(size), -7), Role::kOutput);
  buffers_.back()->tie = std::move(tie);
  return data;
}

uint8_t* Scene::bytes(const std::string& name, const std::vector<uint8_t>& values) {
  return static_cast<uint8_t*>(add(name, Buffer::Kind::kByte, values.data(), values.size(), 1, 1, Look{}));
}

double* Scene::doubles(const std::string& name, const std::vector<double>& values, Role role, Look look) {
  look.role = role;
  return static_cast<double*>(
      add(name, Buffer::Kind::kDouble, values.data(), values.size(), 1, sizeof(double), look));
}

StepScalars* Scene::scalars(const StepScalars& values, Role role) {
  Look look;
  look.role = role;
  return static_cast<StepScalars*>(add("scalars", Buffer::Kind::kRaw, &values, 1, 1, sizeof(values), look));
}

Extent Scene::extent(int64_t capacity, int64_t actual) {
  capacity_.tokens = std::max(capacity_.tokens, capacity);
  Extent result;
  result.capacity = capacity;
  if (actual >= 0) {
    result.actual = integers("extent" + std::to_string(buffers_.size()), {static_cast<int32_t>(actual)});
  }
  return result;
}

Rows Scene::rows(const RowsLook& look) {
  Rows result;
  result.batch = static_cast<int32_t>(look.lengths.size());
  result.pitch = look.pitch;
  result.keep_padding = look.keep_padding;
  std::vector<int32_t> offsets{0}, global_row, token_row, token_position;
  for (int32_t b = 0; b < result.batch; ++b) {
    const int32_t length = look.keep_padding ? look.pitch : look.lengths[b];
    for (int32_t i = 0; i < length; ++i) {
      token_row.push_back(b);
      token_position.push_back(i);
    }
    offsets.push_back(offsets.back() + length);
    global_row.push_back(look.first_global_row + b);
  }
  for (int64_t i = 0; i < look.spare; ++i) {
    token_row.push_back(0);
    token_position.push_back(0);
  }
  result.tokens = extent(offsets.back() + look.spare, look.null_actual ? -1 : offsets.back());
  result.offsets = integers("offsets", offsets);
  result.valid = integers("valid", look.lengths);
  result.global_row = integers("global_row", global_row);
  result.token_row = integers("token_row", token_row);
  result.token_position = integers("token_position", token_position);
  capacity_.batch = std::max(capacity_.batch, result.batch);
  capacity_.pitch = std::max(capacity_.pitch, result.pitch);
  return result;
}

Weight Scene::weight(const std::string& name, int64_t rows, int64_t cols, double scale) {
  const Capacity saved = capacity_;
  Look look;
  look.scale = scale;
  look.gap = 0;
  look.weight = true;
  const Tensor master = wide_matrix(name, rows, cols, look);
  capacity_ = saved;
  capacity_.max_width = static_cast<int32_t>(std::max<int64_t>({capacity_.max_width, rows, cols}));
  Weight weight;
  weight.master = master.f32();
  weight.rows = rows;
  weight.cols = cols;
  weight.stride = master.stride;
  device_.bind_parameters(weight.master, rows * cols);
  weights_.push_back(weight);
  return weight;
}

void Scene::prepare() {
  device_.reserve(capacity_);
  for (const Weight& weight : weights_) device_.refresh_parameters(weight.master);
}

void Scene::restore() {
  for (const auto& b : buffers_) device_.upload(b->base, b->initial.data(), b->initial.size());
}

void Scene::fetch() {
  device_.synchronize();
  for (const auto& b : buffers_) {
    b->result.resize(b->initial.size());
    device_.download(b->result.data(), b->base, b->initial.size());
  }
}

Buffer& Scene::buffer(const std::string& name) const {
  for (const auto& b : buffers_) {
    if (b->name == name) return *b;
  }
  throw EngineError("ERR_ELECTRA_TEST", "no buffer named %s", name.c_str());
}

std::string compare(const Scene& reference, const Scene& device, double* worst) {
  const auto& wanted = const_cast<Scene&>(reference).buffers();
  const auto& got = const_cast<Scene&>(device).buffers();
  for (size_t i = 0; i < got.size(); ++i) {
    const Buffer& g = *got[i];
    std::string wrong = check_untouched(g);
    if (wrong.empty())
      wrong = check_untouched(*wanted[i]).empty() ? "" : "reference: " + check_untouched(*wanted[i]);
    if (wrong.empty() && g.look.role != Role::kInput && g.look.role != Role::kScratch) {
      if (is_float(g)) wrong = compare_floats(*wanted[i], g, device.rounds(), worst);
      if (g.kind == Buffer::Kind::kDouble) wrong = compare_doubles(*wanted[i], g, device.rounds(), worst);
      if (g.kind == Buffer::Kind::kRaw && g.name == "scalars") wrong = compare_scalars(*wanted[i], g);
      if (g.kind == Buffer::Kind::kInt32) wrong = compare_integers(*wanted[i], g);
    }
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::vector<std::vector<uint8_t>> results_of(Scene& scene) {
  std::vector<std::vector<uint8_t>> results;
  for (const auto& b : scene.buffers()) results.push_back(b->result);
  return results;
}

std::string compare_bits(const std::vector<std::vector<uint8_t>>& first, Scene& second) {
  for (size_t i = 0; i < first.size(); ++i) {
    const Buffer& b = *second.buffers()[i];
    // Inputs are checked elsewhere, and structs among them have padding.
    if (b.look.role == Role::kScratch || b.look.role == Role::kInput) continue;
    if (b.kind == Buffer::Kind::kRaw) {
      const StepScalars one = value_at<StepScalars>(first[i], 0), two = value_at<StepScalars>(b.result, 0);
      if (std::memcmp(&one.clip_scale, &two.clip_scale, sizeof(float)) == 0 &&
          std::memcmp(&one.gradient_norm, &two.gradient_norm, sizeof(float)) == 0 &&
          one.finite == two.finite && one.nonfinite_segment == two.nonfinite_segment) {
        continue;
      }
      return b.name + " differs";
    }
    if (first[i] != b.result) return b.name + " differs";
  }
  return "";
}

}  // namespace electra::test
