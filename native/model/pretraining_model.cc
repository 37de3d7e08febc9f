#include "pretraining_model.h"

#include "pretraining_implementation.h"

namespace electra {

PretrainingModel::PretrainingModel(Operators& operators, const PretrainingConfig& config, uint64_t seed,
                                   int32_t reserve_rows)
    : implementation_(std::make_unique<Implementation>(operators, config, seed, reserve_rows)) {}
PretrainingModel::~PretrainingModel() = default;

const PretrainingConfig& PretrainingModel::config() const { return implementation_->config; }
Parameters& PretrainingModel::parameters() { return *implementation_->parameters; }

ModelMemory PretrainingModel::memory() const {
  ModelMemory memory;
  memory.parameters = implementation_->parameters->bytes();
  memory.activations = implementation_->room.arena().bytes();
  memory.workspace = implementation_->operators.workspace_bytes();
  return memory;
}

StepResult PretrainingModel::forward_backward(const HostBatch& batch, const StepOptions& options,
                                              Outputs* outputs) {
  return implementation_->run(batch, options, outputs, true);
}

StepResult PretrainingModel::evaluate(const HostBatch& batch, const StepOptions& options, Outputs* outputs) {
  return implementation_->run(batch, options, outputs, false);
}

void PretrainingModel::forward(const HostBatch& batch, const ForwardOptions& options, Outputs* outputs) {
  implementation_->run_forward(batch, options, outputs);
}

StepResult PretrainingModel::train_step(const HostBatch& batch, const StepOptions& options,
                                        const OptimizerOptions& optimizer, OptimizerResult* update,
                                        Outputs* outputs) {
  return implementation_->run(batch, options, outputs, true, &optimizer, update);
}

OptimizerResult PretrainingModel::optimizer_step(const OptimizerOptions& options) {
  Implementation& self = *implementation_;
  self.room.prepare(1, true);
  StepScalars scalars;
  scalars.learning_rate = options.learning_rate;
  self.operators.upload(self.device.scalars, &scalars, sizeof(scalars));
  self.optimizer->enqueue(options, self.device.scalars);
  return self.optimizer->fetch(self.device.scalars);
}

}  // namespace electra
