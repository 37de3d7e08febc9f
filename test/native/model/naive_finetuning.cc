#include "naive_finetuning.h"

#include <algorithm>
#include <cmath>

namespace electra::test {
namespace {

constexpr int kSpanHidden = 512;

/// One row on its way through a head.
struct Row {
  const FinetuningConfig& config;
  const Variables& variables;
  const NaiveTasks& batch;
  int number;
  const Matrix hidden;  ///< [tokens, h]
  Randomness random;

  int tokens() const { return batch.lengths[static_cast<size_t>(number)]; }
  int width() const { return config.encoder.hidden_size; }
  int task() const { return batch.task[static_cast<size_t>(number)]; }
  const TaskConfig& head() const { return config.tasks[static_cast<size_t>(task())]; }
  Matrix state(int position) const {
    const auto first = hidden.begin() + static_cast<long>(position) * width();
    return Matrix(first, first + width());
  }
  /// A dense layer of the head applied to [rows, in].
  Matrix dense(const std::string& name, const Matrix& x, int in, int out) const {
    const std::string scope = "task_specific/" + head().name + "/" + name;
    return linear(x, static_cast<int>(x.size()) / in, in, out, variable(variables, scope + "/kernel"),
                  variable(variables, scope + "/bias"));
  }
  /// 1000 lower where no answer may be.
  Matrix masked(Matrix scores) const {
    const int32_t* segments = &batch.segments[static_cast<size_t>(number) * batch.length];
    for (int i = 0; i < tokens(); ++i)
      scores[static_cast<size_t>(i)] += 1000.0 * (segments[i] + (i == 0 ? 1 : 0) - 1);
    return scores;
  }
};

Row read_row(const FinetuningConfig& config, const Variables& variables, const NaiveTasks& batch, int b,
             const Randomness& random, const TransformerConfig& encoder) {
  const RowPlace place{static_cast<uint32_t>(b), static_cast<uint32_t>(config.max_seq_length)};
  const size_t first = static_cast<size_t>(b) * batch.length;
  return Row{config,
             variables,
             batch,
             b,
             transformer("electra", encoder, Network::kDiscriminator, variables, &batch.ids[first],
                         &batch.segments[first], batch.lengths[static_cast<size_t>(b)], random, place),
             random};
}

double cross_entropy(const Matrix& z, int32_t target) {
  return log_sum_exp(z) - z[static_cast<size_t>(target)];
}

double sigmoid_cross_entropy(double z, double y) {
  return std::max(z, 0.0) - z * y + std::log1p(std::exp(-std::fabs(z)));
}

Matrix joined(const Matrix& a, const Matrix& b) {
  Matrix both = a;
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

Matrix gelu_of(Matrix x) {
  for (double& value : x) value = gelu(value);
  return x;
}

/// Scores of all tokens as the end of an answer that begins at `start`: [h_start ; h_t], as the reference has
/// it.
Matrix end_scores(const Row& row, int start) {
  Matrix scores;
  for (int t = 0; t < row.tokens(); ++t) {
    const Matrix hidden =
        gelu_of(row.dense("qa_hidden", joined(row.state(start), row.state(t)), 2 * row.width(), kSpanHidden));
    scores.push_back(row.dense("dense_1", hidden, kSpanHidden, 1)[0]);
  }
  return row.masked(scores);
}

double answerability_logit(const Row& row, const Matrix& start_scores) {
  Matrix representation = row.state(0);
  if (!row.head().answerable_uses_start_logits)
    return row.dense("dense_2", representation, row.width(), 1)[0];
  Matrix mean(static_cast<size_t>(row.width()), 0.0);
  const double total = log_sum_exp(start_scores);
  for (int t = 0; t < row.tokens(); ++t) {
    const double p = std::exp(start_scores[static_cast<size_t>(t)] - total);
    const Matrix state = row.state(t);
    for (size_t c = 0; c < state.size(); ++c) mean[c] += p * state[c];
  }
  const Matrix hidden =
      gelu_of(row.dense("dense_2", joined(representation, mean), 2 * row.width(), kSpanHidden));
  return row.dense("dense_3", hidden, kSpanHidden, 1)[0];
}

double span_loss(const Row& row) {
  const size_t b = static_cast<size_t>(row.number);
  const Matrix starts = row.masked(row.dense("dense", row.hidden, row.width(), 1));
  const Matrix ends = row.head().joint_prediction
                          ? end_scores(row, row.batch.starts[b])
                          : row.masked(row.dense("dense_1", row.hidden, row.width(), 1));
  double loss = (cross_entropy(starts, row.batch.starts[b]) + cross_entropy(ends, row.batch.ends[b])) / 2;
  if (row.head().answerable_classifier)
    loss += static_cast<double>(row.head().answerable_weight) *
            sigmoid_cross_entropy(answerability_logit(row, starts), row.batch.impossible[b]);
  return loss;
}

double row_loss(const Row& row) {
  const TaskConfig& head = row.head();
  const size_t b = static_cast<size_t>(row.number);
  if (head.kind == TaskHeadKind::kSpan) return span_loss(row);
  if (head.kind == TaskHeadKind::kTagging) {
    double loss = 0;
    for (size_t w = 0; w < row.batch.positions[b].size(); ++w)
      loss +=
          cross_entropy(row.dense("dense", row.state(row.batch.positions[b][w]), row.width(), head.classes),
                        row.batch.tags[b][w]);
    return loss;
  }
  Matrix cls = row.state(0);
  dropout(cls, 1, row.width(), row.config.head_dropout_prob, task_head_site(row.task()), row.random,
          RowPlace{static_cast<uint32_t>(row.number), static_cast<uint32_t>(row.config.max_seq_length)});
  const Matrix z =
      row.dense("dense", cls, row.width(), head.kind == TaskHeadKind::kRegression ? 1 : head.classes);
  if (head.kind == TaskHeadKind::kClassification) return cross_entropy(z, row.batch.classes[b]);
  if (head.kind == TaskHeadKind::kRegression)
    return (z[0] - row.batch.values[b]) * (z[0] - row.batch.values[b]);
  double loss = 0;
  for (size_t c = 0; c < z.size(); ++c) loss += sigmoid_cross_entropy(z[c], row.batch.labels[b][c]);
  return loss;
}

Matrix log_softmax(Matrix z) {
  const double total = log_sum_exp(z);
  for (double& value : z) value -= total;
  return z;
}

}  // namespace

std::vector<double> naive_row_losses(const FinetuningConfig& config, const Variables& variables,
                                     const NaiveTasks& batch, uint64_t seed, uint32_t step) {
  std::vector<double> losses(static_cast<size_t>(batch.rows), 0.0);
  for (int b = 0; b < batch.rows; ++b) {
    const bool is_padding = batch.task[static_cast<size_t>(b)] == static_cast<int>(config.tasks.size());
    if (is_padding || batch.lengths[static_cast<size_t>(b)] == 0) continue;
    losses[static_cast<size_t>(b)] =
        row_loss(read_row(config, variables, batch, b, Randomness{seed, step}, config.encoder));
  }
  return losses;
}

NaiveBeams naive_beams(const FinetuningConfig& config, const Variables& variables, const NaiveTasks& batch,
                       int row, const std::vector<int32_t>& starts) {
  TransformerConfig encoder = config.encoder;
  encoder.hidden_dropout_prob = encoder.attention_probs_dropout_prob = 0;
  const Row read = read_row(config, variables, batch, row, Randomness{0, 0}, encoder);
  NaiveBeams beams;
  beams.starts = log_softmax(read.masked(read.dense("dense", read.hidden, read.width(), 1)));
  for (const int32_t start : starts)
    beams.ends.push_back(start < 0 ? Matrix() : log_softmax(end_scores(read, start)));
  return beams;
}

}  // namespace electra::test
