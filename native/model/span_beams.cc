// Beams of joint prediction: the K most likely starts, and for each of them the K most likely ends.

#include <cmath>
#include <limits>

#include "span_head.h"

namespace electra {

bool SpanHead::wants_ends_of_beams(const StepContext& c) const {
  return !c.training &&
         (c.wants(task_.name + "/end_top_log_probs") || c.wants(task_.name + "/end_top_index"));
}

void SpanHead::rank(const HeadStep& step, const Places& p, const Tensor& scores) const {
  RaggedSoftmax softmax;
  softmax.rows = step.context.rows;
  softmax.scores = scores.f32();
  softmax.addend = step.device.answer_addend;
  softmax.logarithm = true;
  softmax.y = p.log_probabilities;
  step.context.operators.ragged_softmax(softmax);
  RaggedTopK top;
  top.rows = step.context.rows;
  top.scores = p.log_probabilities;
  top.k = task_.beam_size;
  top.values = p.top_values;
  top.positions = p.top_positions;
  step.context.operators.ragged_top_k(top);
}

void SpanHead::collect_beams(const HeadStep& step, Places& p) const {
  const StepContext& c = step.context;
  const PackedFinetuning& packed = step.packed;
  const bool ends = wants_ends_of_beams(c);
  const std::string name = task_.name + "/";
  if (!ends && !c.wants(name + "start_top_log_probs") && !c.wants(name + "start_top_index")) return;

  const int32_t k = task_.beam_size;
  const size_t rows = static_cast<size_t>(packed.rows), beams = static_cast<size_t>(k), count = rows * beams;
  std::vector<float> values(count, 0.0f);
  std::vector<int32_t> positions(count, 0);
  const auto download_best = [&](const Tensor& scores) {
    rank(step, p, scores);
    c.operators.download(values.data(), p.top_values, count * sizeof(float));
    c.operators.download(positions.data(), p.top_positions, count * sizeof(int32_t));
  };
  if (step.has_rows()) download_best(p.start_scores);
  HostArray start_values, start_positions, end_values, end_positions;
  start_values.shape = start_positions.shape = {packed.rows, k};
  start_values.f32.assign(count, 0.0f);
  start_positions.i32.assign(count, 0);
  // The beams' tokens, start by start.
  std::vector<int32_t> beam_token(count, -1);
  for (size_t b = 0; b < rows; ++b) {
    if (!packed.of_task(static_cast<int32_t>(b), step.number)) continue;
    for (size_t i = 0; i < beams; ++i) {
      const int32_t position = positions[b * beams + i];
      start_values.f32[b * beams + i] = values[b * beams + i];
      start_positions.i32[b * beams + i] = position;
      if (position >= 0) beam_token[i * rows + b] = packed.offsets[b] + position;
    }
  }
  if (ends) {
    end_values.shape = end_positions.shape = {packed.rows, k, k};
    end_values.f32.assign(count * beams, 0.0f);
    end_positions.i32.assign(count * beams, 0);
    if (step.has_rows()) joint_->read_beams(step, p.joint, beam_token);
    for (size_t i = 0; i < beams && step.has_rows(); ++i) {
      c.check_abort();
      joint_->score_beam(step, p.joint, static_cast<int32_t>(i), p.end_scores);
      download_best(p.end_scores);
      for (size_t b = 0; b < rows; ++b) {
        if (!packed.of_task(static_cast<int32_t>(b), step.number)) continue;
        const bool exists = beam_token[i * rows + b] >= 0;
        for (size_t j = 0; j < beams; ++j) {
          const size_t to = (b * beams + i) * beams + j;
          end_values.f32[to] = exists ? values[b * beams + j] : -std::numeric_limits<float>::infinity();
          end_positions.i32[to] = exists ? positions[b * beams + j] : -1;
        }
      }
    }
  }
  const auto give = [&](const char* what, HostArray&& array) {
    if (c.wants(name + what)) c.outputs->arrays[name + what] = std::move(array);
  };
  give("start_top_log_probs", std::move(start_values));
  give("start_top_index", std::move(start_positions));
  give("end_top_log_probs", std::move(end_values));
  give("end_top_index", std::move(end_positions));
}

}  // namespace electra
