#include "cls_head.h"

#include <algorithm>

namespace electra {

struct ClsHead::Places final : HeadPlaces {
  Tensor cls;       ///< [B, h] after dropout
  Tensor logits;    ///< [B, C] f32
  Tensor d_logits;  ///< [B, C] f32
  Tensor d_cls;     ///< [B, h]
  float* loss;      ///< [B]
};

ClsHead::ClsHead(ParameterTable& table, const TaskConfig& task, int32_t hidden_size, float dropout)
    : kind_(task.kind),
      output_(task.name + (task.kind == TaskHeadKind::kRegression ? "/predictions" : "/logits")),
      dropout_(dropout),
      dense_(add_dense(table, "task_specific/" + task.name + "/dense", hidden_size,
                       task.kind == TaskHeadKind::kRegression ? 1 : task.classes)) {}

std::unique_ptr<HeadPlaces> ClsHead::plan(Arena& arena, int32_t rows, int32_t, bool training) const {
  auto p = std::make_unique<Places>();
  p->cls = arena.tensor(rows, dense_.in);
  p->logits = arena.tensor(rows, dense_.out, DType::kFloat32);
  p->loss = arena.take<float>(rows);
  if (training) {
    p->d_logits = arena.tensor(rows, dense_.out, DType::kFloat32);
    p->d_cls = arena.tensor(rows, dense_.in);
  }
  return p;
}

void ClsHead::run(const HeadStep& step, HeadPlaces& places) const {
  Places& p = static_cast<Places&>(places);
  const StepContext& c = step.context;
  GatherRows gather;
  gather.count = step.each_row();
  gather.index = step.device.cls_token;
  gather.x = step.hidden;
  gather.y = p.cls;
  c.operators.gather_rows(gather);
  DropoutApply drop;
  drop.rows = cls_rows(c.rows, step.device);
  drop.dropout = c.dropout(dropout_, task_head_site(step.number));
  const bool drops = drop.dropout.p > 0;
  if (drops) {
    drop.x = drop.y = p.cls;
    c.operators.dropout(drop);
  }
  electra::forward(c, step.each_row(), dense_, p.cls, p.logits);
  lose(step, p);
  if (!step.training()) return;

  backward_weight(c, step.each_row(), dense_, p.cls, p.d_logits, UseBias::kYes);
  backward_data(c, step.each_row(), dense_, p.d_logits, p.d_cls);
  if (drops) {
    drop.x = drop.y = p.d_cls;
    c.operators.dropout(drop);
  }
  ScatterAddRows scatter;
  scatter.count = step.each_row();
  scatter.index = step.device.cls_token;
  scatter.dy = p.d_cls;
  scatter.target = c.rows.tokens;
  scatter.dx = step.d_hidden;
  c.operators.scatter_add_rows(scatter);
}

void ClsHead::lose(const HeadStep& step, Places& p) const {
  Operators& operators = step.context.operators;
  if (kind_ == TaskHeadKind::kClassification) {
    ClassCrossEntropy loss;
    loss.rows = step.each_row();
    loss.logits = p.logits;
    loss.labels = step.device.classes;
    loss.weights = step.task().row_weight;
    loss.scale = step.scale();
    loss.loss = p.loss;
    loss.d_logits = p.d_logits;
    loss.loss_sum = step.loss_sum();
    operators.class_cross_entropy(loss);
  } else if (kind_ == TaskHeadKind::kMultiLabel) {
    MultiLabelCrossEntropy loss;
    loss.rows = step.each_row();
    loss.logits = p.logits;
    loss.labels = step.task().labels;
    loss.weights = step.task().row_weight;
    loss.scale = step.scale();
    loss.loss = p.loss;
    loss.d_logits = p.d_logits;
    loss.loss_sum = step.loss_sum();
    operators.multi_label_cross_entropy(loss);
  } else {
    MeanSquaredError loss;
    loss.rows = step.each_row();
    loss.predictions = p.logits.f32();
    loss.targets = step.device.values;
    loss.weights = step.task().row_weight;
    loss.scale = step.scale();
    loss.loss = p.loss;
    loss.d_predictions = p.d_logits.f32();
    loss.loss_sum = step.loss_sum();
    operators.mean_squared_error(loss);
  }
}

void ClsHead::collect(const HeadStep& step, HeadPlaces& places, std::vector<float>* row_loss) const {
  const Places& p = static_cast<Places&>(places);
  const StepContext& c = step.context;
  const int32_t rows = step.packed.rows;
  if (c.wants(output_)) {
    HostArray array;
    array.shape = {rows};
    if (kind_ != TaskHeadKind::kRegression) array.shape.push_back(dense_.out);
    array.f32 = download_floats(c.operators, p.logits, rows);
    for (int32_t b = 0; b < rows; ++b)
      if (!step.packed.of_task(b, step.number) || step.packed.cls_token[static_cast<size_t>(b)] < 0)
        std::fill_n(array.f32.begin() + b * dense_.out, dense_.out, 0.0f);
    c.outputs->arrays[output_] = std::move(array);
  }
  if (row_loss == nullptr) return;
  const std::vector<float> loss =
      download_floats(c.operators, Tensor{p.loss, rows, 1, 1, DType::kFloat32}, rows);
  for (int32_t b = 0; b < rows; ++b)
    if (step.packed.of_task(b, step.number))
      (*row_loss)[static_cast<size_t>(b)] = loss[static_cast<size_t>(b)];
}

}  // namespace electra
