// Losses of the heads.

#include <string>

#include "cases.h"

namespace electra::test {
namespace {

constexpr float kScale = 0.25f;

/// Weights with zeros among them, and weight · scale: what a loss element's share of the total is.
struct Weights {
  std::vector<float> values, shares;
};
Weights weights_of(Scene& s, int64_t count) {
  Weights weights;
  for (int64_t i = 0; i < count; ++i) {
    const float choices[] = {1, 0, 1, 0.5f, 2};
    weights.values.push_back(choices[s.choose(5)]);
    weights.shares.push_back(weights.values.back() * kScale);
  }
  return weights;
}

std::vector<float> coin_flips(Scene& s, int64_t count) {
  std::vector<float> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(static_cast<float>(s.choose(2)));
  return labels;
}

double* loss_sum(Scene& s, double terms) {
  Look look;
  look.terms = terms;
  return s.doubles("loss_sum", {1.25}, Role::kAccumulator, look);
}

void declare_binary(Scene& s, int64_t n, int64_t spare, bool weighted, bool electric, double size,
                    int64_t gap) {
  const int64_t capacity = n + spare;
  const Weights weights = weights_of(s, capacity);
  BinaryCrossEntropy p;
  p.tokens = s.extent(capacity, n);
  Look logits;
  logits.scale = size;
  logits.actual = n;
  logits.gap = gap;
  const Tensor z = s.wide_matrix("logits", capacity, 1, logits);
  p.logits = z.f32();
  p.logit_stride = z.stride;
  if (electric) {
    p.addend = s.vector("addend", capacity, input_look(6));
    p.constant = -1.734601f;
  }
  p.labels = s.given("labels", coin_flips(s, capacity));
  if (weighted) p.weights = s.given("weights", weights.values);
  s.given("dloss", weighted ? weights.shares : std::vector<float>(static_cast<size_t>(capacity), kScale));
  p.scale = s.given("scale", {kScale});
  p.loss = s.vector("loss", capacity, output_look(n, 4));
  p.final_logits = s.vector("final_logits", capacity, output_look(n, 4));
  Look gradient = gradient_output(n, 4);
  gradient.gap = gap;
  // A sum of logit, addend and constant in f32: the slope of the sigmoid is at most 1/4.
  gradient.slack = 1 + size / 2;
  p.d_logits = s.wide_matrix("dlogits", capacity, 1, gradient).f32();
  Look sums;
  sums.terms = 4;
  p.sums = static_cast<BinarySums*>(
      static_cast<void*>(s.doubles("sums", {0.5, 1.5, 2.5, 3.5, 4.5, 5.5}, Role::kAccumulator, sums)));
  s.forward([=](Operators& o) { o.binary_cross_entropy(p); });
  s.cotangent("loss", "dloss");
  s.gradient("logits", "dlogits");
  s.work(0, 20.0 * static_cast<double>(n));
}

/// d = 0 is predicted "original": only a positive logit counts as "replaced".
void declare_binary_at_zero(Scene& s) {
  BinaryCrossEntropy p;
  p.tokens = s.extent(6);
  p.logits = s.given("logits", {0, 0, -0.0f, 1e-30f, -1, 1});
  p.labels = s.given("labels", {0, 1, 1, 1, 1, 0});
  p.loss = s.vector("loss", 6, output_look(-1, 1));
  Look sums;
  sums.terms = 4;
  p.sums = static_cast<BinarySums*>(
      static_cast<void*>(s.doubles("sums", std::vector<double>(6, 0.0), Role::kAccumulator, sums)));
  s.forward([=](Operators& o) { o.binary_cross_entropy(p); });
}

void declare_classes(Scene& s, int64_t n, int64_t spare, int64_t classes, bool weighted, bool in_place,
                     double scale = 5) {
  const int64_t capacity = n + spare;
  const Weights weights = weights_of(s, capacity);
  ClassCrossEntropy p;
  p.rows = s.extent(capacity, n);
  Look logits = input_look(scale);
  logits.actual = n;
  logits.terms = 4;
  if (in_place) {
    logits.role = Role::kAccumulator;
    logits.beyond = Beyond::kZero;
  }
  p.logits = s.wide_matrix("logits", capacity, classes, logits);
  std::vector<int32_t> labels;
  for (int64_t r = 0; r < capacity; ++r) {
    // Where the weight is 0 the label means nothing.
    const bool counts = r < n && (!weighted || weights.values[r] != 0);
    labels.push_back(counts ? static_cast<int32_t>(s.choose(static_cast<uint32_t>(classes))) : -99);
  }
  p.labels = s.integers("labels", labels);
  if (weighted) p.weights = s.given("weights", weights.values);
  s.given("dloss", weighted ? weights.shares : std::vector<float>(static_cast<size_t>(capacity), kScale));
  p.scale = s.given("scale", {kScale});
  p.loss = s.vector("loss", capacity, output_look(n, 4));
  p.log_probabilities = s.vector("log_probabilities", capacity * classes, output_look(n * classes, 4));
  p.d_logits = in_place ? p.logits : s.wide_matrix("dlogits", capacity, classes, gradient_output(n, 4));
  p.loss_sum = loss_sum(s, 4);
  s.forward([=](Operators& o) { o.class_cross_entropy(p); });
  if (in_place || scale > 5) return;
  s.cotangent("loss", "dloss");
  s.gradient("logits", "dlogits");
}

void declare_probabilities(Scene& s, int64_t n, int64_t classes) {
  ClassCrossEntropy p;
  p.rows = s.extent(n);
  p.logits = s.wide_matrix("logits", n, classes, input_look(30));
  p.log_probabilities = s.vector("log_probabilities", n * classes, output_look(n * classes, 4));
  s.forward([=](Operators& o) { o.class_cross_entropy(p); });
}

void declare_squares(Scene& s, int64_t n, int64_t spare, bool weighted, int64_t gap) {
  const int64_t capacity = n + spare;
  const Weights weights = weights_of(s, capacity);
  MeanSquaredError p;
  p.rows = s.extent(capacity, n);
  Look predictions;
  predictions.actual = n;
  predictions.gap = gap;
  const Tensor x = s.wide_matrix("predictions", capacity, 1, predictions);
  p.predictions = x.f32();
  p.stride = x.stride;
  p.targets = s.vector("targets", capacity);
  if (weighted) p.weights = s.given("weights", weights.values);
  s.given("dloss", weighted ? weights.shares : std::vector<float>(static_cast<size_t>(capacity), kScale));
  p.scale = s.given("scale", {kScale});
  // The loss of a row that does not count is not specified beyond being finite where targets are: compared
  // through sums.
  Look loss = output_look(n, 4);
  if (weighted) loss.role = Role::kScratch;
  p.loss = s.vector("loss", capacity, loss);
  Look gradient = gradient_output(n, 4);
  gradient.gap = gap;
  p.d_predictions = s.wide_matrix("dpredictions", capacity, 1, gradient).f32();
  p.loss_sum = loss_sum(s, 4);
  s.forward([=](Operators& o) { o.mean_squared_error(p); });
  s.cotangent("loss", "dloss");
  s.gradient("predictions", "dpredictions");
}

void declare_multi_label(Scene& s, int64_t n, int64_t spare, int64_t classes, bool weighted) {
  const int64_t capacity = n + spare;
  const Weights weights = weights_of(s, capacity);
  MultiLabelCrossEntropy p;
  p.rows = s.extent(capacity, n);
  Look logits = input_look(5);
  logits.actual = n;
  p.logits = s.wide_matrix("logits", capacity, classes, logits);
  p.labels = s.given("labels", coin_flips(s, capacity * classes));
  if (weighted) p.weights = s.given("weights", weights.values);
  s.given("dloss", weighted ? weights.shares : std::vector<float>(static_cast<size_t>(capacity), kScale));
  p.scale = s.given("scale", {kScale});
  Look loss = output_look(n, static_cast<double>(classes) + 4);
  if (weighted) loss.role = Role::kScratch;
  p.loss = s.vector("loss", capacity, loss);
  p.d_logits = s.wide_matrix("dlogits", capacity, classes, gradient_output(n, 4));
  p.loss_sum = loss_sum(s, static_cast<double>(classes) + 4);
  s.forward([=](Operators& o) { o.multi_label_cross_entropy(p); });
  s.cotangent("loss", "dloss");
  s.gradient("logits", "dlogits");
}

}  // namespace

void add_loss_cases(Cases* cases) {
  struct Count {
    int64_t n, spare;
  };
  for (const Count& count : {Count{0, 3}, Count{1, 0}, Count{40, 5}, Count{700, 2}}) {
    const int64_t n = count.n, spare = count.spare;
    for (const bool weighted : {false, true}) {
      const std::string text = "R=" + std::to_string(n) + (weighted ? " weighted" : "");
      cases->push_back({"binary_cross_entropy", text,
                        [=](Scene& s) { declare_binary(s, n, spare, weighted, false, 4, 0); }});
      cases->push_back({"binary_cross_entropy", text + ", Electric",
                        [=](Scene& s) { declare_binary(s, n, spare, weighted, true, 4, 2); }});
      cases->push_back({"binary_cross_entropy", text + ", large logits",
                        [=](Scene& s) { declare_binary(s, n, spare, weighted, false, 90, 0); }});
      for (const int64_t classes : {2, 3, 24}) {
        const std::string full = text + ", " + std::to_string(classes) + " classes";
        cases->push_back({"class_cross_entropy", full,
                          [=](Scene& s) { declare_classes(s, n, spare, classes, weighted, false); }});
        cases->push_back({"class_cross_entropy", full + " in place",
                          [=](Scene& s) { declare_classes(s, n, spare, classes, weighted, true); }});
        cases->push_back({"multi_label_cross_entropy", full,
                          [=](Scene& s) { declare_multi_label(s, n, spare, classes, weighted); }});
      }
      for (const int64_t gap : {0, 2}) {
        cases->push_back({"mean_squared_error", text + ", stride " + std::to_string(gap + 1),
                          [=](Scene& s) { declare_squares(s, n, spare, weighted, gap); }});
      }
    }
    cases->push_back({"class_cross_entropy", "probabilities only, R=" + std::to_string(n),
                      [=](Scene& s) { declare_probabilities(s, n, 5); }});
  }
  // Without the largest logit taken off, exponentials would overflow.
  cases->push_back({"class_cross_entropy", "logits up to 3000",
                    [](Scene& s) { declare_classes(s, 40, 0, 3, false, false, 3000); }});
  cases->push_back({"binary_cross_entropy", "logits of zero", declare_binary_at_zero});
  cases->push_back({"binary_cross_entropy", "16384 tokens",
                    [](Scene& s) { declare_binary(s, 16384, 0, true, false, 4, 0); }, true});
}

}  // namespace electra::test
