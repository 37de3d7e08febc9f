// The language-model head: loss, gradients, argmax, Gumbel samples, log q.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>

#include "cases.h"
#include "reference_operators.h"

namespace electra::test {
namespace {

struct Shape {
  int64_t rows, spare, width;
  int32_t vocabulary;
};

enum Wants : unsigned {
  kLoss = 1,
  kGradient = 2,
  kSample = 4,
  kGrouped = 8,  ///< several slots a row, or none
  kGiven = 16,   ///< injected uniforms
  kDisallow = 32,
  kLogQ = 64,
  kAdd = 128,  ///< dx into what is there
  kLogits = 256,
  kPeaked = 2048,  ///< a few ids have nearly all the probability
  kSteep = 8192,   ///< gaps of hundreds between the first ids
  kHuge = 4096,    ///< logits beyond 10^4
  kTies = 1024,    ///< all scores equal: the lowest id wins
  kRead = 512,     ///< log q of samples that are given, not drawn
};

/// Beyond this gap f32 decides like float64: scores are sums of `width` products of size `scale` and carry
/// noise of a few 1e-6 · scale.
double tie_gap(double scale) { return 2.5e-5 * std::max(2.0, scale); }

/// Scores in double from the scene's own inputs, to judge whether two ids are a tie.
struct Scores {
  std::vector<float> x, table, bias, uniform;
  std::vector<int32_t> slot_row, slot_local, slot_target, slot_coordinate;
  int64_t x_stride = 0, width = 0;
  int32_t vocabulary = 0;
  double temperature = 1;
  bool disallow = false, sampling = false;
  StepScalars scalars;

  double logit(int64_t r, int64_t v) const {
    double sum = bias[v];
    for (int64_t e = 0; e < width; ++e)
      sum += static_cast<double>(x[r * x_stride + e]) * table[v * width + e];
    return sum;
  }
  double score(int64_t s, int32_t v) const {
    float u;
    if (uniform.empty()) {
      u = uniform_open(random_block(scalars.seed, RandomPurpose::kGumbel,
                                    gumbel_block(static_cast<uint64_t>(slot_coordinate[s]),
                                                 static_cast<uint32_t>(vocabulary), static_cast<uint32_t>(v)),
                                    scalars.step, 0)
                           .word[v % 4]);
    } else {
      u = uniform[static_cast<size_t>(slot_local[s]) * vocabulary + v];
    }
    return logit(slot_row[s], v) / temperature - (disallow && v == slot_target[s] ? 1000 : 0) +
           gumbel_noise(u);
  }
  bool in_range(int32_t v) const { return v >= 0 && v < vocabulary; }
};

void declare_head(Scene& s, const Shape& shape, unsigned wants, float temperature) {
  const int64_t n = shape.rows, capacity = n + shape.spare;
  const bool samples = (wants & (kSample | kRead)) != 0, grouped = (wants & kGrouped) != 0;
  s.capacity().vocabulary = shape.vocabulary;
  s.capacity().lm_rows = capacity;
  auto scores = std::make_shared<Scores>();
  scores->scalars = step_scalars();

  LanguageModelHead p;
  p.rows = s.extent(capacity, n);
  Look input;
  input.actual = n;
  input.scale = (wants & kTies) != 0     ? 0
                : (wants & kPeaked) != 0 ? 14
                : (wants & kSteep) != 0  ? 600
                : (wants & kHuge) != 0   ? 30000
                                         : 2;
  p.x = s.matrix("x", capacity, shape.width, input);
  p.table =
      s.weight("table", shape.vocabulary, shape.width, 1.7 / std::sqrt(static_cast<double>(shape.width)));
  p.bias = s.vector("bias", shape.vocabulary, input_look((wants & kTies) != 0 ? 0 : 1));
  p.temperature = temperature;
  scores->x = s.initial_values("x");
  scores->table = s.initial_values("table");
  scores->bias = s.initial_values("bias");
  scores->x_stride = p.x.stride;
  scores->width = shape.width;
  scores->vocabulary = shape.vocabulary;
  scores->temperature = temperature;
  scores->disallow = (wants & kDisallow) != 0;

  const double terms =
      static_cast<double>(shape.width) + 16;  // log-sum-exp adds the exponential's and logarithm's ulps
  const auto random_ids = [&](int64_t count) {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < count; ++i)
      ids.push_back(static_cast<int32_t>(s.choose(static_cast<uint32_t>(shape.vocabulary))));
    return ids;
  };

  std::vector<float> weights, cotangent;
  const float scale = 0.25f;
  for (int64_t r = 0; r < capacity; ++r) {
    const float choices[] = {1, 0, 1, 0.5f, 2};
    weights.push_back(choices[s.choose(5)]);
    cotangent.push_back(weights.back() * scale);
  }
  if ((wants & kLoss) != 0) {
    p.targets = s.integers("targets", random_ids(capacity));
    p.weights = s.given("weights", weights);
    s.given("dnll", cotangent);
    p.scale = s.given("scale", {scale});
    p.nll = s.vector("nll", capacity, output_look(n, terms));
  }

  int64_t slots = 0;
  if (samples) {
    std::vector<int32_t> row_slots{0}, order, row;
    for (int64_t r = 0; r < capacity; ++r) {
      const int32_t count = r >= n ? 0 : grouped ? static_cast<int32_t>(s.choose(4)) : 1;
      row_slots.push_back(row_slots.back() + count);
      row.insert(row.end(), static_cast<size_t>(count), static_cast<int32_t>(r));
    }
    slots = row_slots.back();
    // Slots are numbered in another order than the rows that they belong to.
    for (int32_t i = 0; i < slots; ++i) order.push_back(i);
    for (int32_t i = static_cast<int32_t>(slots) - 1; grouped && i > 0; --i) {
      std::swap(order[i], order[s.choose(static_cast<uint32_t>(i + 1))]);
    }
    scores->slot_row.resize(static_cast<size_t>(slots));
    for (int32_t i = 0; i < slots; ++i) scores->slot_row[order[i]] = row[i];
    const int64_t slot_capacity = grouped ? slots + 3 : capacity;
    s.capacity().slots = slot_capacity;
    p.slots = s.extent(slot_capacity, slots);
    order.resize(static_cast<size_t>(slot_capacity), 0);
    if (grouped) {
      p.row_slots = s.integers("row_slots", row_slots);
      p.slot_order = s.integers("slot_order", order);
    }
    scores->slot_target = random_ids(slot_capacity);
    for (int64_t i = 0; (wants & kDisallow) != 0 && shape.vocabulary < 6000 && i < slots; i += 2) {
      // Every other slot forbids the likeliest id.
      std::vector<double> z;
      for (int64_t v = 0; v < shape.vocabulary; ++v) z.push_back(scores->logit(scores->slot_row[i], v));
      scores->slot_target[i] = static_cast<int32_t>(std::max_element(z.begin(), z.end()) - z.begin());
    }
    for (int64_t i = 0; i < slot_capacity; ++i) {
      scores->slot_coordinate.push_back(static_cast<int32_t>(i < slots ? 70000 + 7 * i : 0));
      scores->slot_local.push_back(static_cast<int32_t>(i < slots ? slots - 1 - i : 0));
    }
    p.slot_target = s.integers("slot_target", scores->slot_target);
    p.slot_coordinate = s.integers("slot_coordinate", scores->slot_coordinate);
    p.slot_local = s.integers("slot_local", scores->slot_local);
    p.scalars = s.scalars(step_scalars());
    p.disallow_correct = (wants & kDisallow) != 0;
    p.sample = (wants & kSample) != 0;
    if ((wants & kGiven) != 0) {
      Look uniform;
      uniform.offset = 0.5;
      uniform.scale = (wants & kTies) != 0 ? 0 : 0.5;
      p.given_uniform = s.vector("uniform", slots * shape.vocabulary, uniform);
      scores->uniform = s.initial_values("uniform");
    }
    p.sampled = p.sample
                    ? s.integer_output("sampled", slot_capacity,
                                       [=](int64_t i, int32_t got, int32_t wanted) {
                                         return (wants & kTies) == 0 && i < slots && scores->in_range(got) &&
                                                scores->score(i, wanted) - scores->score(i, got) <
                                                    tie_gap(input.scale);
                                       })
                    : s.integers("sampled", random_ids(slot_capacity));
  }
  if ((wants & kLogQ) != 0) {
    std::vector<uint8_t> keeps;
    for (int64_t r = 0; r < capacity; ++r) keeps.push_back(s.choose(4) == 0 ? 1 : 0);
    p.row_ids = s.integers("row_ids", random_ids(capacity));
    p.row_keeps_id = s.bytes("row_keeps_id", keeps);
    p.log_q = s.vector("log_q", capacity, output_look(n, terms));
  }
  p.predictions = s.integer_output("predictions", capacity, [=](int64_t i, int32_t got, int32_t wanted) {
    return i >= n || ((wants & kTies) == 0 && scores->in_range(got) &&
                      scores->logit(i, wanted) - scores->logit(i, got) < tie_gap(input.scale));
  });
  p.log_sum_exp = s.vector("log_sum_exp", capacity, output_look(n, terms));
  if ((wants & kLogits) != 0) {
    Look look = output_look(n * shape.vocabulary, static_cast<double>(shape.width));
    p.logits = s.vector("logits", capacity * shape.vocabulary, look);
  }
  Look sums;
  sums.terms = terms;
  double* memory = s.doubles("sums", {0.5, 1.5, 2.5, 3.5, 4.5}, Role::kAccumulator, sums);
  p.sums = static_cast<LanguageModelSums*>(static_cast<void*>(memory));
  if ((wants & kGradient) != 0) {
    const Into into = (wants & kAdd) != 0 ? Into::kAdd : Into::kWrite;
    const double chain = terms + std::sqrt(static_cast<double>(shape.vocabulary));
    // dx adds a term for each word, in one running sum where a product does not split it.
    const double words = terms + static_cast<double>(shape.vocabulary);
    p.dx = s.matrix("dx", capacity, shape.width, gradient_output(n, words, into));
    p.into = into;
    Look table = parameter_gradient(static_cast<double>(n) + chain);
    table.gap = 0;
    p.d_table = s.wide_matrix("dtable", shape.vocabulary, shape.width, table).f32();
    p.d_bias = s.vector("dbias", shape.vocabulary, parameter_gradient(static_cast<double>(n) + chain));
    s.cotangent("nll", "dnll");
    for (const char* x : {"x", "table", "bias"}) s.gradient(x, std::string("d") + x);
  }
  s.forward([=](Operators& o) { o.language_model_head(p); });
  const double macs = static_cast<double>(n * shape.width) * shape.vocabulary;
  s.work(2 * macs * ((wants & kGradient) != 0 ? 3 : 1), 0);
}

}  // namespace

void add_language_model_cases(Cases* cases) {
  const Shape shapes[] = {
      {37, 4, 24, 131}, {70, 0, 64, 500}, {1, 0, 16, 7}, {0, 3, 16, 50}, {130, 1, 32, 1030}};
  const std::pair<const char*, unsigned> kinds[] = {
      {"inference", kLogits},
      {"loss only", kLoss},
      {"loss and gradient", kLoss | kGradient},
      {"adding gradient", kLoss | kGradient | kAdd},
      {"loss, gradient and samples", kLoss | kGradient | kSample},
      {"samples of given draws", kLoss | kGradient | kSample | kGiven},
      {"samples but the true id", kSample | kDisallow},
      {"several samples a row", kSample | kGrouped | kLogQ},
      {"everything at once", kLoss | kGradient | kSample | kGrouped | kDisallow | kLogQ | kLogits},
      {"log q of given samples", kRead | kGrouped | kLogQ},
      {"log q of ids", kLogQ},
      {"ties", kLoss | kSample | kGiven | kTies},
      {"ties, but the true id", kSample | kGiven | kDisallow | kTies},
  };
  for (const Shape& shape : shapes) {
    for (const auto& kind : kinds) {
      const unsigned wants = kind.second;
      const std::string name = std::string(kind.first) + ", R=" + std::to_string(shape.rows) +
                               " E=" + std::to_string(shape.width) + " V=" + std::to_string(shape.vocabulary);
      cases->push_back({"language_model_head", name, [=](Scene& s) { declare_head(s, shape, wants, 1); }});
    }
    cases->push_back({"language_model_head", "temperature 0.5, V=" + std::to_string(shape.vocabulary),
                      [=](Scene& s) { declare_head(s, shape, kLoss | kGradient | kSample, 0.5f); }});
  }
  const Shape many{150, 0, 8, 3001};
  const std::pair<const char*, unsigned> logits[] = {
      {"flat", 0}, {"peaked", kPeaked}, {"steep", kSteep}, {"huge", kHuge}};
  for (const auto& kind : logits) {
    const std::string name = kind.first;
    const unsigned size = kind.second;
    for (const unsigned how :
         {0u, unsigned{kGrouped}, unsigned{kGiven}, unsigned{kDisallow}, unsigned{kDisallow | kGiven}}) {
      cases->push_back({"language_model_head", "draws from " + name + " logits, " + std::to_string(how),
                        [=](Scene& s) { declare_head(s, many, kLoss | kSample | how | size, 1); }});
    }
    cases->push_back({"language_model_head", "draws from " + name + " logits at temperature 2",
                      [=](Scene& s) { declare_head(s, many, kSample | kDisallow | size, 2); }});
  }
  const Shape vocabulary{19, 2, 64, 30522};
  cases->push_back({"language_model_head", "the whole vocabulary",
                    [=](Scene& s) { declare_head(s, vocabulary, kLoss | kGradient | kSample | kLogQ, 1); }});
  const Shape real{608, 0, 128, 30522};
  cases->push_back({"language_model_head", "608 rows, 30522 ids, samples",
                    [=](Scene& s) { declare_head(s, real, kLoss | kGradient | kSample, 1); }, true});
  cases->push_back({"language_model_head", "608 rows, 30522 ids",
                    [=](Scene& s) { declare_head(s, real, kLoss | kGradient, 1); }, true});
}

}  // namespace electra::test
