// Norm, clip and Adam on one stretch of parameters.

#include "kernel_call.h"

namespace electra::addon {
namespace {

void adam(KernelContext& context, KernelCall& call) {
  const int64_t size = call.count("size");
  // The operators take blocks of 1024 elements with zeros behind; arguments of any length are laid into such
  // blocks.
  const int64_t padded = (size + 1023) / 1024 * 1024;
  const size_t bytes = static_cast<size_t>(size) * sizeof(float);
  const float* given[4] = {call.host_floats("parameters", size), call.host_floats("gradient", size),
                           call.host_floats("m", size), call.host_floats("v", size)};
  float* block[4];
  for (float*& memory : block)
    memory = static_cast<float*>(call.room(static_cast<size_t>(padded) * sizeof(float), "parameters"));

  Segment segment;
  segment.size = size;
  segment.decay = call.real("decay", 0);
  segment.learning_rate_scale = call.real("learningRateScale", 1);
  StepScalars start;
  start.learning_rate = call.real("learningRate", 0);
  StepScalars* scalars = call.put(start);
  const Segment* segments = call.put(segment);
  const int64_t partial_count = (padded + 4095) / 4096;
  auto* partials = static_cast<double*>(
      call.room(static_cast<size_t>(partial_count) * sizeof(double), "partial sums of the norm"));
  GradientNorm norm;
  norm.gradient = block[1];
  norm.segments = segments;
  norm.segment_count = 1;
  norm.size = padded;
  norm.partials = partials;
  norm.scalars = scalars;
  ClipFactor clip;
  clip.partials = partials;
  clip.count = partial_count;
  clip.max_norm = call.real("maxGradientNorm", 1);
  clip.scalars = scalars;
  AdamUpdate update;
  update.parameters = block[0];
  update.gradient = block[1];
  update.m = block[2];
  update.v = block[3];
  update.segments = segments;
  update.segment_count = 1;
  update.beta1 = call.real("beta1", update.beta1);
  update.beta2 = call.real("beta2", update.beta2);
  update.epsilon = call.real("epsilon", update.epsilon);
  update.scalars = scalars;

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
          if (bytes != 0) context.operators.upload(block[i], given[i], bytes);
        context.operators.upload(scalars, &start, sizeof(start));
      });
  const char* const names[4] = {"parameters", nullptr, "m", "v"};
  for (int i = 0; i < 4; ++i) {
    if (names[i] == nullptr) continue;
    HostArray& result = call.results[names[i]];
    result.shape = {size};
    result.f32.assign(static_cast<size_t>(size), 0.0f);
    if (bytes != 0) context.operators.download(result.f32.data(), block[i], bytes);
  }
  const StepScalars end = call.fetch(scalars);
  call.result_number("gradientNorm", static_cast<double>(end.gradient_norm));
  call.result_number("finite", end.finite);
}

}  // namespace

void add_optimizer_kernels(KernelFunctions& functions) { functions["adam"] = adam; }

}  // namespace electra::addon
