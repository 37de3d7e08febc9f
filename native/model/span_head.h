#pragma once
// Question answering: where an answer starts and ends, and whether there is one.

#include <optional>

#include "answerability.h"
#include "joint_end.h"

namespace electra {

/// Scores of each token as start and end, a softmax over each row, 1000 lower where no answer may lie; loss
/// of a row = (start + end) / 2 + answerable_weight · answerability. No dropout, as in the reference.
class SpanHead final : public TaskHead {
 public:
  SpanHead(ParameterTable& table, const TaskConfig& task, int32_t hidden_size);

  std::unique_ptr<HeadPlaces> plan(Arena& arena, int32_t rows, int32_t pitch, bool training) const override;
  void run(const HeadStep& step, HeadPlaces& places) const override;
  void collect(const HeadStep& step, HeadPlaces& places, std::vector<float>* row_loss) const override;
  std::vector<std::string> output_names() const override;
  bool reads_tokens() const override { return true; }
  int32_t max_width() const override;

 private:
  struct Places;
  /// Whether the scores of ends are computed: with joint prediction they belong to a gold start.
  bool has_ends(const HeadStep& step) const { return !joint_ || step.packed.has_starts; }
  void lose(const HeadStep& step, const Tensor& scores, const int32_t* targets, float* loss,
            const Tensor& d_scores) const;
  void collect_scores(const HeadStep& step, const std::string& name, const Tensor& scores) const;
  void collect_answerable(const HeadStep& step, const Places& places) const;
  void collect_losses(const HeadStep& step, const Places& places, std::vector<float>& row_loss) const;
  // Beams (span_beams.cc).
  bool wants_ends_of_beams(const StepContext& context) const;
  void collect_beams(const HeadStep& step, Places& places) const;
  /// The K best of softmax(scores): log-probabilities and positions, [B, K] each, in the places for them.
  void rank(const HeadStep& step, const Places& places, const Tensor& scores) const;

  TaskConfig task_;
  int64_t hidden_size_;
  Linear start_, end_;  ///< end_ without joint prediction
  std::optional<JointEnd> joint_;
  std::optional<Answerability> answerability_;
};

struct SpanHead::Places final : HeadPlaces {
  Tensor start_scores, d_start_scores;               ///< [T, 1] f32
  Tensor end_scores, d_end_scores;                   ///< [T, 1] f32
  float *start_loss = nullptr, *end_loss = nullptr;  ///< [B]
  JointEnd::Places joint;
  Answerability::Places answerability;
  // Beams, in inference.
  float* log_probabilities = nullptr;  ///< [T]
  float* top_values = nullptr;         ///< [B, K]
  int32_t* top_positions = nullptr;    ///< [B, K]
};

}  // namespace electra
