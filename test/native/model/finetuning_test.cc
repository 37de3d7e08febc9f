// Fine-tuning at real shapes against the naive double model: every head, mixed in one batch, dropout on, rows
// of padding and rows without tokens.

#include <algorithm>
#include <cmath>

#include "../../../native/model/finetuning_model.h"
#include "naive_finetuning.h"

namespace electra::test {
namespace {

enum Task { kTopic, kMarks, kScore, kTags, kAnswer, kPlainAnswer, kBareAnswer, kPadding };

FinetuningConfig every_head() {
  const auto task = [](const char* name, TaskHeadKind kind, int32_t classes) {
    TaskConfig config;
    config.name = name;
    config.kind = kind;
    config.classes = classes;
    return config;
  };
  FinetuningConfig config;
  config.encoder.num_hidden_layers = 2;
  config.max_seq_length = 128;
  config.tasks = {
      task("topic", TaskHeadKind::kClassification, 3),
      task("marks", TaskHeadKind::kMultiLabel, 5),
      task("score", TaskHeadKind::kRegression, 1),
      task("tags", TaskHeadKind::kTagging, 23),
      task("answer", TaskHeadKind::kSpan, 1),
      task("plain", TaskHeadKind::kSpan, 1),
      task("bare", TaskHeadKind::kSpan, 1),
  };
  config.tasks[kPlainAnswer].joint_prediction = false;
  config.tasks[kPlainAnswer].answerable_uses_start_logits = false;
  config.tasks[kPlainAnswer].answerable_weight = 0.75f;
  config.tasks[kBareAnswer].answerable_classifier = false;
  return config;
}

NaiveTasks every_task(const FinetuningConfig& config) {
  NaiveTasks batch;
  static_cast<NaiveBatch&>(batch) =
      make_batch(config.max_seq_length, {128, 77, 0, 5, 33, 64, 20, 50, 9, 41, 3, 12});
  batch.task = {kAnswer, kTags,        kTopic,      kAnswer,  kTopic, kMarks,
                kScore,  kPlainAnswer, kBareAnswer, kPadding, kTags,  kTopic};
  const size_t rows = static_cast<size_t>(batch.rows);
  batch.positions.resize(rows);
  batch.tags.resize(rows);
  for (std::vector<int32_t>* array : {&batch.classes, &batch.starts, &batch.ends, &batch.impossible})
    array->assign(rows, 0);
  batch.values.assign(rows, 0.0);
  batch.labels.assign(rows, std::vector<double>(5, 0.0));
  for (size_t b = 0; b < rows; ++b) {
    const uint32_t r = word(static_cast<uint32_t>(b), 77);
    const int32_t length = batch.lengths[b];
    switch (batch.task[b]) {
      case kTopic:
        batch.classes[b] = static_cast<int32_t>(r % 3);
        break;
      case kMarks:
        for (size_t c = 0; c < 5; ++c) batch.labels[b][c] = r >> c & 1;
        break;
      case kScore:
        batch.values[b] = 0.75;
        break;
      case kTags:
        // Two words may share a piece: one had none of its own.
        for (int32_t i = 1; i < length; i += 2) {
          batch.positions[b].push_back(i == 7 ? 5 : i);
          batch.tags[b].push_back(static_cast<int32_t>(word(static_cast<uint32_t>(i), 78) % 23));
        }
        break;
      case kPadding:
        break;
      default:
        batch.impossible[b] = static_cast<int32_t>(b % 2);
        batch.starts[b] = length / 2 + 1;
        batch.ends[b] = length - 1;
    }
  }
  return batch;
}

/// The arrays that the engine takes, kept alive.
struct EngineBatch {
  explicit EngineBatch(const NaiveTasks& batch) {
    host.rows = batch.rows;
    host.length = batch.length;
    host.input_ids = batch.ids.data();
    host.lengths = batch.lengths.data();
    host.segment_ids = batch.segments.data();
    host.task_ids = batch.task.data();
    offsets.push_back(0);
    for (size_t b = 0; b < batch.positions.size(); ++b) {
      positions.insert(positions.end(), batch.positions[b].begin(), batch.positions[b].end());
      tags.insert(tags.end(), batch.tags[b].begin(), batch.tags[b].end());
      offsets.push_back(static_cast<int32_t>(positions.size()));
      values.push_back(static_cast<float>(batch.values[b]));
      labels.insert(labels.end(), batch.labels[b].begin(), batch.labels[b].end());
    }
    host.word_offsets = offsets.data();
    host.word_positions = positions.data();
    host.word_classes = tags.data();
    host.classes = batch.classes.data();
    host.labels = labels.data();
    host.values = values.data();
    host.starts = batch.starts.data();
    host.ends = batch.ends.data();
    host.impossible = batch.impossible.data();
  }
  EngineBatch(const EngineBatch&) = delete;
  EngineBatch& operator=(const EngineBatch&) = delete;

  FinetuningBatch host;
  std::vector<int32_t> offsets, positions, tags;
  std::vector<float> values, labels;
};

/// f32 as in pre-training. bf16: single rows, so nothing averages out. A number passes R = 2 + 8 · layers + 7
/// roundings of root mean square 2^-9 (test/golden/tolerances.mjs), and twice as many on the way back; two
/// standard deviations.
struct Bounds {
  double loss, gradient;
};
Bounds bounds_of(DType precision, int layers) {
  if (precision == DType::kFloat32) return Bounds{1e-5, 1e-5};
  const double roundings = 2 + 8 * layers + 7;
  return Bounds{2 * std::sqrt(roundings) / 512, 2 * std::sqrt(2 * roundings) / 512};
}

/// Log-probabilities by rank, and what stands where a row has no more candidates.
void check_beams(const std::string& name, FinetuningModel& model, const FinetuningBatch& host,
                 const Variables& variables, const NaiveTasks& batch, double bound, Counter& counter) {
  Outputs outputs;
  outputs.wanted = {"answer/start_top_log_probs", "answer/start_top_index", "answer/end_top_log_probs",
                    "answer/end_top_index"};
  model.predict(host, nullptr, &outputs);
  const size_t k = static_cast<size_t>(model.config().tasks[kAnswer].beam_size);
  double worst = 0;
  int wrong = 0;
  const auto compare = [&](const Matrix& scores, const float* values, const int32_t* places) {
    Matrix sorted = scores;
    std::sort(sorted.rbegin(), sorted.rend());
    for (size_t i = 0; i < k; ++i) {
      if (i >= sorted.size()) {
        wrong += places[i] != -1 || !(values[i] < -1e30f);
        continue;
      }
      // f32 keeps 6e-5 of a score from which 1000 was subtracted.
      const double slack = sorted[i] < -500 ? 2e-4 : 0;
      worst = std::max(worst, std::fabs(values[i] - sorted[i]) - slack);
      worst = std::max(worst, std::fabs(values[i] - scores[static_cast<size_t>(places[i])]) - slack);
    }
  };
  for (int b = 0; b < batch.rows; ++b) {
    if (batch.task[static_cast<size_t>(b)] != kAnswer) continue;
    const size_t first = static_cast<size_t>(b) * k;
    const int32_t* starts = &outputs.arrays["answer/start_top_index"].i32[first];
    const NaiveBeams beams =
        naive_beams(model.config(), variables, batch, b, std::vector<int32_t>(starts, starts + k));
    compare(beams.starts, &outputs.arrays["answer/start_top_log_probs"].f32[first], starts);
    for (size_t i = 0; i < k; ++i) {
      const size_t at = (first + i) * k;
      const float* values = &outputs.arrays["answer/end_top_log_probs"].f32[at];
      const int32_t* places = &outputs.arrays["answer/end_top_index"].i32[at];
      compare(beams.ends[i], values, places);
    }
  }
  counter.check(wrong == 0, name + ": candidates that a short row lacks", wrong, 0);
  counter.below(worst, bound, name + ": log-probabilities of beams");
}

}  // namespace

void test_finetuning(const std::string& filter, DType precision, Counter& counter) {
  const std::string name = "fine-tuning" + suffix(precision);
  if (name.find(filter) == std::string::npos) return;
  const FinetuningConfig config = every_head();
  const Bounds bounds = bounds_of(precision, config.encoder.num_hidden_layers);
  const std::unique_ptr<Operators> device = make_device(precision);
  FinetuningModel model(*device, config, 5);
  Variables variables;
  excite(model.parameters(), variables);
  const NaiveTasks batch = every_task(config);
  const EngineBatch engine(batch);
  FinetuningStepOptions step;
  step.seed = kSeed;
  step.step = kStep;
  Outputs outputs;
  outputs.wanted = {"loss"};
  const FinetuningResult result = model.forward_backward(engine.host, step, &outputs);

  const std::vector<double> rows = naive_row_losses(config, variables, batch, kSeed, kStep);
  std::vector<double> tasks(config.tasks.size(), 0.0);
  double worst = 0, total = 0;
  for (size_t b = 0; b < rows.size(); ++b) {
    worst = std::max(worst, std::fabs(outputs.arrays["loss"].f32[b] - rows[b]) / (1 + rows[b]));
    if (batch.task[b] != kPadding) tasks[static_cast<size_t>(batch.task[b])] += rows[b];
    total += rows[b];
  }
  counter.below(worst, bounds.loss * 2, name + ": losses of rows, relative");
  for (size_t n = 0; n < tasks.size(); ++n)
    counter.below(std::fabs(result.task_losses[n] - tasks[n]) / (1 + tasks[n]), bounds.loss * 2,
                  name + ": loss of " + config.tasks[n].name + ", relative");
  counter.below(relative(result.loss, total), bounds.loss, name + ": loss, relative");
  // bf16: four standard deviations of scores as large as 2, twice for the sum that they are set against.
  check_beams(name, model, engine.host, variables, batch,
              precision == DType::kFloat32 ? 2e-5 : 8 * bounds.loss, counter);

  std::vector<Group> groups = encoder_groups();
  for (const TaskConfig& task : config.tasks)
    groups.push_back({"the head of " + task.name, "task_specific/" + task.name + "/", ""});
  groups.push_back({"qa_hidden", "qa_hidden", ""});
  // Inference in between leaves gradients as they are.
  check_gradients(
      name, model.parameters(), variables, groups, bounds.gradient,
      [&](const Variables& changed) {
        double sum = 0;
        for (const double loss : naive_row_losses(config, changed, batch, kSeed, kStep)) sum += loss;
        return sum;
      },
      counter);
}

}  // namespace electra::test
