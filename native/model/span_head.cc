#include "span_head.h"

#include <algorithm>

namespace electra {

SpanHead::SpanHead(ParameterTable& table, const TaskConfig& task, int32_t hidden_size)
    : task_(task), hidden_size_(hidden_size) {
  const std::string scope = "task_specific/" + task.name;
  start_ = add_dense(table, scope + "/dense", hidden_size, 1);
  if (task.joint_prediction)
    joint_.emplace(table, scope, hidden_size);
  else
    end_ = add_dense(table, scope + "/dense_1", hidden_size, 1);
  if (task.answerable_classifier)
    answerability_.emplace(table, scope, hidden_size, task.answerable_uses_start_logits);
}

int32_t SpanHead::max_width() const {
  return static_cast<int32_t>(std::max(2 * hidden_size_, kSpanHiddenSize));
}

std::vector<std::string> SpanHead::output_names() const {
  std::vector<std::string> names = {"start_logits", "end_logits", "answerable_logit"};
  if (joint_)
    for (const char* name : {"start_top_log_probs", "start_top_index", "end_top_log_probs", "end_top_index"})
      names.push_back(name);
  for (std::string& name : names) name = task_.name + "/" + name;
  return names;
}

std::unique_ptr<HeadPlaces> SpanHead::plan(Arena& arena, int32_t rows, int32_t pitch, bool training) const {
  const int64_t tokens = int64_t{rows} * pitch;
  auto p = std::make_unique<Places>();
  p->start_scores = arena.tensor(tokens, 1, DType::kFloat32);
  p->end_scores = arena.tensor(tokens, 1, DType::kFloat32);
  p->start_loss = arena.take<float>(rows);
  p->end_loss = arena.take<float>(rows);
  if (training) {
    p->d_start_scores = arena.tensor(tokens, 1, DType::kFloat32);
    p->d_end_scores = arena.tensor(tokens, 1, DType::kFloat32);
  } else if (joint_) {
    p->log_probabilities = arena.take<float>(tokens);
    p->top_values = arena.take<float>(int64_t{rows} * task_.beam_size);
    p->top_positions = arena.take<int32_t>(int64_t{rows} * task_.beam_size);
  }
  if (joint_) joint_->plan(arena, rows, tokens, task_.beam_size, training, p->joint);
  if (answerability_) answerability_->plan(arena, rows, tokens, training, p->answerability);
  return p;
}

void SpanHead::lose(const HeadStep& step, const Tensor& scores, const int32_t* targets, float* loss,
                    const Tensor& d_scores) const {
  RaggedCrossEntropy entropy;
  entropy.rows = step.context.rows;
  entropy.scores = scores.f32();
  entropy.addend = step.device.answer_addend;
  entropy.target_position = targets;
  entropy.weights = step.task().row_weight;
  entropy.scale = step.scale();
  entropy.loss = loss;
  entropy.d_scores = d_scores.f32();
  entropy.loss_sum = step.loss_sum();
  step.context.operators.ragged_cross_entropy(entropy);
}

void SpanHead::run(const HeadStep& step, HeadPlaces& places) const {
  Places& p = static_cast<Places&>(places);
  const StepContext& c = step.context;
  const Extent tokens = c.rows.tokens;
  electra::forward(c, tokens, start_, step.hidden, p.start_scores);
  lose(step, p.start_scores, step.device.starts, p.start_loss, p.d_start_scores);
  if (joint_ && (has_ends(step) || wants_ends_of_beams(c))) joint_->read_tokens(step, p.joint);
  if (has_ends(step)) {
    if (joint_)
      joint_->score_gold(step, p.joint, p.end_scores);
    else
      electra::forward(c, tokens, end_, step.hidden, p.end_scores);
    lose(step, p.end_scores, step.device.ends, p.end_loss, p.d_end_scores);
  }
  if (answerability_) answerability_->forward(step, p.answerability, p.start_scores);
  if (!step.training()) return;

  if (joint_) {
    joint_->backward(step, p.joint, p.d_end_scores);
  } else {
    backward_weight(c, tokens, end_, step.hidden, p.d_end_scores, UseBias::kYes);
    backward_data(c, tokens, end_, p.d_end_scores, step.d_hidden, Into::kAdd);
  }
  if (answerability_) answerability_->backward(step, p.answerability, p.d_start_scores);
  backward_weight(c, tokens, start_, step.hidden, p.d_start_scores, UseBias::kYes);
  backward_data(c, tokens, start_, p.d_start_scores, step.d_hidden, Into::kAdd);
}

void SpanHead::collect(const HeadStep& step, HeadPlaces& places, std::vector<float>* row_loss) const {
  Places& p = static_cast<Places&>(places);
  if (step.context.wants(task_.name + "/start_logits"))
    collect_scores(step, task_.name + "/start_logits", p.start_scores);
  if (step.context.wants(task_.name + "/end_logits")) {
    if (step.has_rows() && !has_ends(step))
      throw EngineError(
          "ERR_ELECTRA_BATCH", "%s/end_logits are those of the gold start, and the batch has none\n%s",
          task_.name.c_str(),
          "Give targets.starts and targets.ends, or ask for end_top_log_probs and end_top_index.");
    collect_scores(step, task_.name + "/end_logits", p.end_scores);
  }
  if (step.context.wants(task_.name + "/answerable_logit")) collect_answerable(step, p);
  if (row_loss != nullptr) collect_losses(step, p, *row_loss);
  if (joint_ && !step.training()) collect_beams(step, p);
}

void SpanHead::collect_scores(const HeadStep& step, const std::string& name, const Tensor& scores) const {
  const StepContext& c = step.context;
  const PackedFinetuning& packed = step.packed;
  c.collect_tokens(name, scores);
  std::vector<float>& values = c.outputs->arrays[name].f32;
  for (int32_t b = 0; b < packed.rows; ++b) {
    const size_t row = static_cast<size_t>(b) * static_cast<size_t>(c.length);
    const bool ours = packed.of_task(b, step.number);
    for (int32_t i = 0; i < c.length; ++i) {
      float& value = values[row + static_cast<size_t>(i)];
      const bool real = ours && i < packed.valid[static_cast<size_t>(b)];
      value =
          real ? value + packed.answer_addend[static_cast<size_t>(packed.offsets[static_cast<size_t>(b)] + i)]
               : 0.0f;
    }
  }
}

void SpanHead::collect_answerable(const HeadStep& step, const Places& p) const {
  HostArray array;
  array.shape = {step.packed.rows};
  array.f32.assign(static_cast<size_t>(step.packed.rows), 0.0f);
  if (answerability_) {
    const std::vector<float> logits =
        download_floats(step.context.operators, p.answerability.logits, step.packed.rows);
    for (int32_t b = 0; b < step.packed.rows; ++b)
      if (step.packed.of_task(b, step.number) && step.packed.cls_token[static_cast<size_t>(b)] >= 0)
        array.f32[static_cast<size_t>(b)] = logits[static_cast<size_t>(b)];
  }
  step.context.outputs->arrays[task_.name + "/answerable_logit"] = std::move(array);
}

void SpanHead::collect_losses(const HeadStep& step, const Places& p, std::vector<float>& row_loss) const {
  const int32_t rows = step.packed.rows;
  const auto download = [&](float* values) {
    return download_floats(step.context.operators, Tensor{values, rows, 1, 1, DType::kFloat32}, rows);
  };
  const std::vector<float> start = download(p.start_loss), end = download(p.end_loss);
  const std::vector<float> answer = answerability_ ? download(p.answerability.loss) : std::vector<float>();
  const TaskArrays& weights = step.packed.tasks[static_cast<size_t>(step.number)];
  for (size_t b = 0; b < static_cast<size_t>(rows); ++b) {
    if (!step.packed.of_task(static_cast<int32_t>(b), step.number)) continue;
    double loss = 0;
    if (weights.row_weight[b] > 0) loss += weights.row_weight[b] * (double{start[b]} + end[b]);
    if (answerability_ && weights.answer_weight[b] > 0) loss += double{weights.answer_weight[b]} * answer[b];
    row_loss[b] = static_cast<float>(loss);
  }
}

}  // namespace electra
