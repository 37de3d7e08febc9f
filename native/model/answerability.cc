#include "answerability.h"

#include "joint_end.h"

namespace electra {

Answerability::Answerability(ParameterTable& table, const std::string& scope, int64_t hidden_size,
                             bool uses_start_logits)
    : hidden_size_(hidden_size), uses_start_logits_(uses_start_logits) {
  if (uses_start_logits) hidden_ = add_dense(table, scope + "/dense_2", 2 * hidden_size, kSpanHiddenSize);
  logit_ = uses_start_logits ? add_dense(table, scope + "/dense_3", kSpanHiddenSize, 1)
                             : add_dense(table, scope + "/dense_2", hidden_size, 1);
}

void Answerability::plan(Arena& arena, int64_t rows, int64_t tokens, bool training, Places& p) const {
  const int64_t width = uses_start_logits_ ? 2 * hidden_size_ : hidden_size_;
  p.representation = arena.tensor(rows, width);
  p.logits = arena.tensor(rows, 1, DType::kFloat32);
  p.loss = arena.take<float>(rows);
  if (training) {
    p.d_logits = arena.tensor(rows, 1, DType::kFloat32);
    p.d_representation = arena.tensor(rows, width);
  }
  if (!uses_start_logits_) return;
  p.activated = arena.tensor(rows, kSpanHiddenSize);
  p.probabilities = arena.take<float>(tokens);
  if (training) {
    p.aux = arena.tensor(rows, kSpanHiddenSize);
    p.d_activated = arena.tensor(rows, kSpanHiddenSize);
    p.d_probabilities = arena.take<float>(tokens);
  }
}

void Answerability::forward(const HeadStep& step, Places& p, const Tensor& start_scores) const {
  const StepContext& c = step.context;
  GatherRows gather;
  gather.count = step.each_row();
  gather.index = step.device.cls_token;
  gather.x = step.hidden;
  gather.y = columns(p.representation, 0, hidden_size_);
  c.operators.gather_rows(gather);
  if (uses_start_logits_) {
    RaggedSoftmax softmax;
    softmax.rows = c.rows;
    softmax.scores = start_scores.f32();
    softmax.addend = step.device.answer_addend;
    softmax.y = p.probabilities;
    c.operators.ragged_softmax(softmax);
    RaggedWeightedSum mean;
    mean.rows = c.rows;
    mean.weights = p.probabilities;
    mean.x = step.hidden;
    mean.y = columns(p.representation, hidden_size_, hidden_size_);
    c.operators.ragged_weighted_sum(mean);
    electra::forward(c, step.each_row(), hidden_, p.representation, p.activated, UseBias::kYes,
                     Activation::kGeluErf, p.aux);
    electra::forward(c, step.each_row(), logit_, p.activated, p.logits);
  } else {
    electra::forward(c, step.each_row(), logit_, p.representation, p.logits);
  }
  MultiLabelCrossEntropy loss;  // of a single label
  loss.rows = step.each_row();
  loss.logits = p.logits;
  loss.labels = step.device.impossible;
  loss.weights = step.task().answer_weight;
  loss.scale = step.scale();
  loss.loss = p.loss;
  loss.d_logits = p.d_logits;
  loss.loss_sum = step.loss_sum();
  c.operators.multi_label_cross_entropy(loss);
}

void Answerability::backward(const HeadStep& step, Places& p, const Tensor& d_start_scores) const {
  const StepContext& c = step.context;
  const Extent rows = step.each_row();
  if (uses_start_logits_) {
    backward_weight(c, rows, logit_, p.activated, p.d_logits, UseBias::kYes);
    backward_data_through(c, rows, logit_, p.d_logits, p.d_activated, Activation::kGeluErf, p.aux, hidden_);
    backward_weight(c, rows, hidden_, p.representation, p.d_activated, UseBias::kNo);
    backward_data(c, rows, hidden_, p.d_activated, p.d_representation);
    RaggedWeightedSumBackward mean;
    mean.rows = c.rows;
    mean.weights = p.probabilities;
    mean.x = step.hidden;
    mean.dy = columns(p.d_representation, hidden_size_, hidden_size_);
    mean.d_weights = p.d_probabilities;
    mean.dx = step.d_hidden;
    c.operators.ragged_weighted_sum_backward(mean);
    RaggedSoftmaxBackward softmax;
    softmax.rows = c.rows;
    softmax.y = p.probabilities;
    softmax.dy = p.d_probabilities;
    softmax.d_scores = d_start_scores.f32();
    c.operators.ragged_softmax_backward(softmax);
  } else {
    backward_weight(c, rows, logit_, p.representation, p.d_logits, UseBias::kYes);
    backward_data(c, rows, logit_, p.d_logits, p.d_representation);
  }
  ScatterAddRows scatter;
  scatter.count = rows;
  scatter.index = step.device.cls_token;
  scatter.dy = columns(p.d_representation, 0, hidden_size_);
  scatter.target = c.rows.tokens;
  scatter.dx = step.d_hidden;
  c.operators.scatter_add_rows(scatter);
}

}  // namespace electra
