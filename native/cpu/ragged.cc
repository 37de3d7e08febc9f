// Operations over the tokens of each row of the batch: the span heads of question answering. A task owns one
// row (and one tile of columns), so sums run over the row's tokens in order.

#include <algorithm>
#include <cmath>
#include <limits>

#include "checks.h"
#include "cpu_operators.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr int64_t kColumnTile = 64;

/// The tokens of one row in the stream.
struct Span {
  int64_t first;
  int64_t last;
};
Span row_span(const Rows& rows, int64_t b, int64_t tokens, const char* operation) {
  const Span span{rows.offsets[b], rows.offsets[b + 1]};
  ELECTRA_CHECK_SHAPE(span.first >= 0 && span.first <= span.last && span.last <= tokens,
                      "%s: row %lld has tokens %lld..%lld of %lld", operation, static_cast<long long>(b),
                      static_cast<long long>(span.first), static_cast<long long>(span.last),
                      static_cast<long long>(tokens));
  return span;
}

/// One row's scores with their addend, summed in f32 as the reference sums logits and mask.
struct Scores {
  const float* values;
  int64_t stride;
  const float* addend;
  float operator[](int64_t t) const {
    return addend != nullptr ? values[t * stride] + addend[t] : values[t * stride];
  }
};

/// log Σ exp over a row that is not empty.
double log_sum_exp(const Scores& scores, const Span& span) {
  double top = scores[span.first];
  for (int64_t t = span.first + 1; t < span.last; ++t) top = std::max(top, static_cast<double>(scores[t]));
  double total = 0;
  for (int64_t t = span.first; t < span.last; ++t) total += std::exp(scores[t] - top);
  return top + std::log(total);
}

int64_t column_tiles(int64_t columns) { return (columns + kColumnTile - 1) / kColumnTile; }

}  // namespace

WorkspaceNeeds ragged_needs(const Capacity& capacity) {
  WorkspaceNeeds needs;
  needs.shared_floats =
      static_cast<size_t>(capacity.batch) * 2;  // ragged_cross_entropy: a double for each row
  return needs;
}

void CpuOperators::ragged_softmax(const RaggedSoftmax& p) {
  const int64_t tokens = actual_rows(p.rows.tokens, "ragged_softmax");
  const Scores scores{p.scores, p.stride, p.addend};
  pool_.run(p.rows.batch, [&](int64_t b, int) {
    const Span span = row_span(p.rows, b, tokens, "ragged_softmax");
    if (span.first == span.last) return;
    const double log_sum = log_sum_exp(scores, span);
    for (int64_t t = span.first; t < span.last; ++t) {
      const double logarithm = scores[t] - log_sum;
      p.y[t] = static_cast<float>(p.logarithm ? logarithm : std::exp(logarithm));
    }
  });
  std::fill(p.y + tokens, p.y + p.rows.tokens.capacity, 0.0f);
}

void CpuOperators::ragged_softmax_backward(const RaggedSoftmaxBackward& p) {
  const int64_t tokens = actual_rows(p.rows.tokens, "ragged_softmax_backward");
  const bool add = p.into == Into::kAdd;
  pool_.run(p.rows.batch, [&](int64_t b, int) {
    const Span span = row_span(p.rows, b, tokens, "ragged_softmax_backward");
    double dot = 0;
    for (int64_t t = span.first; t < span.last; ++t) dot += static_cast<double>(p.y[t]) * p.dy[t];
    for (int64_t t = span.first; t < span.last; ++t) {
      float& target = p.d_scores[t * p.stride];
      const float gradient = static_cast<float>(p.y[t] * (p.dy[t] - dot));
      target = add ? target + gradient : gradient;
    }
  });
  if (!add) {
    for (int64_t t = tokens; t < p.rows.tokens.capacity; ++t) p.d_scores[t * p.stride] = 0;
  }
}

// A row of weight 0, or without tokens, has loss 0 and no gradient; its target is not looked at.
void CpuOperators::ragged_cross_entropy(const RaggedCrossEntropy& p) {
  const int64_t tokens = actual_rows(p.rows.tokens, "ragged_cross_entropy");
  const bool add = p.into == Into::kAdd;
  const double scale = p.scale != nullptr ? *p.scale : 1.0;
  const Scores scores{p.scores, p.stride, p.addend};
  // Σ w · loss is taken from the losses again, in order of rows, so they are kept even if the caller does not
  // want them.
  double* losses = static_cast<double*>(static_cast<void*>(scratch(static_cast<size_t>(p.rows.batch) * 2)));

  pool_.run(p.rows.batch, [&](int64_t b, int) {
    const Span span = row_span(p.rows, b, tokens, "ragged_cross_entropy");
    const double w = p.weights != nullptr ? p.weights[b] : 1.0;
    losses[b] = 0;
    if (w == 0 || span.first == span.last) {
      if (p.loss != nullptr) p.loss[b] = 0;
      if (p.d_scores != nullptr && !add) {
        for (int64_t t = span.first; t < span.last; ++t) p.d_scores[t * p.stride] = 0;
      }
      return;
    }
    const int64_t target = span.first + p.target_position[b];
    if (target < span.first || target >= span.last) {
      throw EngineError("ERR_ELECTRA_VALUE",
                        "ragged_cross_entropy: target position %d of row %lld is outside its %lld tokens",
                        p.target_position[b], static_cast<long long>(b),
                        static_cast<long long>(span.last - span.first));
    }
    const double log_sum = log_sum_exp(scores, span);
    const double loss = log_sum - scores[target];
    if (p.loss != nullptr) p.loss[b] = static_cast<float>(loss);
    losses[b] = w * loss;
    if (p.d_scores == nullptr) return;
    for (int64_t t = span.first; t < span.last; ++t) {
      // d_scores may be scores: each score is read before its place is written.
      const float gradient =
          static_cast<float>(w * scale * (std::exp(scores[t] - log_sum) - (t == target ? 1.0 : 0.0)));
      float& place = p.d_scores[t * p.stride];
      place = add ? place + gradient : gradient;
    }
  });

  if (p.d_scores != nullptr && !add) {
    for (int64_t t = tokens; t < p.rows.tokens.capacity; ++t) p.d_scores[t * p.stride] = 0;
  }
  if (p.loss_sum != nullptr) {
    double total = 0;
    for (int32_t b = 0; b < p.rows.batch; ++b) total += losses[b];
    *p.loss_sum += total;
  }
}

void CpuOperators::ragged_top_k(const RaggedTopK& p) {
  const int64_t tokens = actual_rows(p.rows.tokens, "ragged_top_k");
  ELECTRA_CHECK_SHAPE(p.k >= 0, "ragged_top_k: k is %d", p.k);
  pool_.run(p.rows.batch, [&](int64_t b, int) {
    const Span span = row_span(p.rows, b, tokens, "ragged_top_k");
    float* values = p.values + b * p.k;
    int32_t* positions = p.positions + b * p.k;
    int32_t held = 0;
    for (int64_t t = span.first; t < span.last; ++t) {
      const float score = p.scores[t];
      // Equal scores stay behind those that came first.
      if (held == p.k && (p.k == 0 || !(score > values[held - 1]))) continue;
      int32_t place = held < p.k ? held++ : held - 1;
      for (; place > 0 && score > values[place - 1]; --place) {
        values[place] = values[place - 1];
        positions[place] = positions[place - 1];
      }
      values[place] = score;
      positions[place] = static_cast<int32_t>(t - span.first);
    }
    for (; held < p.k; ++held) {
      values[held] = -std::numeric_limits<float>::infinity();
      positions[held] = -1;
    }
  });
}

void CpuOperators::ragged_weighted_sum(const RaggedWeightedSum& p) {
  const int64_t tokens = actual_rows(p.rows.tokens, "ragged_weighted_sum");
  const int64_t columns = p.y.cols;
  check_matrix(p.x, p.rows.tokens.capacity, columns, "ragged_weighted_sum", "x");
  check_matrix(p.y, p.rows.batch, columns, "ragged_weighted_sum", "y");
  const int64_t tiles = column_tiles(columns);
  pool_.run(p.rows.batch * tiles, [&](int64_t task, int) {
    const int64_t b = task / tiles;
    const int64_t first_column = task % tiles * kColumnTile;
    const int64_t count = std::min(kColumnTile, columns - first_column);
    const Span span = row_span(p.rows, b, tokens, "ragged_weighted_sum");
    double sums[kColumnTile] = {};
    for (int64_t t = span.first; t < span.last; ++t) {
      const double w = p.weights != nullptr ? p.weights[t] : 1.0;
      const float* x = p.x.f32() + t * p.x.stride + first_column;
      for (int64_t c = 0; c < count; ++c) sums[c] += w * x[c];
    }
    float* y = p.y.f32() + b * p.y.stride + first_column;
    for (int64_t c = 0; c < count; ++c) {
      y[c] = p.into == Into::kAdd ? y[c] + static_cast<float>(sums[c]) : static_cast<float>(sums[c]);
    }
  });
}

void CpuOperators::ragged_weighted_sum_backward(const RaggedWeightedSumBackward& p) {
  const int64_t tokens = actual_rows(p.rows.tokens, "ragged_weighted_sum_backward");
  const int64_t columns = p.dy.cols;
  const bool add = p.into == Into::kAdd;
  check_matrix(p.dy, p.rows.batch, columns, "ragged_weighted_sum_backward", "dy");
  if (p.d_weights != nullptr)
    check_matrix(p.x, p.rows.tokens.capacity, columns, "ragged_weighted_sum_backward", "x");
  if (p.dx) check_matrix(p.dx, p.rows.tokens.capacity, columns, "ragged_weighted_sum_backward", "dx");
  pool_.run(p.rows.batch, [&](int64_t b, int) {
    const Span span = row_span(p.rows, b, tokens, "ragged_weighted_sum_backward");
    const float* dy = p.dy.f32() + b * p.dy.stride;
    for (int64_t t = span.first; t < span.last; ++t) {
      if (p.d_weights != nullptr) {
        const float* x = p.x.f32() + t * p.x.stride;
        double dot = 0;
        for (int64_t c = 0; c < columns; ++c) dot += static_cast<double>(dy[c]) * x[c];
        p.d_weights[t] = static_cast<float>(dot);
      }
      if (p.dx) {
        const float w = p.weights != nullptr ? p.weights[t] : 1.0f;
        float* dx = p.dx.f32() + t * p.dx.stride;
        for (int64_t c = 0; c < columns; ++c) dx[c] = add ? dx[c] + w * dy[c] : w * dy[c];
      }
    }
  });
  if (p.d_weights != nullptr) std::fill(p.d_weights + tokens, p.d_weights + p.rows.tokens.capacity, 0.0f);
  if (p.dx && !add) zero_rows(p.dx, tokens, p.rows.tokens.capacity);
}

void CpuOperators::broadcast_rows(const BroadcastRows& p) {
  const int64_t tokens = actual_rows(p.rows.tokens, "broadcast_rows");
  const int64_t columns = p.v.cols;
  const bool add = p.into == Into::kAdd;
  check_matrix(p.v, p.rows.batch, columns, "broadcast_rows", "v");
  check_matrix(p.y, p.rows.tokens.capacity, columns, "broadcast_rows", "y");
  pool_.run(p.rows.batch, [&](int64_t b, int) {
    const Span span = row_span(p.rows, b, tokens, "broadcast_rows");
    const float* v = p.v.f32() + b * p.v.stride;
    for (int64_t t = span.first; t < span.last; ++t) {
      float* y = p.y.f32() + t * p.y.stride;
      for (int64_t c = 0; c < columns; ++c) y[c] = add ? y[c] + v[c] : v[c];
    }
  });
  if (!add) zero_rows(p.y, tokens, p.rows.tokens.capacity);
}

}  // namespace electra::cpu
