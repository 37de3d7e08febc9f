// The engine at real shapes (head size 64, a vocabulary of 30522, ragged rows, dropout on) against the naive
// double model: losses, samples, and gradients by directional derivatives. The golden fixtures are tiny and
// without dropout; these reach the fast paths.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#if defined(ELECTRA_TEST_CUDA)
#include "../../../cuda/library.h"
extern "C" electra::Operators* electra_cuda_create(uint64_t, const electra::cuda::LibraryOptions*);
#else
#include "../../../native/cpu/cpu_operators.h"
#endif
#include "../../../native/model/pretraining_model.h"
#include "naive_model.h"

namespace electra::test {
namespace {

constexpr uint64_t kSeed = 20260;
constexpr uint32_t kStep = 7;

struct Fixture {
  const char* name;
  int length;
  std::vector<int32_t> lengths;
};

uint32_t word(uint32_t index, uint32_t site) {
  return random_block(99, RandomPurpose::kInitializer, index, 0, site).word[0];
}

PretrainingConfig small_model(int length) {
  PretrainingConfig config;
  config.discriminator.num_hidden_layers = 2;
  config.generator = config.discriminator;
  config.generator.hidden_size = 64;
  config.generator.num_attention_heads = 1;
  config.generator.intermediate_size = 256;
  config.max_seq_length = length;
  config.max_predictions_per_seq = static_cast<int32_t>((0.15 + 0.005) * length);
  return config;
}

NaiveBatch make_batch(const Fixture& fixture, const PretrainingConfig& config) {
  NaiveBatch batch;
  batch.rows = static_cast<int>(fixture.lengths.size());
  batch.length = fixture.length;
  batch.lengths = fixture.lengths;
  batch.ids.assign(static_cast<size_t>(batch.rows) * batch.length, 0);
  batch.segments.assign(batch.ids.size(), 0);
  for (int b = 0; b < batch.rows; ++b)
    for (int i = 0; i < batch.lengths[static_cast<size_t>(b)]; ++i) {
      const size_t at = static_cast<size_t>(b) * batch.length + i;
      // A few ids recur often, so that embedding gradients meet repeated rows.
      const uint32_t r = word(static_cast<uint32_t>(at), 1);
      batch.ids[at] = static_cast<int32_t>(1000 + (r % 4 == 0 ? r % 5 : r % 29000));
      batch.segments[at] = i > batch.lengths[static_cast<size_t>(b)] / 2;
      if (i == 0) batch.ids[at] = config.cls_id;
      if (i == batch.lengths[static_cast<size_t>(b)] - 1) batch.ids[at] = config.sep_id;
    }
  return batch;
}

/// Livelier than the initializer, so that attention is not uniform and LayerNorms matter.
void excite(Parameters& parameters, Variables& variables) {
  uint32_t site = 100;
  for (const Parameter& p : parameters.table().all()) {
    std::vector<float> values(static_cast<size_t>(p.rows() * p.cols()));
    parameters.read(ParameterKind::kValue, p.name, values.data(), static_cast<int64_t>(values.size()));
    ++site;
    const float spread =
        p.rows() > 1 ? (p.name.find("word_embeddings") != std::string::npos ? 0.05f : 0.04f) : 0.1f;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] += spread * (2 * uniform_open(word(static_cast<uint32_t>(i), site)) - 1);
    parameters.write(ParameterKind::kValue, p.name, values.data(), static_cast<int64_t>(values.size()));
    variables[p.name].assign(values.begin(), values.end());
  }
  parameters.refresh_weights();
}

struct Counter {
  int passed = 0, failed = 0;
  void check(bool ok, const std::string& what, double value, double bound) {
    std::printf("%s %s: %.3g (allowed %.3g)\n", ok ? "PASS" : "FAIL", what.c_str(), value, bound);
    ok ? ++passed : ++failed;
  }
};

double relative(double a, double b) { return std::fabs(a - b) / std::max(1e-12, std::fabs(b)); }

/// Samples must be the argmax of the naive scores, or come within a hair of it.
void check_samples(const std::string& name, const PretrainingConfig& config,
                   const std::vector<Matrix>& logits, const NaiveCorruption& corruption,
                   const std::vector<std::vector<int32_t>>& sampled, double bound, Counter& counter) {
  double worst = 0;
  size_t slot = 0;
  const uint32_t vocabulary = static_cast<uint32_t>(config.discriminator.vocab_size);
  for (size_t b = 0; b < sampled.size(); ++b)
    for (size_t s = 0; s < corruption.positions[b].size(); ++s, ++slot) {
      const uint64_t coordinate =
          slot_coordinate(static_cast<uint32_t>(b), static_cast<uint32_t>(config.max_predictions_per_seq),
                          static_cast<uint32_t>(s));
      double best = -INFINITY, chosen = 0;
      for (uint32_t v = 0; v < vocabulary; ++v) {
        const PhiloxWords words =
            random_block(kSeed, RandomPurpose::kGumbel, gumbel_block(coordinate, vocabulary, v), kStep, 0);
        const double u = uniform_open(words.word[v % 4]);
        const double score = logits[slot][v] - std::log(-std::log(u + 1e-9) + 1e-9);
        best = std::max(best, score);
        if (static_cast<int32_t>(v) == sampled[b][s]) chosen = score;
      }
      worst = std::max(worst, best - chosen);
    }
  counter.check(worst < bound, name + ": distance of the samples from the best Gumbel score", worst, bound);
}

/// How far results may be off. f32: rounding of a few thousand terms. bf16: a weight or an activation is off by
/// up to 2^-9 of itself; the losses are means over many tokens, where such errors mostly cancel, and a group's
/// gradient, compared along one direction with its own norm, sums thousands of them.
struct Bounds {
  double loss, gradient, sample;
};
Bounds bounds_of(DType precision) {
  return precision == DType::kFloat32 ? Bounds{1e-5, 1e-5, 1e-3} : Bounds{1e-3, 2e-2, 0.25};
}

std::unique_ptr<Operators> make_device(DType precision) {
#if defined(ELECTRA_TEST_CUDA)
  cuda::LibraryOptions options;
  options.compute = precision;
  return std::unique_ptr<Operators>(electra_cuda_create(ELECTRA_CONTRACT_HASH, &options));
#else
  (void)precision;  // the CPU computes in f32
  cpu::CpuOptions options;
  options.threads = 2;
  return std::make_unique<cpu::CpuOperators>(options);
#endif
}

void run(const Fixture& fixture, DType precision, Counter& counter) {
  const Bounds bounds = bounds_of(precision);
  const PretrainingConfig config = small_model(fixture.length);
  const std::unique_ptr<Operators> device = make_device(precision);
  Operators& operators = *device;
  PretrainingModel model(operators, config, 3);
  Variables variables;
  excite(model.parameters(), variables);
  const NaiveBatch batch = make_batch(fixture, config);

  HostBatch host;
  host.rows = batch.rows;
  host.length = batch.length;
  host.input_ids = batch.ids.data();
  host.lengths = batch.lengths.data();
  host.segment_ids = batch.segments.data();
  StepOptions step;
  step.seed = kSeed;
  step.step = kStep;
  Outputs outputs;
  outputs.wanted = {"fake/sampled_ids", "masked/positions"};
  const StepResult result = model.forward_backward(host, step, &outputs);
  const std::string name = fixture.name + std::string(precision == DType::kFloat32 ? "" : ", bf16");

  const NaiveCorruption corruption = naive_corruption(config, batch, kSeed, kStep);
  std::vector<std::vector<int32_t>> sampled;
  int differing = 0;
  for (int b = 0; b < batch.rows; ++b) {
    sampled.emplace_back();
    for (size_t s = 0; s < corruption.positions[static_cast<size_t>(b)].size(); ++s) {
      const size_t at = static_cast<size_t>(b) * config.max_predictions_per_seq + s;
      sampled.back().push_back(outputs.arrays["fake/sampled_ids"].i32[at]);
      differing +=
          outputs.arrays["masked/positions"].i32[at] != corruption.positions[static_cast<size_t>(b)][s];
    }
  }
  counter.check(differing == 0, name + ": masked positions that differ", differing, 0);
  check_samples(name, config, naive_generator_logits(config, variables, batch, corruption, kSeed, kStep),
                corruption, sampled, bounds.sample, counter);

  const NaiveLoss loss = naive_loss(config, variables, batch, corruption, sampled, kSeed, kStep);
  counter.check(relative(result.generator_loss, loss.generator) < bounds.loss,
                name + ": generator loss, relative", relative(result.generator_loss, loss.generator),
                bounds.loss);
  counter.check(relative(result.discriminator_loss, loss.discriminator) < bounds.loss,
                name + ": discriminator loss, relative",
                relative(result.discriminator_loss, loss.discriminator), bounds.loss);

  // Directional derivatives: along a random direction over a group of variables, the naive loss must change
  // as the engine's gradient says. A wrong element anywhere in the group shows, because the direction touches
  // them all.
  const std::vector<std::pair<std::string, std::string>> groups = {
      {"word embeddings", "word_embeddings"},
      {"other embeddings", "electra/embeddings/"},
      {"projections", "embeddings_project"},
      {"query, key, value", "attention/self"},
      {"attention output", "attention/output/dense"},
      {"feed-forward in", "intermediate/dense"},
      {"feed-forward out", "/output/dense"},
      {"LayerNorms", "LayerNorm"},
      {"heads", "_predictions/"},
  };
  for (const auto& [label, part] : groups) {
    Variables plus = variables, minus = variables;
    double slope = 0, gradient_square = 0, direction_square = 0;
    const double h = 1e-5;
    uint32_t site = 5000;
    for (const Parameter& p : model.parameters().table().all()) {
      ++site;
      const bool is_word = p.name.find("word_embeddings") != std::string::npos;
      if (p.name.find(part) == std::string::npos || (label == "other embeddings" && is_word)) continue;
      if (label == "feed-forward out" && p.name.find("attention") != std::string::npos) continue;
      std::vector<float> gradient(static_cast<size_t>(p.rows() * p.cols()));
      model.parameters().read(ParameterKind::kGradient, p.name, gradient.data(),
                              static_cast<int64_t>(gradient.size()));
      Matrix& up = plus[p.name];
      Matrix& down = minus[p.name];
      for (size_t i = 0; i < gradient.size(); ++i) {
        const double direction = word(static_cast<uint32_t>(i), site) & 1 ? 1.0 : -1.0;
        up[i] += h * direction;
        down[i] -= h * direction;
        slope += direction * gradient[i];
        gradient_square += static_cast<double>(gradient[i]) * gradient[i];
        direction_square += 1;
      }
    }
    const double naive = (naive_loss(config, plus, batch, corruption, sampled, kSeed, kStep).total -
                          naive_loss(config, minus, batch, corruption, sampled, kSeed, kStep).total) /
                         (2 * h);
    // The slope along ±1 directions is of the size of the gradient's norm; f32 gradients are good to about
    // 1e-6 of it, and the third derivative times h² stays below that.
    const double difference = std::fabs(naive - slope) / std::sqrt(gradient_square);
    counter.check(gradient_square > 0 && difference < bounds.gradient,
                  name + ": gradient of " + label + ", against its norm", difference, bounds.gradient);
  }
}

std::vector<DType> precisions() {
#if defined(ELECTRA_TEST_CUDA)
  return {DType::kFloat32, DType::kBFloat16};
#else
  return {DType::kFloat32};
#endif
}

}  // namespace
}  // namespace electra::test

int main(int argc, char** argv) {
  const std::string filter = argc > 1 ? argv[1] : "";
  electra::test::Counter counter;
  const std::vector<electra::test::Fixture> fixtures = {
      {"128 ragged", 128, {128, 77, 0, 5}},
      {"320 long", 320, {317, 3}},
  };
  try {
    for (const electra::DType precision : electra::test::precisions())
      for (const electra::test::Fixture& fixture : fixtures)
        if (std::string(fixture.name).find(filter) != std::string::npos)
          electra::test::run(fixture, precision, counter);
  } catch (const std::exception& error) {
    std::printf("FAIL %s\n", error.what());
    ++counter.failed;
  }
  std::printf("%d passed, %d failed\n", counter.passed, counter.failed);
  return counter.failed == 0 && counter.passed > 0 ? 0 : 1;
}
