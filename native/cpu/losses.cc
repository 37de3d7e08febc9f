// Losses of the heads other than the language model. They are small beside the network, so every row is
// computed in double and rounded once; sums add fixed stretches of 256 rows in index order.

#include <algorithm>
#include <cmath>

#include "checks.h"
#include "cpu_operators.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr int64_t kRowsPerTask = 256;
constexpr int64_t kBinarySums = 6;  ///< doubles in BinarySums

int64_t tasks_for(int64_t count) { return (count + kRowsPerTask - 1) / kRowsPerTask; }

double weight_of(const float* weights, int64_t i) { return weights != nullptr ? weights[i] : 1.0; }
double scale_of(const float* scale) { return scale != nullptr ? *scale : 1.0; }

/// l = max(d, 0) − d·y + log(1 + e^(−|d|)): binary cross-entropy from a logit, safe at both ends.
double binary_loss(double d, double y) {
  return std::max(d, 0.0) - d * y + std::log1p(std::exp(-std::fabs(d)));
}

double sigmoid(double d) {
  const double e = std::exp(-std::fabs(d));
  return d >= 0 ? 1 / (1 + e) : e / (1 + e);
}

double* as_doubles(float* memory) { return static_cast<double*>(static_cast<void*>(memory)); }

void add_in_order(const double* partials, int64_t count, double* sum) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += partials[i];
  *sum += total;
}

}  // namespace

WorkspaceNeeds losses_needs(const Capacity& capacity) {
  const int64_t rows =
      std::max({capacity.tokens, capacity.slots, capacity.lm_rows, static_cast<int64_t>(capacity.batch)});
  WorkspaceNeeds needs;
  needs.shared_floats = static_cast<size_t>(std::max<int64_t>(1, tasks_for(rows)) * kBinarySums * 2);
  return needs;
}

void CpuOperators::binary_cross_entropy(const BinaryCrossEntropy& p) {
  const int64_t tokens = actual_rows(p.tokens, "binary_cross_entropy");
  const int64_t tasks = tasks_for(tokens);
  double* partials = as_doubles(scratch(static_cast<size_t>(tasks * kBinarySums * 2)));

  pool_.run(tasks, [&](int64_t task, int) {
    const double scale = scale_of(p.scale);
    BinarySums part;
    const int64_t last = std::min(tokens, (task + 1) * kRowsPerTask);
    for (int64_t t = task * kRowsPerTask; t < last; ++t) {
      const float addend = p.addend != nullptr ? p.addend[t] : 0.0f;
      const float logit = p.logits[t * p.logit_stride] + addend + p.constant;
      const double d = logit;
      const double y = p.labels[t];
      const double w = weight_of(p.weights, t);
      const double loss = binary_loss(d, y);
      if (p.loss != nullptr) p.loss[t] = static_cast<float>(loss);
      if (p.final_logits != nullptr) p.final_logits[t] = logit;
      if (p.d_logits != nullptr) {
        p.d_logits[t * p.logit_stride] = w == 0 ? 0.0f : static_cast<float>(w * scale * (sigmoid(d) - y));
      }
      if (w == 0) continue;  // a token that does not count adds nothing, whatever its logit holds
      part.loss += w * loss;
      part.weight += w;
      double& cell = d > 0 ? (y > 0.5 ? part.true_positive : part.false_positive)
                           : (y > 0.5 ? part.false_negative : part.true_negative);
      cell += w;
    }
    double* out = partials + task * kBinarySums;
    out[0] = part.loss;
    out[1] = part.weight;
    out[2] = part.true_positive;
    out[3] = part.false_positive;
    out[4] = part.true_negative;
    out[5] = part.false_negative;
  });

  for (int64_t t = tokens; t < p.tokens.capacity; ++t) {
    if (p.loss != nullptr) p.loss[t] = 0;
    if (p.final_logits != nullptr) p.final_logits[t] = 0;
    if (p.d_logits != nullptr) p.d_logits[t * p.logit_stride] = 0;
  }
  if (p.sums != nullptr) {
    double total[kBinarySums] = {};
    for (int64_t i = 0; i < tasks; ++i) {
      for (int64_t j = 0; j < kBinarySums; ++j) total[j] += partials[i * kBinarySums + j];
    }
    p.sums->loss += total[0];
    p.sums->weight += total[1];
    p.sums->true_positive += total[2];
    p.sums->false_positive += total[3];
    p.sums->true_negative += total[4];
    p.sums->false_negative += total[5];
  }
}

void CpuOperators::class_cross_entropy(const ClassCrossEntropy& p) {
  const int64_t rows = actual_rows(p.rows, "class_cross_entropy");
  const int64_t classes = p.logits.cols;
  check_matrix(p.logits, p.rows.capacity, classes, "class_cross_entropy", "logits");
  if (p.d_logits) check_matrix(p.d_logits, p.rows.capacity, classes, "class_cross_entropy", "d_logits");
  ELECTRA_CHECK_SHAPE(classes > 0, "class_cross_entropy: there are no classes");
  ELECTRA_CHECK_SHAPE(p.labels != nullptr || !p.d_logits, "class_cross_entropy: a gradient needs labels");
  const int64_t tasks = tasks_for(rows);
  double* partials = as_doubles(scratch(static_cast<size_t>(tasks * 2)));

  pool_.run(tasks, [&](int64_t task, int) {
    const double scale = scale_of(p.scale);
    double sum = 0;
    const int64_t last = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t r = task * kRowsPerTask; r < last; ++r) {
      const float* z = p.logits.f32() + r * p.logits.stride;
      const double top = *std::max_element(z, z + classes);
      double total = 0;
      for (int64_t c = 0; c < classes; ++c) total += std::exp(z[c] - top);
      const double log_sum = top + std::log(total);
      if (p.log_probabilities != nullptr) {
        for (int64_t c = 0; c < classes; ++c) {
          p.log_probabilities[r * classes + c] = static_cast<float>(z[c] - log_sum);
        }
      }
      if (p.labels == nullptr) continue;
      const double w = weight_of(p.weights, r);
      if (w == 0) {
        if (p.loss != nullptr) p.loss[r] = 0;
        if (p.d_logits) zero_rows(p.d_logits, r, r + 1);
        continue;
      }
      const int32_t label = p.labels[r];
      if (label < 0 || label >= classes) {
        throw EngineError("ERR_ELECTRA_VALUE", "class_cross_entropy: label %d of row %lld is outside 0..%lld",
                          label, static_cast<long long>(r), static_cast<long long>(classes - 1));
      }
      const double loss = log_sum - z[label];
      if (p.loss != nullptr) p.loss[r] = static_cast<float>(loss);
      sum += w * loss;
      if (p.d_logits) {
        float* dz = p.d_logits.f32() + r * p.d_logits.stride;  // may be z: read before it is written
        for (int64_t c = 0; c < classes; ++c) {
          dz[c] = static_cast<float>(w * scale * (std::exp(z[c] - log_sum) - (c == label ? 1.0 : 0.0)));
        }
      }
    }
    partials[task] = sum;
  });

  for (int64_t r = rows; r < p.rows.capacity; ++r) {
    if (p.loss != nullptr && p.labels != nullptr) p.loss[r] = 0;
    if (p.log_probabilities != nullptr) std::fill_n(p.log_probabilities + r * classes, classes, 0.0f);
  }
  if (p.d_logits) zero_rows(p.d_logits, rows, p.rows.capacity);
  if (p.loss_sum != nullptr && p.labels != nullptr) add_in_order(partials, tasks, p.loss_sum);
}

// predictions and d_predictions are both `stride` apart.
void CpuOperators::mean_squared_error(const MeanSquaredError& p) {
  const int64_t rows = actual_rows(p.rows, "mean_squared_error");
  const int64_t tasks = tasks_for(rows);
  double* partials = as_doubles(scratch(static_cast<size_t>(tasks * 2)));

  pool_.run(tasks, [&](int64_t task, int) {
    const double scale = scale_of(p.scale);
    double sum = 0;
    const int64_t last = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t r = task * kRowsPerTask; r < last; ++r) {
      const double w = weight_of(p.weights, r);
      const double difference =
          w == 0 ? 0.0 : static_cast<double>(p.predictions[r * p.stride]) - p.targets[r];
      if (p.loss != nullptr) p.loss[r] = static_cast<float>(difference * difference);
      if (p.d_predictions != nullptr)
        p.d_predictions[r * p.stride] = static_cast<float>(w * scale * 2 * difference);
      sum += w * difference * difference;
    }
    partials[task] = sum;
  });

  for (int64_t r = rows; r < p.rows.capacity; ++r) {
    if (p.loss != nullptr) p.loss[r] = 0;
    if (p.d_predictions != nullptr) p.d_predictions[r * p.stride] = 0;
  }
  if (p.loss_sum != nullptr) add_in_order(partials, tasks, p.loss_sum);
}

void CpuOperators::multi_label_cross_entropy(const MultiLabelCrossEntropy& p) {
  const int64_t rows = actual_rows(p.rows, "multi_label_cross_entropy");
  const int64_t classes = p.logits.cols;
  check_matrix(p.logits, p.rows.capacity, classes, "multi_label_cross_entropy", "logits");
  if (p.d_logits) check_matrix(p.d_logits, p.rows.capacity, classes, "multi_label_cross_entropy", "d_logits");
  const int64_t tasks = tasks_for(rows);
  double* partials = as_doubles(scratch(static_cast<size_t>(tasks * 2)));

  pool_.run(tasks, [&](int64_t task, int) {
    const double scale = scale_of(p.scale);
    double sum = 0;
    const int64_t last = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t r = task * kRowsPerTask; r < last; ++r) {
      const double w = weight_of(p.weights, r);
      if (w == 0) {
        if (p.loss != nullptr) p.loss[r] = 0;
        if (p.d_logits) zero_rows(p.d_logits, r, r + 1);
        continue;
      }
      const float* z = p.logits.f32() + r * p.logits.stride;
      float* dz = p.d_logits ? p.d_logits.f32() + r * p.d_logits.stride : nullptr;
      double loss = 0;
      for (int64_t c = 0; c < classes; ++c) {
        const double d = z[c];
        const double y = p.labels[r * classes + c];
        loss += binary_loss(d, y);
        if (dz != nullptr) dz[c] = static_cast<float>(w * scale * (sigmoid(d) - y));
      }
      if (p.loss != nullptr) p.loss[r] = static_cast<float>(loss);
      sum += w * loss;
    }
    partials[task] = sum;
  });

  if (p.loss != nullptr) std::fill(p.loss + rows, p.loss + p.rows.capacity, 0.0f);
  if (p.d_logits) zero_rows(p.d_logits, rows, p.rows.capacity);
  if (p.loss_sum != nullptr) add_in_order(partials, tasks, p.loss_sum);
}

}  // namespace electra::cpu
