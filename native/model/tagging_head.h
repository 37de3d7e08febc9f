#pragma once
// The head that gives every word a class, from the state of its first piece.

#include "task_head.h"

namespace electra {

/// State of each word's first piece → dense [h, C] → softmax; no dropout, as in the reference.
class TaggingHead final : public TaskHead {
 public:
  TaggingHead(ParameterTable& table, const TaskConfig& task, int32_t hidden_size);

  std::unique_ptr<HeadPlaces> plan(Arena& arena, int32_t rows, int32_t pitch, bool training) const override;
  void run(const HeadStep& step, HeadPlaces& places) const override;
  void collect(const HeadStep& step, HeadPlaces& places, std::vector<float>* row_loss) const override;
  std::vector<std::string> output_names() const override {
    return {name_ + "/logits", name_ + "/predictions"};
  }
  bool reads_tokens() const override { return true; }
  int32_t max_width() const override { return static_cast<int32_t>(std::max(dense_.in, dense_.out)); }

 private:
  struct Places;
  std::string name_;
  Linear dense_;
};

}  // namespace electra
