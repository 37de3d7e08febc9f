// Reference: embeddings, LayerNorm, dropout.

#include <cmath>
#include <vector>

#include "reference_operators.h"

namespace electra::test {
namespace {

constexpr double kEpsilon = 1e-12;

struct Moments {
  double mean;
  double rstd;
};
Moments moments_of(const std::vector<double>& x) {
  double sum = 0, squares = 0;
  for (const double value : x) sum += value;
  const double mean = sum / static_cast<double>(x.size());
  for (const double value : x) squares += (value - mean) * (value - mean);
  return {mean, 1 / std::sqrt(squares / static_cast<double>(x.size()) + kEpsilon)};
}

struct NormForward {
  View gamma, beta;
  MatrixView y, normalized;
  View rstd;
};

/// One row of y = (x − mean) · rstd · γ + β. Returns the normalised row.
std::vector<double> normalize_row(const NormForward& p, int64_t t, const std::vector<double>& x) {
  const Moments m = moments_of(x);
  std::vector<double> unit(x.size());
  for (size_t c = 0; c < x.size(); ++c) {
    const int64_t column = static_cast<int64_t>(c);
    unit[c] = (x[c] - m.mean) * m.rstd;
    if (p.normalized) p.normalized.set(t, column, unit[c]);
  }
  if (p.rstd) p.rstd.set(t, m.rstd);
  return unit;
}

/// dx of one row: rstd · (g − mean(g) − n · mean(g n)) with g = dy · γ; adds to dγ and dβ.
std::vector<double> normalize_row_backward(const std::vector<double>& dy, const View& gamma,
                                           const MatrixView& normalized, double rstd, int64_t t,
                                           const View& d_gamma, const View& d_beta) {
  const double width = static_cast<double>(dy.size());
  double mean = 0, product = 0;
  for (size_t i = 0; i < dy.size(); ++i) {
    const int64_t c = static_cast<int64_t>(i);
    const double n = normalized.at(t, c);
    mean += dy[i] * gamma[c] / width;
    product += dy[i] * gamma[c] * n / width;
    if (d_gamma) d_gamma.add(c, dy[i] * n);
    if (d_beta) d_beta.add(c, dy[i]);
  }
  std::vector<double> dx(dy.size());
  for (size_t i = 0; i < dy.size(); ++i) {
    const int64_t c = static_cast<int64_t>(i);
    dx[i] = rstd * (dy[i] * gamma[c] - mean - normalized.at(t, c) * product);
  }
  return dx;
}

void finish_norm(const NormForward& p, const Extent& tokens, int64_t width) {
  clear_beyond(p.y, tokens, width);
  if (p.normalized) clear_beyond(p.normalized, tokens, width);
  for (int64_t t = count_of(tokens); p.rstd && t < tokens.capacity; ++t) p.rstd.set(t, 0);
}

}  // namespace

double token_dropout_factor(const Dropout& dropout, const Rows& rows, int64_t token, int64_t width,
                            int64_t column) {
  if (dropout.p == 0) return 1;
  const uint64_t element =
      token_element(static_cast<uint32_t>(rows.global_row[rows.token_row[token]]),
                    static_cast<uint32_t>(rows.pitch), static_cast<uint32_t>(rows.token_position[token]),
                    static_cast<uint32_t>(width), static_cast<uint32_t>(column));
  const PhiloxWords words = random_block(dropout.scalars->seed, RandomPurpose::kDropout, element >> 3,
                                         dropout.scalars->step, dropout.site);
  const bool keep = random_decision(words, static_cast<int>(element & 7)) >= dropout_threshold(dropout.p);
  return keep ? dropout_scale(dropout.p) : 0;
}

void ReferenceOperators::embedding_forward(const EmbeddingForward& p) {
  const int64_t width = p.y.cols;
  const View word = memory_.view(p.word), type = memory_.view(p.token_type),
             position = memory_.view(p.position);
  const NormForward norm{memory_.view(p.gamma), memory_.view(p.beta), memory_.matrix(p.y),
                         memory_.matrix(p.normalized), memory_.view(p.rstd)};
  std::vector<double> x(static_cast<size_t>(width));
  for (int64_t t = 0; t < count_of(p.rows.tokens); ++t) {
    for (int64_t c = 0; c < width; ++c) {
      x[c] = word[p.ids[t] * width + c] + type[p.segments[t] * width + c] +
             position[p.rows.token_position[t] * width + c];
    }
    const std::vector<double> unit = normalize_row(norm, t, x);
    for (int64_t c = 0; c < width; ++c) {
      norm.y.set(
          t, c,
          (unit[c] * norm.gamma[c] + norm.beta[c]) * token_dropout_factor(p.dropout, p.rows, t, width, c));
    }
  }
  finish_norm(norm, p.rows.tokens, width);
}

void ReferenceOperators::embedding_backward(const EmbeddingBackward& p) {
  const int64_t width = p.dy.cols;
  const MatrixView dy = memory_.matrix(p.dy), normalized = memory_.matrix(p.normalized);
  const View d_word = memory_.view(p.d_word), d_type = memory_.view(p.d_token_type);
  const View d_position = memory_.view(p.d_position), rstd = memory_.view(p.rstd);
  std::vector<double> gradient(static_cast<size_t>(width));
  for (int64_t t = 0; t < count_of(p.rows.tokens); ++t) {
    for (int64_t c = 0; c < width; ++c) {
      gradient[c] = dy.at(t, c) * token_dropout_factor(p.dropout, p.rows, t, width, c);
    }
    const std::vector<double> dx =
        normalize_row_backward(gradient, memory_.view(p.gamma), normalized, rstd[t], t,
                               memory_.view(p.d_gamma), memory_.view(p.d_beta));
    for (int64_t c = 0; c < width; ++c) {
      if (d_word) d_word.add(p.ids[t] * width + c, dx[c]);
      if (d_type) d_type.add(p.segments[t] * width + c, dx[c]);
      if (d_position) d_position.add(p.rows.token_position[t] * width + c, dx[c]);
    }
  }
}

void ReferenceOperators::layer_norm_forward(const LayerNormForward& p) {
  const int64_t width = p.x.cols;
  const MatrixView x = memory_.matrix(p.x);
  const NormForward norm{memory_.view(p.gamma), memory_.view(p.beta), memory_.matrix(p.y),
                         memory_.matrix(p.normalized), memory_.view(p.rstd)};
  std::vector<double> row(static_cast<size_t>(width));
  for (int64_t t = 0; t < count_of(p.tokens); ++t) {
    for (int64_t c = 0; c < width; ++c) row[c] = x.at(t, c);
    const std::vector<double> unit = normalize_row(norm, t, row);
    for (int64_t c = 0; c < width; ++c) norm.y.set(t, c, unit[c] * norm.gamma[c] + norm.beta[c]);
  }
  finish_norm(norm, p.tokens, width);
}

void ReferenceOperators::layer_norm_backward(const LayerNormBackward& p) {
  const int64_t width = p.dy.cols;
  const MatrixView dy = memory_.matrix(p.dy), dx = memory_.matrix(p.dx);
  std::vector<double> row(static_cast<size_t>(width));
  for (int64_t t = 0; t < count_of(p.tokens); ++t) {
    for (int64_t c = 0; c < width; ++c) row[c] = dy.at(t, c);
    const std::vector<double> gradient =
        normalize_row_backward(row, memory_.view(p.gamma), memory_.matrix(p.normalized),
                               memory_.view(p.rstd)[t], t, memory_.view(p.d_gamma), memory_.view(p.d_beta));
    for (int64_t c = 0; c < width; ++c) dx.put(t, c, gradient[c], p.into);
  }
  if (p.into == Into::kWrite) clear_beyond(dx, p.tokens, width);
}

void ReferenceOperators::dropout_residual_norm_forward(const DropoutResidualNormForward& p) {
  const int64_t width = p.x.cols;
  const MatrixView x = memory_.matrix(p.x), residual = memory_.matrix(p.residual);
  const View bias = memory_.view(p.bias);
  const NormForward norm{memory_.view(p.gamma), memory_.view(p.beta), memory_.matrix(p.y),
                         memory_.matrix(p.normalized), memory_.view(p.rstd)};
  std::vector<double> row(static_cast<size_t>(width));
  for (int64_t t = 0; t < count_of(p.rows.tokens); ++t) {
    for (int64_t c = 0; c < width; ++c) {
      row[c] = residual.at(t, c) +
               (x.at(t, c) + (bias ? bias[c] : 0)) * token_dropout_factor(p.dropout, p.rows, t, width, c);
    }
    const std::vector<double> unit = normalize_row(norm, t, row);
    for (int64_t c = 0; c < width; ++c) norm.y.set(t, c, unit[c] * norm.gamma[c] + norm.beta[c]);
  }
  finish_norm(norm, p.rows.tokens, width);
}

void ReferenceOperators::dropout_residual_norm_backward(const DropoutResidualNormBackward& p) {
  const int64_t width = p.dy.cols;
  const MatrixView dy = memory_.matrix(p.dy), d_residual = memory_.matrix(p.d_residual),
                   dx = memory_.matrix(p.dx);
  const View d_bias = memory_.view(p.d_bias);
  std::vector<double> row(static_cast<size_t>(width));
  for (int64_t t = 0; t < count_of(p.rows.tokens); ++t) {
    for (int64_t c = 0; c < width; ++c) row[c] = dy.at(t, c);
    const std::vector<double> gradient =
        normalize_row_backward(row, memory_.view(p.gamma), memory_.matrix(p.normalized),
                               memory_.view(p.rstd)[t], t, memory_.view(p.d_gamma), memory_.view(p.d_beta));
    for (int64_t c = 0; c < width; ++c) {
      d_residual.put(t, c, gradient[c], p.into);
      const double through = gradient[c] * token_dropout_factor(p.dropout, p.rows, t, width, c);
      dx.set(t, c, through);
      if (d_bias) d_bias.add(c, through);
    }
  }
  if (p.into == Into::kWrite) clear_beyond(d_residual, p.rows.tokens, width);
  clear_beyond(dx, p.rows.tokens, width);
}

void ReferenceOperators::dropout(const DropoutApply& p) {
  const MatrixView x = memory_.matrix(p.x), y = memory_.matrix(p.y);
  for (int64_t t = 0; t < count_of(p.rows.tokens); ++t) {
    for (int64_t c = 0; c < p.x.cols; ++c) {
      y.set(t, c, x.at(t, c) * token_dropout_factor(p.dropout, p.rows, t, p.x.cols, c));
    }
  }
  clear_beyond(y, p.rows.tokens, p.x.cols);
}

}  // namespace electra::test
