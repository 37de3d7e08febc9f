#include "naive_model.h"

#include <algorithm>
#include <cmath>

#include "../../../native/philox.h"
#include "naive_layers.h"

namespace electra::test {

NaiveCorruption naive_corruption(const PretrainingConfig& config, const NaiveBatch& batch, uint64_t seed,
                                 uint32_t step) {
  NaiveCorruption result;
  for (int b = 0; b < batch.rows; ++b) {
    const int n = batch.lengths[static_cast<size_t>(b)];
    const int32_t* ids = &batch.ids[static_cast<size_t>(b) * batch.length];
    std::vector<int> candidates;
    for (int i = 0; i < n; ++i)
      if (ids[i] != config.cls_id && ids[i] != config.sep_id && ids[i] != config.mask_id)
        candidates.push_back(i);
    std::vector<int32_t> masked(ids, ids + n);
    std::vector<int> positions;
    const int wanted = static_cast<int>(std::nearbyint(static_cast<float>(n) * config.mask_prob));
    const int count = candidates.empty() ? 0 : std::max(1, std::min(config.max_predictions_per_seq, wanted));
    for (int s = 0; s < count; ++s) {
      const uint64_t c =
          slot_coordinate(static_cast<uint32_t>(b), static_cast<uint32_t>(config.max_predictions_per_seq),
                          static_cast<uint32_t>(s));
      const uint32_t place = random_block(seed, RandomPurpose::kMaskPositions, c >> 2, step, 0).word[c & 3];
      const uint32_t hide = random_block(seed, RandomPurpose::kMaskReplacement, c >> 2, step, 0).word[c & 3];
      const int position = candidates[uniform_index(place, static_cast<uint32_t>(candidates.size()))];
      positions.push_back(position);
      if (uniform_open(hide) < 0.85f && position != 0) masked[static_cast<size_t>(position)] = config.mask_id;
    }
    result.positions.push_back(positions);
    result.masked.push_back(masked);
  }
  return result;
}

std::vector<Matrix> naive_generator_logits(const PretrainingConfig& config, const Variables& variables,
                                           const NaiveBatch& batch, const NaiveCorruption& corruption,
                                           uint64_t seed, uint32_t step) {
  TransformerConfig network = config.generator;
  network.embedding_size = config.discriminator.embedding_size;
  const int h = network.hidden_size, e = network.embedding_size, vocabulary = network.vocab_size;
  const Matrix& table = variable(variables, "electra/embeddings/word_embeddings");
  const Matrix& output_bias = variable(variables, "generator_predictions/output_bias");
  std::vector<Matrix> logits;
  for (int b = 0; b < batch.rows; ++b) {
    const int n = batch.lengths[static_cast<size_t>(b)];
    const Matrix hidden =
        transformer("generator", network, Network::kGenerator, variables,
                    corruption.masked[static_cast<size_t>(b)].data(),
                    &batch.segments[static_cast<size_t>(b) * batch.length], n, Randomness{seed, step},
                    RowPlace{static_cast<uint32_t>(b), static_cast<uint32_t>(config.max_seq_length)});
    for (const int position : corruption.positions[static_cast<size_t>(b)]) {
      const Matrix at(hidden.begin() + static_cast<long>(position) * h,
                      hidden.begin() + static_cast<long>(position + 1) * h);
      Matrix x = linear(at, 1, h, e, variable(variables, "generator_predictions/dense/kernel"),
                        variable(variables, "generator_predictions/dense/bias"));
      for (double& value : x) value = gelu(value);
      layer_norm(x, 1, e, variable(variables, "generator_predictions/LayerNorm/gamma"),
                 variable(variables, "generator_predictions/LayerNorm/beta"));
      Matrix z(static_cast<size_t>(vocabulary));
      for (int v = 0; v < vocabulary; ++v) {
        double sum = output_bias[static_cast<size_t>(v)];
        for (int c = 0; c < e; ++c) sum += x[static_cast<size_t>(c)] * table[static_cast<size_t>(v) * e + c];
        z[static_cast<size_t>(v)] = sum;
      }
      logits.push_back(z);
    }
  }
  return logits;
}

NaiveLoss naive_loss(const PretrainingConfig& config, const Variables& variables, const NaiveBatch& batch,
                     const NaiveCorruption& corruption, const std::vector<std::vector<int32_t>>& sampled,
                     uint64_t seed, uint32_t step) {
  NaiveLoss loss;
  const std::vector<Matrix> logits = naive_generator_logits(config, variables, batch, corruption, seed, step);
  size_t slot = 0;
  double slots = 0, nll = 0, tokens = 0, binary = 0;
  const int h = config.discriminator.hidden_size;
  for (int b = 0; b < batch.rows; ++b) {
    const int n = batch.lengths[static_cast<size_t>(b)];
    const int32_t* ids = &batch.ids[static_cast<size_t>(b) * batch.length];
    const auto& positions = corruption.positions[static_cast<size_t>(b)];
    std::vector<int64_t> sums(static_cast<size_t>(n), 0), counts(static_cast<size_t>(n), 0);
    for (size_t s = 0; s < positions.size(); ++s, ++slot) {
      const Matrix& z = logits[slot];
      nll += log_sum_exp(z) - z[static_cast<size_t>(ids[positions[s]])];
      slots += 1;
      sums[static_cast<size_t>(positions[s])] += sampled[static_cast<size_t>(b)][s];
      counts[static_cast<size_t>(positions[s])] += 1;
    }
    std::vector<int32_t> replaced(ids, ids + n);
    for (int i = 1; i < n; ++i)
      if (counts[static_cast<size_t>(i)] > 0)
        replaced[static_cast<size_t>(i)] =
            static_cast<int32_t>(sums[static_cast<size_t>(i)] / counts[static_cast<size_t>(i)]);
    const Matrix hidden =
        transformer("electra", config.discriminator, Network::kDiscriminator, variables, replaced.data(),
                    &batch.segments[static_cast<size_t>(b) * batch.length], n, Randomness{seed, step},
                    RowPlace{static_cast<uint32_t>(b), static_cast<uint32_t>(config.max_seq_length)});
    Matrix x = linear(hidden, n, h, h, variable(variables, "discriminator_predictions/dense/kernel"),
                      variable(variables, "discriminator_predictions/dense/bias"));
    for (double& value : x) value = gelu(value);
    const Matrix d = linear(x, n, h, 1, variable(variables, "discriminator_predictions/dense_1/kernel"),
                            variable(variables, "discriminator_predictions/dense_1/bias"));
    for (int i = 0; i < n; ++i) {
      const double y = replaced[static_cast<size_t>(i)] != ids[i] ? 1 : 0;
      const double z = d[static_cast<size_t>(i)];
      binary += std::max(z, 0.0) - z * y + std::log1p(std::exp(-std::fabs(z)));
      tokens += 1;
    }
  }
  loss.generator = nll / (slots + 1e-6);
  loss.discriminator = binary / (tokens + 1e-6);
  loss.total = config.gen_weight * loss.generator + config.disc_weight * loss.discriminator;
  return loss;
}

}  // namespace electra::test
