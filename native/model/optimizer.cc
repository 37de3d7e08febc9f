#include "optimizer.h"

namespace electra {
namespace {

constexpr int64_t kPartialElements = 4096;  // of the gradient, for one partial sum (operators.h)

}  // namespace

Optimizer::Optimizer(Operators& operators, Parameters& parameters)
    : operators_(operators),
      parameters_(parameters),
      partial_count_((parameters.table().size() + kPartialElements - 1) / kPartialElements),
      partials_(static_cast<double*>(operators.allocate(static_cast<size_t>(partial_count_) * sizeof(double),
                                                        "partial sums of the gradient norm"))) {}

Optimizer::~Optimizer() { operators_.release(partials_); }

void Optimizer::enqueue(const OptimizerOptions& options, StepScalars* scalars) const {
  GradientNorm norm;
  norm.gradient = parameters_.buffer(ParameterKind::kGradient);
  norm.segments = parameters_.device_segments();
  norm.segment_count = parameters_.segment_count();
  norm.size = parameters_.table().size();
  norm.partials = partials_;
  norm.scalars = scalars;
  operators_.gradient_norm(norm);
  ClipFactor clip;
  clip.partials = partials_;
  clip.count = partial_count_;
  clip.max_norm = options.max_gradient_norm;
  clip.scalars = scalars;
  operators_.clip_factor(clip);
  AdamUpdate adam;
  adam.parameters = parameters_.buffer(ParameterKind::kValue);
  adam.gradient = parameters_.buffer(ParameterKind::kGradient);
  adam.m = parameters_.buffer(ParameterKind::kAdamM);
  adam.v = parameters_.buffer(ParameterKind::kAdamV);
  adam.segments = parameters_.device_segments();
  adam.segment_count = parameters_.segment_count();
  adam.beta1 = options.beta1;
  adam.beta2 = options.beta2;
  adam.epsilon = options.epsilon;
  adam.scalars = scalars;
  operators_.adam_update(adam);
}

OptimizerResult Optimizer::fetch(const StepScalars* device_scalars) const {
  StepScalars scalars;
  operators_.download(&scalars, device_scalars, sizeof(scalars));
  operators_.synchronize();
  OptimizerResult result;
  result.gradient_norm = scalars.gradient_norm;
  result.finite = scalars.finite != 0;
  if (!result.finite && scalars.nonfinite_segment >= 0)
    result.nonfinite_parameter = parameters_.table().name_at(
        parameters_.host_segments()[static_cast<size_t>(scalars.nonfinite_segment)].offset);
  return result;
}

}  // namespace electra
