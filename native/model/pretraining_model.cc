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
  memory.activations = implementation_->arena.bytes();
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
  self.prepare_mode(1, true);
  StepScalars scalars;
  scalars.learning_rate = options.learning_rate;
  self.operators.upload(self.device.scalars, &scalars, sizeof(scalars));
  self.enqueue_update(options);
  return self.fetch_update();
}

void PretrainingModel::Implementation::enqueue_update(const OptimizerOptions& options) {
  GradientNorm norm;
  norm.gradient = parameters->buffer(ParameterKind::kGradient);
  norm.segments = parameters->device_segments();
  norm.segment_count = parameters->segment_count();
  norm.size = parameters->table().size();
  norm.partials = partials;
  norm.scalars = device.scalars;
  operators.gradient_norm(norm);
  ClipFactor clip;
  clip.partials = partials;
  clip.count = partial_count;
  clip.max_norm = options.max_gradient_norm;
  clip.scalars = device.scalars;
  operators.clip_factor(clip);
  AdamUpdate adam;
  adam.parameters = parameters->buffer(ParameterKind::kValue);
  adam.gradient = parameters->buffer(ParameterKind::kGradient);
  adam.m = parameters->buffer(ParameterKind::kAdamM);
  adam.v = parameters->buffer(ParameterKind::kAdamV);
  adam.segments = parameters->device_segments();
  adam.segment_count = parameters->segment_count();
  adam.beta1 = options.beta1;
  adam.beta2 = options.beta2;
  adam.epsilon = options.epsilon;
  adam.scalars = device.scalars;
  operators.adam_update(adam);
}

OptimizerResult PretrainingModel::Implementation::fetch_update() {
  StepScalars scalars;
  operators.download(&scalars, device.scalars, sizeof(scalars));
  operators.synchronize();
  OptimizerResult result;
  result.gradient_norm = scalars.gradient_norm;
  result.finite = scalars.finite != 0;
  if (!result.finite && scalars.nonfinite_segment >= 0)
    result.nonfinite_parameter = parameters->table().name_at(
        parameters->host_segments()[static_cast<size_t>(scalars.nonfinite_segment)].offset);
  return result;
}

}  // namespace electra
