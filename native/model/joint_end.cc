#include "joint_end.h"

namespace electra {

JointEnd::JointEnd(ParameterTable& table, const std::string& scope, int64_t hidden_size)
    : hidden_(add_dense(table, scope + "/qa_hidden", 2 * hidden_size, kSpanHiddenSize)),
      start_part_(input_rows(hidden_, 0, hidden_size)),
      token_part_(input_rows(hidden_, hidden_size, hidden_size)),
      end_(add_dense(table, scope + "/dense_1", kSpanHiddenSize, 1)) {}

void JointEnd::plan(Arena& arena, int64_t rows, int64_t tokens, int32_t beams, bool training,
                    Places& p) const {
  p.start_states = arena.tensor(rows, start_part_.in);
  p.from_start = arena.tensor(rows, kSpanHiddenSize);
  p.from_tokens = arena.tensor(tokens, kSpanHiddenSize);
  if (training) {
    p.activated = p.from_tokens;
    p.aux = arena.tensor(tokens, kSpanHiddenSize);
    p.d_activated = arena.tensor(tokens, kSpanHiddenSize);
    p.d_from_start = arena.tensor(rows, kSpanHiddenSize);
    p.d_start_states = arena.tensor(rows, start_part_.in);
    return;
  }
  p.activated = arena.tensor(tokens, kSpanHiddenSize);
  p.beam_token = arena.take<int32_t>(beams * rows);
  p.beam_states = arena.tensor(beams * rows, start_part_.in);
  p.from_beam = arena.tensor(beams * rows, kSpanHiddenSize);
}

void JointEnd::read_tokens(const HeadStep& step, Places& p) const {
  electra::forward(step.context, step.context.rows.tokens, token_part_, step.hidden, p.from_tokens);
}

void JointEnd::score(const HeadStep& step, const Places& p, const Tensor& from_start,
                     const Tensor& scores) const {
  const StepContext& c = step.context;
  BroadcastRows broadcast;
  broadcast.rows = c.rows;
  broadcast.v = from_start;
  broadcast.y = p.activated;
  broadcast.into = step.training() ? Into::kAdd : Into::kWrite;
  c.operators.broadcast_rows(broadcast);
  if (!step.training()) {
    AddRows add;
    add.tokens = c.rows.tokens;
    add.x = p.from_tokens;
    add.y = p.activated;
    c.operators.add_rows(add);
  }
  ActivationForward gelu;
  gelu.tokens = c.rows.tokens;
  gelu.activation = Activation::kGeluErf;
  gelu.x = gelu.y = p.activated;
  gelu.aux = p.aux;
  c.operators.activation_forward(gelu);
  electra::forward(c, c.rows.tokens, end_, p.activated, scores);
}

void JointEnd::score_gold(const HeadStep& step, Places& p, const Tensor& scores) const {
  GatherRows gather;
  gather.count = step.each_row();
  gather.index = step.device.start_token;
  gather.x = step.hidden;
  gather.y = p.start_states;
  step.context.operators.gather_rows(gather);
  electra::forward(step.context, step.each_row(), start_part_, p.start_states, p.from_start, UseBias::kNo);
  score(step, p, p.from_start, scores);
}

void JointEnd::backward(const HeadStep& step, Places& p, const Tensor& d_scores) const {
  const StepContext& c = step.context;
  const Extent tokens = c.rows.tokens;
  backward_weight(c, tokens, end_, p.activated, d_scores, UseBias::kYes);
  backward_data_through(c, tokens, end_, d_scores, p.d_activated, Activation::kGeluErf, p.aux, hidden_);
  backward_weight(c, tokens, token_part_, step.hidden, p.d_activated, UseBias::kNo);
  backward_data(c, tokens, token_part_, p.d_activated, step.d_hidden, Into::kAdd);
  RaggedWeightedSum sum;
  sum.rows = c.rows;
  sum.x = p.d_activated;
  sum.y = p.d_from_start;
  c.operators.ragged_weighted_sum(sum);
  backward_weight(c, step.each_row(), start_part_, p.start_states, p.d_from_start, UseBias::kNo);
  backward_data(c, step.each_row(), start_part_, p.d_from_start, p.d_start_states);
  ScatterAddRows scatter;
  scatter.count = step.each_row();
  scatter.index = step.device.start_token;
  scatter.dy = p.d_start_states;
  scatter.target = tokens;
  scatter.dx = step.d_hidden;
  c.operators.scatter_add_rows(scatter);
}

void JointEnd::read_beams(const HeadStep& step, Places& p, const std::vector<int32_t>& beam_token) const {
  const StepContext& c = step.context;
  c.operators.upload(p.beam_token, beam_token.data(), beam_token.size() * sizeof(int32_t));
  const Extent beams{static_cast<int64_t>(beam_token.size()), nullptr};
  GatherRows gather;
  gather.count = beams;
  gather.index = p.beam_token;
  gather.x = step.hidden;
  gather.y = p.beam_states;
  c.operators.gather_rows(gather);
  electra::forward(c, beams, start_part_, p.beam_states, p.from_beam, UseBias::kNo);
}

void JointEnd::score_beam(const HeadStep& step, Places& p, int32_t k, const Tensor& scores) const {
  Tensor from_start = p.from_beam;
  const size_t element = from_start.dtype == DType::kFloat32 ? sizeof(float) : sizeof(uint16_t);
  from_start.data = static_cast<char*>(from_start.data) +
                    static_cast<size_t>(int64_t{k} * step.packed.rows * from_start.stride) * element;
  from_start.rows = step.packed.rows;
  score(step, p, from_start, scores);
}

}  // namespace electra
