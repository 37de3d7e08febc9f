// Pre-training at real shapes (head size 64, a vocabulary of 30522, ragged rows, dropout on) against the
// naive double model: losses, samples, and gradients by directional derivatives. The golden fixtures are tiny
// and without dropout; these reach the fast paths.

#include <algorithm>
#include <cmath>

#include "../../../native/model/pretraining_model.h"
#include "../../../native/philox.h"
#include "naive_model.h"

namespace electra::test {
namespace {

struct Fixture {
  const char* name;
  int length;
  std::vector<int32_t> lengths;
};

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

/// How far results may be off. f32: rounding of a few thousand terms. bf16: a weight or an activation is off
/// by up to 2^-9 of itself; the losses are means over many tokens, where such errors mostly cancel, and a
/// group's gradient, compared along one direction with its own norm, sums thousands of them.
struct Bounds {
  double loss, gradient, sample;
};
Bounds bounds_of(DType precision) {
  return precision == DType::kFloat32 ? Bounds{1e-5, 1e-5, 1e-3} : Bounds{1e-3, 2e-2, 0.25};
}

void run(const Fixture& fixture, DType precision, Counter& counter) {
  const Bounds bounds = bounds_of(precision);
  const PretrainingConfig config = small_model(fixture.length);
  const std::unique_ptr<Operators> device = make_device(precision);
  Operators& operators = *device;
  PretrainingModel model(operators, config, 3);
  Variables variables;
  excite(model.parameters(), variables);
  const NaiveBatch batch = make_batch(fixture.length, fixture.lengths);

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
  const std::string name = fixture.name + suffix(precision);

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

  std::vector<Group> groups = encoder_groups();
  groups.push_back({"heads", "_predictions/", ""});
  check_gradients(
      name, model.parameters(), variables, groups, bounds.gradient,
      [&](const Variables& changed) {
        return naive_loss(config, changed, batch, corruption, sampled, kSeed, kStep).total;
      },
      counter);
}

}  // namespace

void test_pretraining(const std::string& filter, DType precision, Counter& counter) {
  const std::vector<Fixture> fixtures = {
      {"128 ragged", 128, {128, 77, 0, 5}},
      {"320 long", 320, {317, 3}},
  };
  for (const Fixture& fixture : fixtures)
    if (std::string(fixture.name).find(filter) != std::string::npos) run(fixture, precision, counter);
}

}  // namespace electra::test
