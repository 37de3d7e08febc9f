// Softmax, losses and sums over the tokens of each row.

#include <string>

#include "cases.h"

namespace electra::test {
namespace {

/// 1000 · (answer mask − 1): some tokens are no answer. The first token of a row always is one.
std::vector<float> answer_addend(Scene& s, const RowsLook& look) {
  std::vector<float> addend;
  for (const int32_t length : look.lengths) {
    const int32_t stored = look.keep_padding ? look.pitch : length;
    for (int32_t i = 0; i < stored; ++i)
      addend.push_back(i > 0 && (i >= length || s.choose(3) == 0) ? -1000.0f : 0.0f);
  }
  addend.resize(addend.size() + static_cast<size_t>(look.spare), 0.0f);
  return addend;
}

Look column(Look look, int64_t gap) {
  look.gap = gap;
  return look;
}

void declare_softmax(Scene& s, const RowsLook& look, bool addend, int64_t gap, Into into) {
  RaggedSoftmax f;
  f.rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare;
  Look input = input_look(4);
  input.actual = n;
  const Tensor scores = s.wide_matrix("scores", capacity, 1, column(input, gap));
  f.scores = scores.f32();
  f.stride = scores.stride;
  if (addend) f.addend = s.given("addend", answer_addend(s, look));
  f.y = s.vector("y", capacity, output_look(n, 8));
  s.forward([=](Operators& o) { o.ragged_softmax(f); });
  RaggedSoftmaxBackward b;
  b.rows = f.rows;
  b.y = f.y;
  b.dy = s.vector("dy", capacity, gradient_input(n));
  Look gradient = gradient_output(n, 16, into);
  b.d_scores = s.wide_matrix("dscores", capacity, 1, column(gradient, gap)).f32();
  b.stride = scores.stride;
  b.into = into;
  s.backward([=](Operators& o) { o.ragged_softmax_backward(b); });
  s.cotangent("y", "dy");
  s.gradient("scores", "dscores");
}

void declare_log_softmax(Scene& s, const RowsLook& look) {
  RaggedSoftmax f;
  f.rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare;
  Look input = input_look(4);
  input.actual = n;
  f.scores = s.vector("scores", capacity, input);
  f.addend = s.given("addend", answer_addend(s, look));
  f.logarithm = true;
  f.y = s.vector("y", capacity, output_look(n, 8));
  s.forward([=](Operators& o) { o.ragged_softmax(f); });
}

void declare_cross_entropy(Scene& s, const RowsLook& look, bool weighted, int64_t gap, Into into,
                           bool in_place = false) {
  RaggedCrossEntropy p;
  p.rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare, batch = p.rows.batch;
  Look input = input_look(4);
  input.actual = n;
  if (in_place) input = column(gradient_output(n, 8, Into::kAdd), gap), input.scale = 4;
  const Tensor scores = s.wide_matrix("scores", capacity, 1, column(input, gap));
  p.scores = scores.f32();
  p.stride = scores.stride;
  p.addend = s.given("addend", answer_addend(s, look));
  std::vector<int32_t> targets;
  std::vector<float> weights, shares;
  const float scale = 0.25f;
  for (int64_t b = 0; b < batch; ++b) {
    const int32_t length = look.keep_padding ? look.pitch : look.lengths[b];
    const float choices[] = {1, 0, 2};
    weights.push_back(weighted ? choices[s.choose(3)] : 1);
    // Position 0 is never masked; a target behind the mask costs 1000, also legal. An unweighted row's target
    // is junk.
    targets.push_back(length == 0 || weights.back() == 0 ? 9999
                      : s.choose(3) == 0                 ? 0
                                                         : static_cast<int32_t>(s.choose(length)));
    shares.push_back(weights.back() * scale);
  }
  p.target_position = s.integers("targets", targets);
  if (weighted) p.weights = s.given("weights", weights);
  s.given("dloss", shares);
  p.scale = s.given("scale", {scale});
  p.loss = s.vector("loss", batch, output_look(batch, 8));
  p.d_scores = in_place
                   ? scores.f32()
                   : s.wide_matrix("dscores", capacity, 1, column(gradient_output(n, 8, into), gap)).f32();
  p.into = into;
  Look sum;
  sum.terms = 8;
  p.loss_sum = s.doubles("loss_sum", {1.5}, Role::kAccumulator, sum);
  s.forward([=](Operators& o) { o.ragged_cross_entropy(p); });
  if (in_place) return;  // the scores are gone
  s.cotangent("loss", "dloss");
  s.gradient("scores", "dscores");
}

void declare_top_k(Scene& s, const RowsLook& look, int32_t k) {
  RaggedTopK p;
  p.rows = s.rows(look);
  const int64_t capacity = token_count(look) + look.spare;
  std::vector<float> scores;  // few values: many ties
  for (int64_t t = 0; t < capacity; ++t) scores.push_back(static_cast<float>(s.choose(9)) - 4);
  p.scores = s.given("scores", scores);
  p.k = k;
  p.values = s.vector("values", p.rows.batch * k, output_look(-1, 1));
  p.positions = s.integer_output("positions", p.rows.batch * k);
  s.forward([=](Operators& o) { o.ragged_top_k(p); });
}

void declare_weighted_sum(Scene& s, const RowsLook& look, int64_t width, bool weighted, Into into) {
  RaggedWeightedSum f;
  f.rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare, batch = f.rows.batch;
  Look input;
  input.actual = n;
  if (weighted) f.weights = s.vector("w", capacity, input);
  f.x = s.matrix("x", capacity, width, input);
  Look y = output_look(batch, look.pitch);
  if (into == Into::kAdd) y.role = Role::kAccumulator;
  f.y = s.matrix("y", batch, width, y);
  f.into = into;
  s.forward([=](Operators& o) { o.ragged_weighted_sum(f); });
  RaggedWeightedSumBackward b;
  b.rows = f.rows;
  b.weights = f.weights;
  b.x = f.x;
  b.dy = s.matrix("dy", batch, width, input_look());
  if (weighted) b.d_weights = s.vector("dw", capacity, gradient_output(n, static_cast<double>(width)));
  b.dx = s.matrix("dx", capacity, width, gradient_output(n, 2, into));
  b.into = into;
  s.backward([=](Operators& o) { o.ragged_weighted_sum_backward(b); });
  s.cotangent("y", "dy");
  s.gradient("x", "dx");
  if (weighted) s.gradient("w", "dw");
}

void declare_broadcast(Scene& s, const RowsLook& look, int64_t width, Into into) {
  BroadcastRows f;
  f.rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare, batch = f.rows.batch;
  f.v = s.matrix("v", batch, width, input_look());
  Look y = gradient_output(n, 1, into);
  f.y = s.matrix("y", capacity, width, y);
  f.into = into;
  s.forward([=](Operators& o) { o.broadcast_rows(f); });
  RaggedWeightedSum b;
  b.rows = f.rows;
  b.x = s.matrix("dy", capacity, width, gradient_input(n));
  b.y = s.matrix("dv", batch, width, gradient_output(batch, look.pitch));
  s.backward([=](Operators& o) { o.ragged_weighted_sum(b); });
  s.cotangent("y", "dy");
  s.gradient("v", "dv");
}

}  // namespace

void add_ragged_cases(Cases* cases) {
  for (const auto& [name, look] : common_rows()) {
    const RowsLook rows = look;
    for (const Into into : {Into::kWrite, Into::kAdd}) {
      const std::string text = name + (into == Into::kAdd ? ", adding" : "");
      const int64_t gap = into == Into::kAdd ? 2 : 0;
      for (const bool flag : {false, true}) {
        cases->push_back({"ragged_softmax", text + (flag ? ", answer mask" : ""),
                          [=](Scene& s) { declare_softmax(s, rows, flag, gap, into); }});
        cases->push_back({"ragged_cross_entropy", text + (flag ? ", weighted" : ""),
                          [=](Scene& s) { declare_cross_entropy(s, rows, flag, gap, into); }});
        for (const int64_t width : {1, 64, 100}) {
          const std::string full = text + ", width " + std::to_string(width) + (flag ? ", weighted" : "");
          cases->push_back({"ragged_weighted_sum", full,
                            [=](Scene& s) { declare_weighted_sum(s, rows, width, flag, into); }});
        }
      }
      for (const int64_t width : {1, 24, 130}) {
        cases->push_back({"broadcast_rows", text + ", width " + std::to_string(width),
                          [=](Scene& s) { declare_broadcast(s, rows, width, into); }});
      }
    }
    cases->push_back({"ragged_cross_entropy", name + ", in place",
                      [=](Scene& s) { declare_cross_entropy(s, rows, false, 1, Into::kWrite, true); }});
    cases->push_back(
        {"ragged_softmax", name + ", logarithm", [=](Scene& s) { declare_log_softmax(s, rows); }});
    for (const int32_t k : {1, 5, 20}) {
      cases->push_back({"ragged_top_k", name + ", k = " + std::to_string(k),
                        [=](Scene& s) { declare_top_k(s, rows, k); }});
    }
  }
}

}  // namespace electra::test
