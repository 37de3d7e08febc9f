// The batch of fine-tuning on the device: its places, and the way there.

#include <cstring>

#include "finetuning_batch.h"

namespace electra {

void DeviceFinetuning::plan(Arena& arena, const FinetuningConfig& config, int32_t rows) {
  const int64_t b = rows, words = b * config.max_seq_length;
  plan_rows(arena, rows, config.max_seq_length, 8 * b + 1 + 2 * words);
  int32_t* next = extra;
  const auto cut = [&next](int64_t count) {
    int32_t* place = next;
    if (next != nullptr) next += count;
    return place;
  };
  for (int32_t** array : {&cls_token, &start_token, &classes, &starts, &ends, &first_position, &one_token})
    *array = cut(b);
  each_row = cut(b + 1);
  word_token = cut(words);
  word_class = cut(words);

  const auto size_of = [&](const TaskConfig& task) {
    switch (task.kind) {
      case TaskHeadKind::kTagging:
        return words;
      case TaskHeadKind::kSpan:
        return 2 * b;
      case TaskHeadKind::kMultiLabel:
        return b + b * task.classes;
      default:
        return b;
    }
  };
  bool spans = false;
  for (const TaskConfig& task : config.tasks) spans = spans || task.kind == TaskHeadKind::kSpan;
  floats_size = 2 * b + (spans ? token_capacity : 0);
  for (const TaskConfig& task : config.tasks) floats_size += size_of(task);
  floats = arena.take<float>(floats_size);
  float* place = floats;
  const auto take = [&place](int64_t count) {
    float* here = place;
    if (place != nullptr) place += count;
    return here;
  };
  values = take(b);
  impossible = take(b);
  answer_addend = spans ? take(token_capacity) : nullptr;
  tasks.clear();
  for (const TaskConfig& task : config.tasks) {
    DeviceTask arrays;
    if (task.kind == TaskHeadKind::kTagging)
      arrays.word_weight = take(words);
    else
      arrays.row_weight = take(b);
    if (task.kind == TaskHeadKind::kSpan) arrays.answer_weight = take(b);
    if (task.kind == TaskHeadKind::kMultiLabel) arrays.labels = take(b * task.classes);
    tasks.push_back(arrays);
  }
  scalars = arena.take<StepScalars>(1);
  task_loss = arena.take<double>(static_cast<int64_t>(config.tasks.size()));
}

Rows upload_finetuning(Operators& operators, const PackedFinetuning& packed, const DeviceFinetuning& device,
                       bool keep_padding) {
  BlockImage image(device, packed, packed.words);
  image.place(device.cls_token, packed.cls_token);
  image.place(device.start_token, packed.start_token);
  image.place(device.classes, packed.classes);
  image.place(device.starts, packed.starts);
  image.place(device.ends, packed.ends);
  image.place(device.word_token, packed.word_token);
  image.place(device.word_class, packed.word_class);
  std::vector<int32_t> each_row(static_cast<size_t>(packed.rows) + 1);
  for (size_t b = 0; b < each_row.size(); ++b) each_row[b] = static_cast<int32_t>(b);
  image.place(device.each_row, each_row);
  image.place(device.one_token, std::vector<int32_t>(static_cast<size_t>(packed.rows), 1));
  image.upload(operators);

  std::vector<float> floats(static_cast<size_t>(device.floats_size), 0.0f);
  const auto place = [&](const float* where, const std::vector<float>& values) {
    if (where != nullptr && !values.empty())
      std::memcpy(&floats[static_cast<size_t>(where - device.floats)], values.data(),
                  values.size() * sizeof(float));
  };
  place(device.values, packed.values);
  place(device.impossible, packed.impossible);
  place(device.answer_addend, packed.answer_addend);
  for (size_t n = 0; n < packed.tasks.size(); ++n) {
    place(device.tasks[n].row_weight, packed.tasks[n].row_weight);
    place(device.tasks[n].answer_weight, packed.tasks[n].answer_weight);
    place(device.tasks[n].word_weight, packed.tasks[n].word_weight);
    place(device.tasks[n].labels, packed.tasks[n].labels);
  }
  operators.upload(device.floats, floats.data(), floats.size() * sizeof(float));
  return rows_of(packed, device, keep_padding);
}

Rows cls_rows(const Rows& rows, const DeviceFinetuning& device) {
  Rows cls = rows;
  cls.keep_padding = false;
  cls.tokens = Extent{rows.batch, nullptr};
  cls.offsets = device.each_row;
  cls.valid = device.one_token;
  cls.token_row = device.each_row;
  cls.token_position = device.first_position;
  return cls;
}

}  // namespace electra
