#pragma once
// What the heads of fine-tuning have in common. A head owns its variables and knows nothing of other tasks:
// rows of those have weight 0.

#include <memory>
#include <string>
#include <vector>

#include "finetuning_batch.h"
#include "linear.h"

namespace electra {

/// A head's part of a step.
struct HeadStep {
  const StepContext& context;
  const PackedFinetuning& packed;
  const DeviceFinetuning& device;
  int number = 0;   ///< of the task
  Tensor hidden;    ///< [T, h] sequence output
  Tensor d_hidden;  ///< [T, h] gradients are added; empty in inference

  const DeviceTask& task() const { return device.tasks[static_cast<size_t>(number)]; }
  /// d(total loss) / d(weighted loss): a device scalar.
  const float* scale() const { return &device.scalars->task_scale; }
  double* loss_sum() const { return device.task_loss + number; }
  bool training() const { return context.training; }
  bool has_rows() const { return packed.task_rows[static_cast<size_t>(number)] > 0; }
  Extent each_row() const { return Extent{packed.rows, nullptr}; }
};

/// The places that a plan gave to a head.
struct HeadPlaces {
  virtual ~HeadPlaces() = default;
};

class TaskHead {
 public:
  virtual ~TaskHead() = default;

  /// Hands out places for batches of up to `rows` rows of `pitch` tokens.
  virtual std::unique_ptr<HeadPlaces> plan(Arena& arena, int32_t rows, int32_t pitch,
                                           bool training) const = 0;
  /// From hidden states to losses, and back in training: gradients of the head's variables and of the hidden
  /// states.
  virtual void run(const HeadStep& step, HeadPlaces& places) const = 0;
  /// The named results that are wanted, and, where `row_loss` is given, the loss of each of the task's rows.
  /// Where the batch has no row of the task the head may not have run: all results are zero then.
  virtual void collect(const HeadStep& step, HeadPlaces& places, std::vector<float>* row_loss) const = 0;
  /// Names that collect() knows.
  virtual std::vector<std::string> output_names() const = 0;
  /// A batch without its rows spares this head's work: worth a recorded step of its own.
  virtual bool reads_tokens() const = 0;
  /// Widest activation, for the operators' workspace.
  virtual int32_t max_width() const = 0;
};

/// Registers the variables under task_specific/<name>/….
std::unique_ptr<TaskHead> make_task_head(ParameterTable& table, const TaskConfig& task, int32_t hidden_size,
                                         float dropout);

/// Bias and Glorot's uniform kernel, as TensorFlow's dense layers begin.
Linear add_dense(ParameterTable& table, const std::string& scope, int64_t in, int64_t out);

}  // namespace electra
