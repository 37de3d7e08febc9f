// Norm, clip factor and Adam over the flat parameter buffer.

#include <cmath>
#include <limits>
#include <string>

#include "cases.h"

namespace electra::test {
namespace {

/// Segments of the given sizes, each at a multiple of 1024, every other one with decay.
std::vector<Segment> segments_of(const std::vector<int64_t>& sizes, int64_t* total) {
  std::vector<Segment> segments;
  *total = 0;
  for (const int64_t size : sizes) {
    Segment segment;
    segment.offset = *total;
    segment.size = size;
    segment.decay = segments.size() % 2 == 0 ? 0.01f : 0.0f;
    segment.learning_rate_scale = segments.size() % 3 == 0 ? 1.0f : 0.8f;
    segments.push_back(segment);
    *total += (size + 1023) / 1024 * 1024;
  }
  return segments;
}

/// Where a gradient stops being a number: segment, and which value.
struct Damage {
  int32_t segment = -1;
  float value = 0;
};

void declare_step(Scene& s, const std::vector<int64_t>& sizes, double gradient_scale, float max_norm,
                  const Damage& damage, bool denormal, bool padded = true) {
  int64_t total = 0;
  const std::vector<Segment> segments = segments_of(sizes, &total);
  if (!padded) total = segments.back().offset + segments.back().size;
  s.capacity().parameters = total;
  s.capacity().max_segments = static_cast<int64_t>(segments.size());
  std::vector<float> gradient(static_cast<size_t>(total), 0.0f), weights(gradient), m(gradient), v(gradient);
  for (size_t i = 0; i < segments.size(); ++i) {
    for (int64_t e = segments[i].offset; e < segments[i].offset + segments[i].size; ++e) {
      gradient[e] = static_cast<float>(gradient_scale * (s.choose(20001) / 10000.0 - 1));
      weights[e] = static_cast<float>(s.choose(20001) / 10000.0 - 1);
      m[e] = static_cast<float>(denormal ? 0 : 0.01 * (s.choose(20001) / 10000.0 - 1));
      v[e] = static_cast<float>(denormal ? 0 : 1e-3 * (s.choose(10001) / 10000.0));
    }
    if (static_cast<int32_t>(i) == damage.segment && segments[i].size > 0) {
      gradient[segments[i].offset + segments[i].size / 2] = damage.value;
    }
  }
  const float* g = s.given("gradient", gradient);
  const Segment* table = s.raw("segments", segments);
  StepScalars* scalars = s.scalars(step_scalars(), Role::kAccumulator);
  const int64_t count = (total + 4095) / 4096;
  Look partial;
  partial.terms = 1;
  partial.scale = gradient_scale * gradient_scale;
  double* partials = s.doubles("partials", std::vector<double>(static_cast<size_t>(count), -1.0),
                               damage.segment < 0 ? Role::kOutput : Role::kScratch, partial);
  GradientNorm norm;
  norm.gradient = g;
  norm.segments = table;
  norm.segment_count = static_cast<int32_t>(segments.size());
  norm.size = total;
  norm.partials = partials;
  norm.scalars = scalars;
  ClipFactor clip;
  clip.partials = partials;
  clip.count = count;
  clip.max_norm = max_norm;
  clip.scalars = scalars;
  AdamUpdate adam;
  adam.parameters = s.given("parameters", weights, Role::kAccumulator);
  adam.gradient = g;
  adam.m = s.given("m", m, Role::kAccumulator);
  adam.v = s.given("v", v, Role::kAccumulator);
  // v and the square root may be flushed where they are denormal; the update is at most learning rate · 1.
  s.buffer("v").look.absolute = 2e-38;
  adam.segments = table;
  adam.segment_count = norm.segment_count;
  adam.scalars = scalars;
  s.forward([=](Operators& o) {
    o.gradient_norm(norm);
    o.clip_factor(clip);
    o.adam_update(adam);
  });
  s.work(0, 4.0 * static_cast<double>(total) * 8);
}

}  // namespace

void add_optimizer_cases(Cases* cases) {
  const std::vector<int64_t> sizes = {5000, 1, 1024, 0, 64, 12345, 4096, 1023};
  const float not_a_number = std::numeric_limits<float>::quiet_NaN();
  const float infinite = std::numeric_limits<float>::infinity();
  cases->push_back({"optimizer", "clipped", [=](Scene& s) { declare_step(s, sizes, 1, 1, {}, false); }});
  cases->push_back(
      {"optimizer", "below the norm", [=](Scene& s) { declare_step(s, sizes, 1e-4, 1, {}, false); }});
  cases->push_back({"optimizer", "no gradient", [=](Scene& s) { declare_step(s, sizes, 0, 1, {}, false); }});
  cases->push_back(
      {"optimizer", "one segment", [=](Scene& s) { declare_step(s, {70000}, 1, 1, {}, false); }});
  cases->push_back({"optimizer", "three parameters, nothing behind them",
                    [=](Scene& s) { declare_step(s, {3}, 1, 1, {}, false, false); }});
  cases->push_back({"optimizer", "no segment", [=](Scene& s) { declare_step(s, {}, 1, 1, {}, false); }});
  cases->push_back(
      {"optimizer", "tiny gradients", [=](Scene& s) { declare_step(s, sizes, 1e-18, 1, {}, true); }});
  cases->push_back({"optimizer", "NaN in the fifth segment", [=](Scene& s) {
                      declare_step(s, sizes, 1, 1, {4, not_a_number}, false);
                    }});
  cases->push_back({"optimizer", "infinity in the first segment", [=](Scene& s) {
                      declare_step(s, sizes, 1, 1, {0, infinite}, false);
                    }});
  cases->push_back({"optimizer", "minus infinity in the last segment", [=](Scene& s) {
                      declare_step(s, sizes, 1, 1, {7, -infinite}, false);
                    }});
  cases->push_back({"optimizer", "14 M parameters",
                    [=](Scene& s) {
                      declare_step(s, {4000000, 10000000}, 1, 1, {}, false);
                    },
                    true});
}

}  // namespace electra::test
