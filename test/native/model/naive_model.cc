#include "naive_model.h"

#include <algorithm>
#include <cmath>

#include "../../../native/model/sites.h"
#include "../../../native/philox.h"

namespace electra::test {
namespace {

/// Which random words a step uses.
struct Randomness {
  uint64_t seed;
  uint32_t step;
};

/// Where one row lies among all rows, for its random coordinates.
struct RowPlace {
  uint32_t row;
  uint32_t pitch;
};

const Matrix& variable(const Variables& variables, const std::string& name) { return variables.at(name); }

void dropout(Matrix& x, int tokens, int width, float p, uint32_t site, const Randomness& r,
             const RowPlace& place) {
  if (p == 0) return;
  const uint32_t threshold = dropout_threshold(p);
  const double scale = 65536.0 / (65536.0 - threshold);
  for (int t = 0; t < tokens; ++t)
    for (int c = 0; c < width; ++c) {
      const uint64_t e = token_element(place.row, place.pitch, static_cast<uint32_t>(t),
                                       static_cast<uint32_t>(width), static_cast<uint32_t>(c));
      const PhiloxWords words = random_block(r.seed, RandomPurpose::kDropout, e >> 3, r.step, site);
      double& value = x[static_cast<size_t>(t) * width + c];
      value = random_decision(words, static_cast<int>(e & 7)) >= threshold ? value * scale : 0.0;
    }
}

void layer_norm(Matrix& x, int tokens, int width, const Matrix& gamma, const Matrix& beta) {
  for (int t = 0; t < tokens; ++t) {
    double* row = &x[static_cast<size_t>(t) * width];
    double mean = 0, variance = 0;
    for (int c = 0; c < width; ++c) mean += row[c] / width;
    for (int c = 0; c < width; ++c) variance += (row[c] - mean) * (row[c] - mean) / width;
    const double rstd = 1 / std::sqrt(variance + 1e-12);
    for (int c = 0; c < width; ++c) row[c] = (row[c] - mean) * rstd * gamma[c] + beta[c];
  }
}

double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }

Matrix linear(const Matrix& x, int tokens, int in, int out, const Matrix& kernel, const Matrix& bias) {
  Matrix y(static_cast<size_t>(tokens) * out);
  for (int t = 0; t < tokens; ++t) {
    double* row = &y[static_cast<size_t>(t) * out];
    std::copy(bias.begin(), bias.end(), row);
    for (int i = 0; i < in; ++i) {
      const double value = x[static_cast<size_t>(t) * in + i];
      const double* weights = &kernel[static_cast<size_t>(i) * out];
      for (int o = 0; o < out; ++o) row[o] += value * weights[o];
    }
  }
  return y;
}

/// Final hidden states of one row of `tokens` tokens.
Matrix transformer(const std::string& scope, const TransformerConfig& config, Network network,
                   const Variables& variables, const int32_t* ids, const int32_t* segments, int tokens,
                   const Randomness& r, const RowPlace& place) {
  const int e = config.embedding_size, h = config.hidden_size, heads = config.num_attention_heads,
            d = h / heads;
  const auto named = [&](const std::string& name) -> const Matrix& { return variable(variables, name); };
  const Matrix& word = named("electra/embeddings/word_embeddings");
  const Matrix& type = named("electra/embeddings/token_type_embeddings");
  const Matrix& position = named("electra/embeddings/position_embeddings");
  Matrix x(static_cast<size_t>(tokens) * e);
  for (int t = 0; t < tokens; ++t)
    for (int c = 0; c < e; ++c)
      x[static_cast<size_t>(t) * e + c] = word[static_cast<size_t>(ids[t]) * e + c] +
                                          type[static_cast<size_t>(segments[t]) * e + c] +
                                          position[static_cast<size_t>(t) * e + c];
  layer_norm(x, tokens, e, named("electra/embeddings/LayerNorm/gamma"),
             named("electra/embeddings/LayerNorm/beta"));
  dropout(x, tokens, e, config.hidden_dropout_prob, embedding_site(network), r, place);
  if (e != h)
    x = linear(x, tokens, e, h, named(scope + "/embeddings_project/kernel"),
               named(scope + "/embeddings_project/bias"));

  for (int n = 0; n < config.num_hidden_layers; ++n) {
    const std::string layer = scope + "/encoder/layer_" + std::to_string(n);
    const auto project = [&](const Matrix& from, int in, int out, const std::string& name) {
      return linear(from, tokens, in, out, named(layer + name + "/kernel"), named(layer + name + "/bias"));
    };
    const Matrix q = project(x, h, h, "/attention/self/query");
    const Matrix k = project(x, h, h, "/attention/self/key");
    const Matrix v = project(x, h, h, "/attention/self/value");
    Matrix context(static_cast<size_t>(tokens) * h, 0.0);
    const uint32_t threshold = dropout_threshold(config.attention_probs_dropout_prob);
    const double scale = 65536.0 / (65536.0 - threshold);
    std::vector<double> p(static_cast<size_t>(tokens));
    for (int a = 0; a < heads; ++a)
      for (int i = 0; i < tokens; ++i) {
        double largest = -INFINITY, sum = 0;
        for (int j = 0; j < tokens; ++j) {
          double score = 0;
          for (int c = 0; c < d; ++c)
            score += q[static_cast<size_t>(i) * h + a * d + c] * k[static_cast<size_t>(j) * h + a * d + c];
          p[j] = score / std::sqrt(static_cast<double>(d));
          largest = std::max(largest, p[j]);
        }
        for (int j = 0; j < tokens; ++j) sum += p[j] = std::exp(p[j] - largest);
        for (int j = 0; j < tokens; ++j) {
          p[j] /= sum;
          if (threshold > 0) {
            const AttentionCoordinate at =
                attention_element(place.row, static_cast<uint32_t>(heads), static_cast<uint32_t>(a),
                                  place.pitch, static_cast<uint32_t>(i), static_cast<uint32_t>(j));
            const PhiloxWords words =
                random_block(r.seed, RandomPurpose::kDropout, at.block, r.step, attention_site(network, n));
            p[j] = random_decision(words, at.decision) >= threshold ? p[j] * scale : 0.0;
          }
          for (int c = 0; c < d; ++c)
            context[static_cast<size_t>(i) * h + a * d + c] +=
                p[j] * v[static_cast<size_t>(j) * h + a * d + c];
        }
      }
    const auto close = [&](Matrix z, const Matrix& residual, uint32_t site, const std::string& name) {
      dropout(z, tokens, h, config.hidden_dropout_prob, site, r, place);
      for (size_t i = 0; i < z.size(); ++i) z[i] += residual[i];
      layer_norm(z, tokens, h, named(layer + name + "/LayerNorm/gamma"),
                 named(layer + name + "/LayerNorm/beta"));
      return z;
    };
    const Matrix attended = close(project(context, h, h, "/attention/output/dense"), x,
                                  attention_output_site(network, n), "/attention/output");
    Matrix f = project(attended, h, config.intermediate_size, "/intermediate/dense");
    for (double& value : f) value = gelu(value);
    x = close(project(f, config.intermediate_size, h, "/output/dense"), attended,
              feed_forward_site(network, n), "/output");
  }
  return x;
}

double log_sum_exp(const Matrix& z) {
  const double largest = *std::max_element(z.begin(), z.end());
  double sum = 0;
  for (const double value : z) sum += std::exp(value - largest);
  return largest + std::log(sum);
}

}  // namespace

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
