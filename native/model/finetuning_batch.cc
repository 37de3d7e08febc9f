#include "finetuning_batch.h"

#include <algorithm>
#include <cmath>

namespace electra {
namespace {

/// Everything that is taken from one array of targets.
class TargetReader {
 public:
  TargetReader(const FinetuningConfig& config, bool needed) : config_(config), needed_(needed) {}

  /// Whether row b has this target. Throws where it must and has not.
  bool has(const void* array, int32_t b, int32_t task, const char* name) const {
    if (array != nullptr || !needed_) return array != nullptr;
    throw EngineError("ERR_ELECTRA_BATCH",
                      "row %d belongs to the task %s, and the batch has no targets.%s\n%s", b, name_of(task),
                      name, "Training needs the targets of every task in the batch.");
  }
  int32_t whole(int32_t value, int32_t end, int32_t b, int32_t task, const char* name) const {
    if (value >= 0 && value < end) return value;
    throw EngineError("ERR_ELECTRA_BATCH", "targets.%s[%d] is %d, outside 0 … %d of the task %s\n%s", name, b,
                      value, end - 1, name_of(task),
                      "Make features and model from one and the same list of labels.");
  }
  float real(float value, int32_t b, int32_t task, const char* name) const {
    if (std::isfinite(value)) return value;
    throw EngineError("ERR_ELECTRA_BATCH",
                      "targets.%s: row %d of the task %s has %g\nTargets must be finite numbers.", name, b,
                      name_of(task), static_cast<double>(value));
  }
  int32_t position(int32_t value, int32_t length, int32_t b, int32_t task, const char* name) const {
    if (value >= 0 && value < length) return value;
    throw EngineError("ERR_ELECTRA_BATCH",
                      "targets.%s[%d] is %d, and row %d of the task %s has %d tokens\n%s", name, b, value, b,
                      name_of(task), length, "An answer outside the window is trained as position 0, [CLS].");
  }
  const char* name_of(int32_t task) const { return config_.tasks[static_cast<size_t>(task)].name.c_str(); }

 private:
  const FinetuningConfig& config_;
  bool needed_;
};

int32_t widest_labels(const FinetuningConfig& config) {
  int32_t widest = 0;
  for (const TaskConfig& task : config.tasks)
    if (task.kind == TaskHeadKind::kMultiLabel) widest = std::max(widest, task.classes);
  return widest;
}

bool has_kind(const FinetuningConfig& config, TaskHeadKind kind) {
  for (const TaskConfig& task : config.tasks)
    if (task.kind == kind) return true;
  return false;
}

void pack_tasks(const FinetuningBatch& batch, const FinetuningConfig& config, PackedFinetuning& packed) {
  const int32_t count = static_cast<int32_t>(config.tasks.size());
  packed.task_rows.assign(config.tasks.size(), 0);
  for (int32_t b = 0; b < packed.rows; ++b) {
    const int32_t task = batch.task_ids != nullptr ? batch.task_ids[b] : 0;
    if (task < 0 || task > count)
      throw EngineError("ERR_ELECTRA_BATCH",
                        "taskIds[%d] is %d, and the model has %d tasks\n0 is the first; %d marks %s", b, task,
                        count, count, "a row of padding.");
    packed.task.push_back(task);
    if (task < count) ++packed.task_rows[static_cast<size_t>(task)];
    packed.cls_token.push_back(
        packed.offsets[b] < packed.offsets[b + 1] && packed.valid[b] > 0 ? packed.offsets[b] : -1);
  }
}

/// Before anything is read by them.
void check_word_offsets(const FinetuningBatch& batch) {
  if (batch.word_offsets == nullptr) return;
  for (int32_t b = 0; b < batch.rows; ++b) {
    const int32_t first = batch.word_offsets[b], last = batch.word_offsets[b + 1];
    if (first <= last && (b > 0 || first == 0)) continue;
    throw EngineError("ERR_ELECTRA_BATCH", "words.offsets has %d for row %d and %d after it\n%s", first, b,
                      last, "Offsets start at 0 and never fall.");
  }
}

void pack_words(const FinetuningBatch& batch, const FinetuningConfig& config, const TargetReader& read,
                PackedFinetuning& packed) {
  check_word_offsets(batch);
  packed.word_offsets.assign(1, 0);
  const int32_t count = static_cast<int32_t>(config.tasks.size());
  for (int32_t b = 0; b < packed.rows; ++b) {
    const int32_t task = packed.task[b];
    const bool tags = task < count && config.tasks[static_cast<size_t>(task)].kind == TaskHeadKind::kTagging;
    if (tags && batch.word_offsets == nullptr)
      throw EngineError("ERR_ELECTRA_BATCH", "row %d belongs to the task %s, and the batch has no words\n%s",
                        b, read.name_of(task), "A tagging task needs words.offsets and words.positions.");
    const int32_t first = batch.word_offsets != nullptr ? batch.word_offsets[b] : 0;
    const int32_t last = batch.word_offsets != nullptr ? batch.word_offsets[b + 1] : 0;
    if (last > first && !tags)
      throw EngineError("ERR_ELECTRA_BATCH", "row %d has %d words, and its task has no tags\n%s", b,
                        last - first, "Only rows of tagging tasks may have words.");
    if (last - first > packed.pitch)
      throw EngineError("ERR_ELECTRA_BATCH", "row %d has %d words, more than max_seq_length %d\n%s", b,
                        last - first, packed.pitch, "Cut the row after the last word that fits.");
    for (int32_t w = first; w < last; ++w) {
      const int32_t position = batch.word_positions[w];
      if (position < 0 || position >= packed.valid[b])
        throw EngineError("ERR_ELECTRA_BATCH", "words.positions[%d] is %d, and row %d has %d tokens\n%s", w,
                          position, b, packed.valid[b], "A word's position is that of its first piece.");
      packed.word_token.push_back(packed.offsets[b] + position);
      const bool known = read.has(batch.word_classes, b, task, "wordClasses");
      packed.word_class.push_back(known ? read.whole(batch.word_classes[w],
                                                     config.tasks[static_cast<size_t>(task)].classes, w, task,
                                                     "wordClasses")
                                        : 0);
      for (int32_t n = 0; n < count; ++n)
        if (config.tasks[static_cast<size_t>(n)].kind == TaskHeadKind::kTagging)
          packed.tasks[static_cast<size_t>(n)].word_weight.push_back(known && n == task ? 1.0f : 0.0f);
    }
    packed.words = last;
    packed.word_offsets.push_back(last);
  }
}

/// The targets of row b, which belongs to `task`.
void pack_row_targets(const FinetuningBatch& batch, const FinetuningConfig& config, const TargetReader& read,
                      int32_t b, int32_t task, PackedFinetuning& packed) {
  const TaskConfig& head = config.tasks[static_cast<size_t>(task)];
  TaskArrays& arrays = packed.tasks[static_cast<size_t>(task)];
  const size_t at = static_cast<size_t>(b);
  // Nothing to read, nothing to learn.
  const float weight = packed.valid[at] > 0 ? 1.0f : 0.0f;
  switch (head.kind) {
    case TaskHeadKind::kClassification:
      if (!read.has(batch.classes, b, task, "classes")) return;
      packed.classes[at] = read.whole(batch.classes[b], head.classes, b, task, "classes");
      arrays.row_weight[at] = weight;
      return;
    case TaskHeadKind::kMultiLabel: {
      if (!read.has(batch.labels, b, task, "labels")) return;
      const int64_t widest = widest_labels(config);
      for (int32_t c = 0; c < head.classes; ++c)
        arrays.labels[at * head.classes + c] = read.real(batch.labels[b * widest + c], b, task, "labels");
      arrays.row_weight[at] = weight;
      return;
    }
    case TaskHeadKind::kRegression:
      if (!read.has(batch.values, b, task, "values")) return;
      packed.values[at] = read.real(batch.values[b], b, task, "values");
      arrays.row_weight[at] = weight;
      return;
    case TaskHeadKind::kTagging:
      return;
    case TaskHeadKind::kSpan:
      if (read.has(batch.starts, b, task, "starts") && read.has(batch.ends, b, task, "ends") && weight > 0) {
        packed.starts[at] = read.position(batch.starts[b], packed.valid[at], b, task, "starts");
        packed.ends[at] = read.position(batch.ends[b], packed.valid[at], b, task, "ends");
        packed.start_token[at] = packed.offsets[at] + packed.starts[at];
        arrays.row_weight[at] = 0.5f;  // the mean of start and end
      }
      if (head.answerable_classifier && read.has(batch.impossible, b, task, "impossible")) {
        packed.impossible[at] = static_cast<float>(read.whole(batch.impossible[b], 2, b, task, "impossible"));
        arrays.answer_weight[at] = head.answerable_weight * weight;
      }
      return;
  }
}

/// 1000 lower wherever no answer may begin or end: allowed are segment 1 and [CLS].
void pack_answer_mask(PackedFinetuning& packed) {
  for (int64_t t = 0; t < packed.tokens; ++t) {
    const size_t at = static_cast<size_t>(t);
    const int32_t position = packed.token_position[at];
    const bool real = position < packed.valid[static_cast<size_t>(packed.token_row[at])];
    const int32_t mask = (real ? packed.segments[at] : 0) + (position == 0 ? 1 : 0);
    packed.answer_addend.push_back(1000.0f * static_cast<float>(mask - 1));
  }
}

}  // namespace

PackedFinetuning pack_finetuning(const FinetuningBatch& batch, const FinetuningConfig& config,
                                 bool needs_targets) {
  PackedFinetuning packed;
  pack_rows(batch,
            RowLimits{config.max_seq_length, config.keep_padding, config.encoder.vocab_size,
                      config.encoder.type_vocab_size},
            packed);
  const TargetReader read(config, needs_targets);
  const size_t rows = static_cast<size_t>(packed.rows);
  pack_tasks(batch, config, packed);
  for (std::vector<int32_t>* array : {&packed.classes, &packed.starts, &packed.ends}) array->assign(rows, 0);
  packed.start_token.assign(rows, -1);
  packed.values.assign(rows, 0.0f);
  packed.impossible.assign(rows, 0.0f);
  for (const TaskConfig& task : config.tasks) {
    TaskArrays arrays;
    if (task.kind != TaskHeadKind::kTagging) arrays.row_weight.assign(rows, 0.0f);
    if (task.kind == TaskHeadKind::kSpan) arrays.answer_weight.assign(rows, 0.0f);
    if (task.kind == TaskHeadKind::kMultiLabel)
      arrays.labels.assign(rows * static_cast<size_t>(task.classes), 0.0f);
    packed.tasks.push_back(std::move(arrays));
  }
  pack_words(batch, config, read, packed);
  for (int32_t b = 0; b < packed.rows; ++b) {
    const int32_t task = packed.task[static_cast<size_t>(b)];
    if (task < static_cast<int32_t>(config.tasks.size()))
      pack_row_targets(batch, config, read, b, task, packed);
  }
  packed.has_starts = batch.starts != nullptr && batch.ends != nullptr;
  if (has_kind(config, TaskHeadKind::kSpan)) pack_answer_mask(packed);
  return packed;
}

}  // namespace electra
