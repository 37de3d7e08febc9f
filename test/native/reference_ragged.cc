// Reference: softmax, losses and sums over the tokens of each row.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "reference_operators.h"

namespace electra::test {
namespace {

/// softmax of the scores of tokens [first, last).
struct Distribution {
  std::vector<double> logarithms;
  Distribution(const View& scores, int64_t stride, const View& addend, int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      logarithms.push_back(scores[t * stride] + (addend ? addend[t] : 0));
    if (logarithms.empty()) return;
    const double top = *std::max_element(logarithms.begin(), logarithms.end());
    double total = 0;
    for (const double value : logarithms) total += std::exp(value - top);
    for (double& value : logarithms) value -= top + std::log(total);
  }
};

void put(const View& v, int64_t i, double value, Into into) {
  into == Into::kAdd ? v.add(i, value) : v.set(i, value);
}

}  // namespace

void ReferenceOperators::ragged_softmax(const RaggedSoftmax& p) {
  const View y = memory_.view(p.y);
  for (int64_t t = count_of(p.rows.tokens); t < p.rows.tokens.capacity; ++t) y.set(t, 0);
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    const int64_t first = p.rows.offsets[b];
    const Distribution d(memory_.view(p.scores), p.stride, memory_.view(p.addend), first,
                         p.rows.offsets[b + 1]);
    for (size_t i = 0; i < d.logarithms.size(); ++i) {
      y.set(first + static_cast<int64_t>(i), p.logarithm ? d.logarithms[i] : std::exp(d.logarithms[i]));
    }
  }
}

void ReferenceOperators::ragged_softmax_backward(const RaggedSoftmaxBackward& p) {
  const View y = memory_.view(p.y), dy = memory_.view(p.dy), d_scores = memory_.view(p.d_scores);
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    double dot = 0;
    for (int64_t t = p.rows.offsets[b]; t < p.rows.offsets[b + 1]; ++t) dot += y[t] * dy[t];
    for (int64_t t = p.rows.offsets[b]; t < p.rows.offsets[b + 1]; ++t) {
      put(d_scores, t * p.stride, y[t] * (dy[t] - dot), p.into);
    }
  }
  for (int64_t t = count_of(p.rows.tokens); p.into == Into::kWrite && t < p.rows.tokens.capacity; ++t) {
    d_scores.set(t * p.stride, 0);
  }
}

void ReferenceOperators::ragged_cross_entropy(const RaggedCrossEntropy& p) {
  const View d_scores = memory_.view(p.d_scores), loss = memory_.view(p.loss),
             weights = memory_.view(p.weights);
  const View scale = memory_.view(p.scale);
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    const int64_t first = p.rows.offsets[b], last = p.rows.offsets[b + 1];
    const double weight = first == last ? 0 : weights ? weights[b] : 1;
    const Distribution d(memory_.view(p.scores), p.stride, memory_.view(p.addend), first, last);
    const double value = weight == 0 ? 0 : -d.logarithms[p.target_position[b]];
    if (loss) loss.set(b, value);
    if (p.loss_sum != nullptr) *p.loss_sum += weight * value;
    for (int64_t t = first; d_scores && t < last; ++t) {
      const double gradient =
          std::exp(d.logarithms[t - first]) - (weight != 0 && t - first == p.target_position[b]);
      put(d_scores, t * p.stride, weight * (scale ? scale[0] : 1) * gradient, p.into);
    }
  }
  for (int64_t t = count_of(p.rows.tokens); d_scores && p.into == Into::kWrite && t < p.rows.tokens.capacity;
       ++t) {
    d_scores.set(t * p.stride, 0);
  }
}

void ReferenceOperators::ragged_top_k(const RaggedTopK& p) {
  const View scores = memory_.view(p.scores), values = memory_.view(p.values);
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    const int64_t first = p.rows.offsets[b], length = p.rows.offsets[b + 1] - first;
    std::vector<int32_t> order(static_cast<size_t>(length));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t i, int32_t j) { return scores[first + i] > scores[first + j]; });
    for (int32_t k = 0; k < p.k; ++k) {
      p.positions[b * p.k + k] = k < length ? order[k] : -1;
      values.set(b * p.k + k,
                 k < length ? scores[first + order[k]] : -std::numeric_limits<double>::infinity());
    }
  }
}

void ReferenceOperators::ragged_weighted_sum(const RaggedWeightedSum& p) {
  const MatrixView x = memory_.matrix(p.x), y = memory_.matrix(p.y);
  const View weights = memory_.view(p.weights);
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    for (int64_t c = 0; c < p.y.cols; ++c) {
      double sum = 0;
      for (int64_t t = p.rows.offsets[b]; t < p.rows.offsets[b + 1]; ++t)
        sum += (weights ? weights[t] : 1) * x.at(t, c);
      y.put(b, c, sum, p.into);
    }
  }
}

void ReferenceOperators::ragged_weighted_sum_backward(const RaggedWeightedSumBackward& p) {
  const MatrixView x = memory_.matrix(p.x), dy = memory_.matrix(p.dy), dx = memory_.matrix(p.dx);
  const View weights = memory_.view(p.weights), d_weights = memory_.view(p.d_weights);
  for (int64_t t = 0; t < p.rows.tokens.capacity; ++t) {
    const bool counts = t < count_of(p.rows.tokens);
    const int64_t b = counts ? p.rows.token_row[t] : 0;
    double dot = 0;
    for (int64_t c = 0; c < p.dy.cols; ++c) {
      if (counts && d_weights) dot += dy.at(b, c) * x.at(t, c);
      if (!dx) continue;
      if (counts) {
        dx.put(t, c, (weights ? weights[t] : 1) * dy.at(b, c), p.into);
      } else if (p.into == Into::kWrite) {
        dx.set(t, c, 0);
      }
    }
    if (d_weights) d_weights.set(t, dot);
  }
}

void ReferenceOperators::broadcast_rows(const BroadcastRows& p) {
  const MatrixView v = memory_.matrix(p.v), y = memory_.matrix(p.y);
  for (int64_t t = 0; t < count_of(p.rows.tokens); ++t) {
    for (int64_t c = 0; c < p.v.cols; ++c) y.put(t, c, v.at(p.rows.token_row[t], c), p.into);
  }
  if (p.into == Into::kWrite) clear_beyond(y, p.rows.tokens, p.v.cols);
}

}  // namespace electra::test
