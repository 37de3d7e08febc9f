// Reference: the language-model head and the other losses.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "reference_operators.h"

namespace electra::test {
namespace {

double log_sum_exp_of(const std::vector<double>& z) {
  const double top = *std::max_element(z.begin(), z.end());
  double total = 0;
  for (const double value : z) total += std::exp(value - top);
  return top + std::log(total);
}

double binary_loss(double d, double y) {
  return std::max(d, 0.0) - d * y + std::log1p(std::exp(-std::fabs(d)));
}
double sigmoid(double d) { return 1 / (1 + std::exp(-d)); }
double or_one(const View& v, int64_t i) { return v ? v[i] : 1; }

}  // namespace

void ReferenceOperators::language_model_head(const LanguageModelHead& p) {
  const int64_t width = p.table.cols, vocabulary = p.table.rows;
  const MatrixView x = memory_.matrix(p.x), table = memory_.matrix(p.table), dx = memory_.matrix(p.dx);
  const View bias = memory_.view(p.bias), weights = memory_.view(p.weights), scale = memory_.view(p.scale);
  const View d_table = memory_.view(p.d_table), d_bias = memory_.view(p.d_bias);
  const View nll = memory_.view(p.nll), out_lse = memory_.view(p.log_sum_exp),
             out_logits = memory_.view(p.logits);
  const View log_q = memory_.view(p.log_q);
  std::vector<double> z(static_cast<size_t>(vocabulary));

  for (int64_t r = 0; r < count_of(p.rows); ++r) {
    for (int64_t v = 0; v < vocabulary; ++v) {
      double sum = bias ? bias[v] : 0;
      for (int64_t e = 0; e < width; ++e) sum += x.at(r, e) * table.at(v, e);
      z[v] = sum;
      if (out_logits) out_logits.set(r * vocabulary + v, sum);
    }
    const double lse = log_sum_exp_of(z);
    const int32_t prediction = static_cast<int32_t>(std::max_element(z.begin(), z.end()) - z.begin());
    if (out_lse) out_lse.set(r, lse);
    if (p.predictions != nullptr) p.predictions[r] = prediction;

    const double weight = or_one(weights, r);
    if (p.targets != nullptr) {
      const double loss = lse - z[p.targets[r]];
      if (nll) nll.set(r, loss);
      if (p.sums != nullptr) {
        p.sums->loss += weight * loss;
        p.sums->weight += weight;
        p.sums->correct += prediction == p.targets[r] ? weight : 0;
      }
      for (int64_t e = 0; dx && e < width && p.into == Into::kWrite; ++e) dx.set(r, e, 0);
      for (int64_t v = 0; dx && v < vocabulary; ++v) {
        const double dz = weight * or_one(scale, 0) * (std::exp(z[v] - lse) - (v == p.targets[r] ? 1 : 0));
        if (d_bias) d_bias.add(v, dz);
        for (int64_t e = 0; e < width; ++e) {
          dx.add(r, e, dz * table.at(v, e));
          if (d_table) d_table.add(v * width + e, dz * x.at(r, e));
        }
      }
    }

    std::vector<int32_t> slots;
    if (p.row_slots != nullptr) {
      for (int32_t i = p.row_slots[r]; i < p.row_slots[r + 1]; ++i) {
        slots.push_back(p.slot_order != nullptr ? p.slot_order[i] : i);
      }
    } else if (r < count_of(p.slots)) {
      slots.push_back(static_cast<int32_t>(r));
    }
    for (const int32_t s : slots) {
      if (p.sample) {
        double best = -std::numeric_limits<double>::infinity();
        for (int32_t v = 0; v < vocabulary; ++v) {
          float u;
          if (p.given_uniform != nullptr) {
            u = p.given_uniform[static_cast<int64_t>(p.slot_local[s]) * vocabulary + v];
          } else {
            const uint64_t block = gumbel_block(static_cast<uint64_t>(p.slot_coordinate[s]),
                                                static_cast<uint32_t>(vocabulary), static_cast<uint32_t>(v));
            u = uniform_open(
                random_block(p.scalars->seed, RandomPurpose::kGumbel, block, p.scalars->step, 0).word[v % 4]);
          }
          const double score = z[v] / p.temperature -
                               (p.disallow_correct && v == p.slot_target[s] ? 1000 : 0) + gumbel_noise(u);
          if (score > best) {
            best = score;
            p.sampled[s] = v;
          }
        }
      }
      if (p.sums != nullptr && p.sampled != nullptr && p.slot_target != nullptr) {
        p.sums->slots += 1;
        p.sums->sampled_correct += p.sampled[s] == p.slot_target[s] ? 1 : 0;
      }
    }

    if (log_q) {
      int32_t id = p.row_ids != nullptr ? p.row_ids[r] : 0;
      if (!slots.empty() && !(p.row_keeps_id != nullptr && p.row_keeps_id[r] != 0)) {
        double sum = 0;
        for (const int32_t s : slots) sum += p.sampled[s];
        id = static_cast<int32_t>(std::floor(sum / static_cast<double>(slots.size())));
      }
      log_q.set(r, z[id] - lse);
    }
  }

  for (int64_t r = count_of(p.rows); r < p.rows.capacity; ++r) {
    if (nll) nll.set(r, 0);
    if (out_lse) out_lse.set(r, 0);
    if (log_q) log_q.set(r, 0);
    if (p.predictions != nullptr) p.predictions[r] = 0;
    for (int64_t v = 0; out_logits && v < vocabulary; ++v) out_logits.set(r * vocabulary + v, 0);
    for (int64_t e = 0; dx && e < width && p.into == Into::kWrite; ++e) dx.set(r, e, 0);
  }
  for (int64_t s = count_of(p.slots); p.sample && s < p.slots.capacity; ++s) p.sampled[s] = 0;
}

void ReferenceOperators::binary_cross_entropy(const BinaryCrossEntropy& p) {
  const View logits = memory_.view(p.logits), addend = memory_.view(p.addend),
             labels = memory_.view(p.labels);
  const View weights = memory_.view(p.weights), scale = memory_.view(p.scale), loss = memory_.view(p.loss);
  const View final_logits = memory_.view(p.final_logits), d_logits = memory_.view(p.d_logits);
  for (int64_t t = 0; t < p.tokens.capacity; ++t) {
    const bool counts = t < count_of(p.tokens);
    const double d = counts ? logits[t * p.logit_stride] + (addend ? addend[t] : 0) + p.constant : 0;
    const double y = counts ? labels[t] : 0;
    const double weight = counts ? or_one(weights, t) : 0;
    if (loss) loss.set(t, counts ? binary_loss(d, y) : 0);
    if (final_logits) final_logits.set(t, d);
    if (d_logits) d_logits.set(t * p.logit_stride, weight * or_one(scale, 0) * (sigmoid(d) - y));
    if (p.sums == nullptr || !counts) continue;
    p.sums->loss += weight * binary_loss(d, y);
    p.sums->weight += weight;
    p.sums->true_positive += d > 0 && y == 1 ? weight : 0;
    p.sums->false_positive += d > 0 && y == 0 ? weight : 0;
    p.sums->true_negative += d <= 0 && y == 0 ? weight : 0;
    p.sums->false_negative += d <= 0 && y == 1 ? weight : 0;
  }
}

void ReferenceOperators::class_cross_entropy(const ClassCrossEntropy& p) {
  const MatrixView logits = memory_.matrix(p.logits), d_logits = memory_.matrix(p.d_logits);
  const View weights = memory_.view(p.weights), scale = memory_.view(p.scale), loss = memory_.view(p.loss);
  const View log_probabilities = memory_.view(p.log_probabilities);
  const int64_t classes = p.logits.cols;
  std::vector<double> z(static_cast<size_t>(classes));
  for (int64_t r = 0; r < p.rows.capacity; ++r) {
    const bool counts = r < count_of(p.rows);
    for (int64_t c = 0; c < classes; ++c) z[c] = counts ? logits.at(r, c) : 0;
    const double lse = log_sum_exp_of(z);
    for (int64_t c = 0; log_probabilities && c < classes; ++c) {
      log_probabilities.set(r * classes + c, counts ? z[c] - lse : 0);
    }
    if (p.labels == nullptr) continue;
    const double weight = counts ? or_one(weights, r) : 0;
    const double value = weight == 0 ? 0 : lse - z[p.labels[r]];
    if (loss) loss.set(r, value);
    if (p.loss_sum != nullptr) *p.loss_sum += weight * value;
    for (int64_t c = 0; d_logits && c < classes; ++c) {
      d_logits.set(
          r, c,
          weight == 0 ? 0 : weight * or_one(scale, 0) * (std::exp(z[c] - lse) - (c == p.labels[r] ? 1 : 0)));
    }
  }
}

void ReferenceOperators::mean_squared_error(const MeanSquaredError& p) {
  const View predictions = memory_.view(p.predictions), targets = memory_.view(p.targets);
  const View weights = memory_.view(p.weights), scale = memory_.view(p.scale), loss = memory_.view(p.loss);
  const View d_predictions = memory_.view(p.d_predictions);
  for (int64_t r = 0; r < p.rows.capacity; ++r) {
    const double weight = r < count_of(p.rows) ? or_one(weights, r) : 0;
    const double difference = weight == 0 ? 0 : predictions[r * p.stride] - targets[r];
    if (loss) loss.set(r, difference * difference);
    if (d_predictions) d_predictions.set(r * p.stride, 2 * weight * or_one(scale, 0) * difference);
    if (p.loss_sum != nullptr) *p.loss_sum += weight * difference * difference;
  }
}

void ReferenceOperators::multi_label_cross_entropy(const MultiLabelCrossEntropy& p) {
  const MatrixView logits = memory_.matrix(p.logits), d_logits = memory_.matrix(p.d_logits);
  const View labels = memory_.view(p.labels), weights = memory_.view(p.weights),
             scale = memory_.view(p.scale);
  const View loss = memory_.view(p.loss);
  const int64_t classes = p.logits.cols;
  for (int64_t r = 0; r < p.rows.capacity; ++r) {
    const double weight = r < count_of(p.rows) ? or_one(weights, r) : 0;
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) {
      if (weight != 0) sum += binary_loss(logits.at(r, c), labels[r * classes + c]);
      if (!d_logits) continue;
      d_logits.set(
          r, c,
          weight == 0 ? 0 : weight * or_one(scale, 0) * (sigmoid(logits.at(r, c)) - labels[r * classes + c]));
    }
    if (loss) loss.set(r, sum);
    if (p.loss_sum != nullptr) *p.loss_sum += weight * sum;
  }
}

}  // namespace electra::test
