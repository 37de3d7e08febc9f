#include "naive_layers.h"

#include <algorithm>
#include <cmath>

#include "../../../native/philox.h"

namespace electra::test {

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

}  // namespace electra::test
