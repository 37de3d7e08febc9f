#pragma once
// The heads that read [CLS] alone: classification, multi-label classification, regression.

#include "task_head.h"

namespace electra {

/// [CLS] → dropout → dense [h, C] → loss by the kind of the task.
class ClsHead final : public TaskHead {
 public:
  ClsHead(ParameterTable& table, const TaskConfig& task, int32_t hidden_size, float dropout);

  std::unique_ptr<HeadPlaces> plan(Arena& arena, int32_t rows, int32_t pitch, bool training) const override;
  void run(const HeadStep& step, HeadPlaces& places) const override;
  void collect(const HeadStep& step, HeadPlaces& places, std::vector<float>* row_loss) const override;
  std::vector<std::string> output_names() const override { return {output_}; }
  bool reads_tokens() const override { return false; }
  int32_t max_width() const override { return static_cast<int32_t>(std::max(dense_.in, dense_.out)); }

 private:
  struct Places;
  void lose(const HeadStep& step, Places& places) const;

  TaskHeadKind kind_;
  std::string output_;
  float dropout_;
  Linear dense_;
};

}  // namespace electra
