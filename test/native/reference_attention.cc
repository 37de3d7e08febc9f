// Reference: attention with all probabilities written out.

#include <algorithm>
#include <cmath>
#include <vector>

#include "reference_operators.h"

namespace electra::test {
namespace {

/// One head of one row of the batch: everything about its [n, n] probabilities.
class Head {
 public:
  Head(const Rows& rows, int32_t heads, AttentionMask mask, const Dropout& dropout, const MatrixView& qkv,
       int64_t width, int32_t b, int32_t head)
      : rows_(rows),
        heads_(heads),
        dropout_(dropout),
        b_(b),
        head_(head),
        n_(rows.offsets[b + 1] - rows.offsets[b]) {
    const int64_t first = rows.offsets[b];
    const int64_t size = width / heads;
    probabilities_.assign(static_cast<size_t>(n_ * n_), 0);
    log_sum_exp_.assign(static_cast<size_t>(n_), 0);
    std::vector<double> score(static_cast<size_t>(n_));
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < n_; ++j) {
        double dot = 0;
        for (int64_t d = 0; d < size; ++d) {
          dot += qkv.at(first + i, head * size + d) * qkv.at(first + j, width + head * size + d);
        }
        const bool seen = j < rows.valid[b] && (mask == AttentionMask::kFull ||
                                                (mask == AttentionMask::kLeftToRight ? j <= i : j >= i));
        score[j] = dot / std::sqrt(static_cast<double>(size)) - (seen ? 0 : 10000);
      }
      const double top = *std::max_element(score.begin(), score.end());
      double total = 0;
      for (int64_t j = 0; j < n_; ++j) total += std::exp(score[j] - top);
      log_sum_exp_[i] = top + std::log(total);
      for (int64_t j = 0; j < n_; ++j) probabilities_[i * n_ + j] = std::exp(score[j] - top) / total;
    }
  }

  int64_t length() const { return n_; }
  double probability(int64_t i, int64_t j) const { return probabilities_[i * n_ + j]; }
  double log_sum_exp(int64_t i) const { return log_sum_exp_[i]; }

  double dropout_factor(int64_t i, int64_t j) const {
    if (dropout_.p == 0) return 1;
    const AttentionCoordinate at =
        attention_element(static_cast<uint32_t>(rows_.global_row[b_]), static_cast<uint32_t>(heads_),
                          static_cast<uint32_t>(head_), static_cast<uint32_t>(rows_.pitch),
                          static_cast<uint32_t>(i), static_cast<uint32_t>(j));
    const PhiloxWords words = random_block(dropout_.scalars->seed, RandomPurpose::kDropout, at.block,
                                           dropout_.scalars->step, dropout_.site);
    return random_decision(words, at.decision) >= dropout_threshold(dropout_.p) ? dropout_scale(dropout_.p)
                                                                                : 0;
  }

 private:
  const Rows& rows_;
  int32_t heads_;
  const Dropout& dropout_;
  int32_t b_;
  int32_t head_;
  int64_t n_;
  std::vector<double> probabilities_;
  std::vector<double> log_sum_exp_;
};

}  // namespace

void ReferenceOperators::attention_forward(const AttentionForward& p) {
  const MatrixView qkv = memory_.matrix(p.qkv), context = memory_.matrix(p.context);
  const View log_sum_exp = memory_.view(p.log_sum_exp);
  const int64_t width = p.context.cols, size = width / p.heads;
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    const int64_t first = p.rows.offsets[b];
    for (int32_t a = 0; a < p.heads; ++a) {
      const Head head(p.rows, p.heads, p.mask, p.dropout, qkv, width, b, a);
      for (int64_t i = 0; i < head.length(); ++i) {
        if (log_sum_exp) log_sum_exp.set((first + i) * p.heads + a, head.log_sum_exp(i));
        for (int64_t d = 0; d < size; ++d) context.set(first + i, a * size + d, 0);
        for (int64_t j = 0; j < head.length(); ++j) {
          const double weight = head.probability(i, j) * head.dropout_factor(i, j);
          for (int64_t d = 0; d < size; ++d) {
            context.add(first + i, a * size + d, weight * qkv.at(first + j, 2 * width + a * size + d));
          }
        }
      }
    }
  }
  clear_beyond(context, p.rows.tokens, width);
  for (int64_t i = count_of(p.rows.tokens) * p.heads; log_sum_exp && i < p.rows.tokens.capacity * p.heads;
       ++i) {
    log_sum_exp.set(i, 0);
  }
}

void ReferenceOperators::attention_backward(const AttentionBackward& p) {
  const MatrixView qkv = memory_.matrix(p.qkv), d_context = memory_.matrix(p.d_context),
                   d_qkv = memory_.matrix(p.d_qkv);
  const int64_t width = p.d_context.cols, size = width / p.heads;
  const double scale = 1 / std::sqrt(static_cast<double>(size));
  for (int64_t t = 0; t < p.rows.tokens.capacity; ++t) {
    for (int64_t c = 0; c < 3 * width; ++c) d_qkv.set(t, c, 0);
  }
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    const int64_t first = p.rows.offsets[b];
    for (int32_t a = 0; a < p.heads; ++a) {
      const Head head(p.rows, p.heads, p.mask, p.dropout, qkv, width, b, a);
      const int64_t query = a * size, key = width + a * size, value = 2 * width + a * size;
      std::vector<double> d_probability(static_cast<size_t>(head.length()));
      for (int64_t i = 0; i < head.length(); ++i) {
        double dot = 0;
        for (int64_t j = 0; j < head.length(); ++j) {
          const double factor = head.dropout_factor(i, j);
          double d_weight = 0;
          for (int64_t d = 0; d < size; ++d) {
            d_weight += d_context.at(first + i, query + d) * qkv.at(first + j, value + d);
            d_qkv.add(first + j, value + d,
                      head.probability(i, j) * factor * d_context.at(first + i, query + d));
          }
          d_probability[j] = d_weight * factor;
          dot += d_probability[j] * head.probability(i, j);
        }
        for (int64_t j = 0; j < head.length(); ++j) {
          const double d_score = head.probability(i, j) * (d_probability[j] - dot) * scale;
          for (int64_t d = 0; d < size; ++d) {
            d_qkv.add(first + i, query + d, d_score * qkv.at(first + j, key + d));
            d_qkv.add(first + j, key + d, d_score * qkv.at(first + i, query + d));
          }
        }
      }
    }
  }
}

void ReferenceOperators::attention_probabilities(const AttentionProbabilities& p) {
  const MatrixView qkv = memory_.matrix(p.qkv);
  const View out = memory_.view(p.probabilities);
  const int64_t pitch = p.rows.pitch, width = p.qkv.cols / 3;
  const Dropout none;
  for (int32_t b = 0; b < p.rows.batch; ++b) {
    for (int32_t a = 0; a < p.heads; ++a) {
      const Head head(p.rows, p.heads, p.mask, none, qkv, width, b, a);
      for (int64_t i = 0; i < pitch; ++i) {
        for (int64_t j = 0; j < pitch; ++j) {
          const bool inside = i < head.length() && j < head.length();
          out.set(((static_cast<int64_t>(b) * p.heads + a) * pitch + i) * pitch + j,
                  inside ? head.probability(i, j) : 0);
        }
      }
    }
  }
}

}  // namespace electra::test
