// Norm, clip and Adam on one stretch of parameters.

#include <vector>

#include "kernel_call.h"

namespace electra::addon {
namespace {

void adam(KernelContext& context, KernelCall& call) {
  const int64_t size = call.count("size");
  // The operators take blocks of 1024 elements with zeros behind; arguments of any length are laid into such
  // blocks.
  const int64_t padded = (size + 1023) / 1024 * 1024;
  const size_t bytes = static_cast<size_t>(size) * sizeof(float);
  const float* given[4] = {call.floats("parameters", size), call.floats("gradient", size),
                           call.floats("m", size), call.floats("v", size)};
  float* block[4];
  for (float*& memory : block) memory = call.scratch(padded);

  Segment segment;
  segment.size = size;
  segment.decay = call.real("decay", 0);
  segment.learning_rate_scale = call.real("learningRateScale", 1);
  StepScalars scalars;
  scalars.learning_rate = call.real("learningRate", 0);

  std::vector<double> partials(static_cast<size_t>((padded + 4095) / 4096), 0.0);
  GradientNorm norm;
  norm.gradient = block[1];
  norm.segments = &segment;
  norm.segment_count = 1;
  norm.size = padded;
  norm.partials = partials.data();
  norm.scalars = &scalars;
  ClipFactor clip;
  clip.partials = partials.data();
  clip.count = static_cast<int64_t>(partials.size());
  clip.max_norm = call.real("maxGradientNorm", 1);
  clip.scalars = &scalars;
  AdamUpdate update;
  update.parameters = block[0];
  update.gradient = block[1];
  update.m = block[2];
  update.v = block[3];
  update.segments = &segment;
  update.segment_count = 1;
  update.beta1 = call.real("beta1", update.beta1);
  update.beta2 = call.real("beta2", update.beta2);
  update.epsilon = call.real("epsilon", update.epsilon);
  update.scalars = &scalars;

  Capacity capacity;
  capacity.max_segments = 1;
  capacity.parameters = padded;
  context.reserve(capacity);
  call.run(
      [&] {
        context.operators.gradient_norm(norm);
        context.operators.clip_factor(clip);
        context.operators.adam_update(update);
      },
      [&] {
        for (int i = 0; i < 4; ++i)
          if (bytes != 0) std::memcpy(block[i], given[i], bytes);
        scalars.finite = 1;
        scalars.nonfinite_segment = -1;
      });
  const char* const names[4] = {"parameters", nullptr, "m", "v"};
  for (int i = 0; i < 4; ++i) {
    if (names[i] == nullptr) continue;
    float* result = call.result(names[i], {size});
    if (bytes != 0) std::memcpy(result, block[i], bytes);
  }
  call.result_number("gradientNorm", static_cast<double>(scalars.gradient_norm));
  call.result_number("finite", scalars.finite);
}

}  // namespace

void add_optimizer_kernels(KernelFunctions& functions) { functions["adam"] = adam; }

}  // namespace electra::addon
