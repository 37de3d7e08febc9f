#include "tagging_head.h"

#include <algorithm>

namespace electra {

struct TaggingHead::Places final : HeadPlaces {
  Tensor words;     ///< [W, h]
  Tensor logits;    ///< [W, C] f32
  Tensor d_logits;  ///< [W, C] f32
  Tensor d_words;   ///< [W, h]
  float* loss;      ///< [W]
};

TaggingHead::TaggingHead(ParameterTable& table, const TaskConfig& task, int32_t hidden_size)
    : name_(task.name),
      dense_(add_dense(table, "task_specific/" + task.name + "/dense", hidden_size, task.classes)) {}

std::unique_ptr<HeadPlaces> TaggingHead::plan(Arena& arena, int32_t rows, int32_t pitch,
                                              bool training) const {
  const int64_t words = int64_t{rows} * pitch;
  auto p = std::make_unique<Places>();
  p->words = arena.tensor(words, dense_.in);
  p->logits = arena.tensor(words, dense_.out, DType::kFloat32);
  p->loss = arena.take<float>(words);
  if (training) {
    p->d_logits = arena.tensor(words, dense_.out, DType::kFloat32);
    p->d_words = arena.tensor(words, dense_.in);
  }
  return p;
}

void TaggingHead::run(const HeadStep& step, HeadPlaces& places) const {
  Places& p = static_cast<Places&>(places);
  const StepContext& c = step.context;
  const Extent words = item_extent(step.packed.words, step.device.token_capacity, step.device);
  GatherRows gather;
  gather.count = words;
  gather.index = step.device.word_token;
  gather.x = step.hidden;
  gather.y = p.words;
  c.operators.gather_rows(gather);
  electra::forward(c, words, dense_, p.words, p.logits);
  ClassCrossEntropy loss;
  loss.rows = words;
  loss.logits = p.logits;
  loss.labels = step.device.word_class;
  loss.weights = step.task().word_weight;
  loss.scale = step.scale();
  loss.loss = p.loss;
  loss.d_logits = p.d_logits;
  loss.loss_sum = step.loss_sum();
  c.operators.class_cross_entropy(loss);
  if (!step.training()) return;

  backward_weight(c, words, dense_, p.words, p.d_logits, UseBias::kYes);
  backward_data(c, words, dense_, p.d_logits, p.d_words);
  ScatterAddRows scatter;
  scatter.count = words;
  scatter.index = step.device.word_token;
  scatter.dy = p.d_words;
  scatter.target = c.rows.tokens;
  scatter.dx = step.d_hidden;
  c.operators.scatter_add_rows(scatter);
}

void TaggingHead::collect(const HeadStep& step, HeadPlaces& places, std::vector<float>* row_loss) const {
  const Places& p = static_cast<Places&>(places);
  const StepContext& c = step.context;
  const PackedFinetuning& packed = step.packed;
  const std::string logits_name = name_ + "/logits", predictions_name = name_ + "/predictions";
  if (c.wants(logits_name) || c.wants(predictions_name)) {
    HostArray logits, predictions;
    logits.shape = {packed.words, dense_.out};
    predictions.shape = {packed.words};
    logits.f32 = download_floats(c.operators, p.logits, packed.words);
    predictions.i32.assign(static_cast<size_t>(packed.words), 0);
    for (int32_t b = 0; b < packed.rows; ++b)
      for (int32_t w = packed.word_offsets[static_cast<size_t>(b)];
           w < packed.word_offsets[static_cast<size_t>(b) + 1]; ++w) {
        const auto row = logits.f32.begin() + w * dense_.out;
        if (packed.of_task(b, step.number))
          predictions.i32[static_cast<size_t>(w)] =
              static_cast<int32_t>(std::max_element(row, row + dense_.out) - row);
        else
          std::fill_n(row, dense_.out, 0.0f);
      }
    if (c.wants(logits_name)) c.outputs->arrays[logits_name] = std::move(logits);
    if (c.wants(predictions_name)) c.outputs->arrays[predictions_name] = std::move(predictions);
  }
  if (row_loss == nullptr) return;
  const std::vector<float> loss =
      download_floats(c.operators, Tensor{p.loss, packed.words, 1, 1, DType::kFloat32}, packed.words);
  for (int32_t b = 0; b < packed.rows; ++b) {
    if (!packed.of_task(b, step.number)) continue;
    double sum = 0;
    for (int32_t w = packed.word_offsets[static_cast<size_t>(b)];
         w < packed.word_offsets[static_cast<size_t>(b) + 1]; ++w)
      sum += loss[static_cast<size_t>(w)];
    (*row_loss)[static_cast<size_t>(b)] = static_cast<float>(sum);
  }
}

}  // namespace electra
