// Gradient norm, clipping factor, Adam: bound by memory, so the flat buffers are cut into stretches, each
// read once.

#include <algorithm>
#include <cmath>

#include "../engine_error.h"
#include "cpu_operators.h"
#include "workspace_needs.h"

namespace electra::cpu {
namespace {

constexpr int64_t kPartial = 4096;  // elements of one partial sum, fixed by the contract
constexpr int64_t kPartialsPerTask = 8;
constexpr int64_t kStretch = 16384;  // elements of one task of Adam

/// The segment that holds element `index`, or −1.
int32_t segment_of(const Segment* segments, int32_t count, int64_t index) {
  for (int32_t s = 0; s < count; ++s)
    if (index >= segments[s].offset && index < segments[s].offset + segments[s].size) return s;
  return -1;
}

}  // namespace

WorkspaceNeeds optimizer_needs(const Capacity&) { return WorkspaceNeeds{}; }

void CpuOperators::gradient_norm(const GradientNorm& p) {
  ELECTRA_CHECK_SHAPE(p.size >= 0 && p.scalars != nullptr &&
                          (p.size == 0 || (p.gradient != nullptr && p.partials != nullptr)),
                      "gradient_norm: %lld elements", static_cast<long long>(p.size));
  const int64_t partials = (p.size + kPartial - 1) / kPartial;
  pool_.run((partials + kPartialsPerTask - 1) / kPartialsPerTask, [&](int64_t task, int) {
    for (int64_t i = task * kPartialsPerTask; i < std::min(partials, (task + 1) * kPartialsPerTask); ++i)
      p.partials[i] =
          kernels_.dense.sum_of_squares(std::min(kPartial, p.size - i * kPartial), p.gradient + i * kPartial);
  });
  // A square of a finite float is finite in double, so a stretch without NaN and infinity has a finite sum.
  p.scalars->finite = 1;
  p.scalars->nonfinite_segment = -1;
  for (int64_t i = 0; i < partials; ++i) {
    if (std::isfinite(p.partials[i])) continue;
    int64_t bad = i * kPartial;
    while (bad < p.size - 1 && std::isfinite(p.gradient[bad])) ++bad;
    p.scalars->finite = 0;
    p.scalars->nonfinite_segment = segment_of(p.segments, p.segment_count, bad);
    return;
  }
}

void CpuOperators::clip_factor(const ClipFactor& p) {
  ELECTRA_CHECK_SHAPE(p.scalars != nullptr && p.count >= 0 && (p.count == 0 || p.partials != nullptr),
                      "clip_factor: %lld partial sums", static_cast<long long>(p.count));
  double total = 0;
  for (int64_t i = 0; i < p.count; ++i) total += p.partials[i];
  const double norm = std::sqrt(total);
  p.scalars->gradient_norm = static_cast<float>(norm);
  p.scalars->clip_scale = norm > static_cast<double>(p.max_norm)
                              ? static_cast<float>(static_cast<double>(p.max_norm) / norm)
                              : 1.0f;
}

void CpuOperators::adam_update(const AdamUpdate& p) {
  ELECTRA_CHECK_SHAPE(
      p.scalars != nullptr && p.segment_count >= 0 && (p.segment_count == 0 || p.segments != nullptr),
      "adam_update: %d segments", p.segment_count);
  if (p.scalars->finite == 0) return;
  int64_t end = 0;
  for (int32_t s = 0; s < p.segment_count; ++s) {
    ELECTRA_CHECK_SHAPE(p.segments[s].offset >= end && p.segments[s].size >= 0,
                        "adam_update: segment %d at %lld overlaps the one before it, which ends at %lld", s,
                        static_cast<long long>(p.segments[s].offset), static_cast<long long>(end));
    end = p.segments[s].offset + p.segments[s].size;
  }
  pool_.run((end + kStretch - 1) / kStretch, [&](int64_t task, int) {
    const int64_t first = task * kStretch, last = std::min(end, first + kStretch);
    // The first segment that ends beyond `first`.
    const Segment* segment =
        std::partition_point(p.segments, p.segments + p.segment_count,
                             [&](const Segment& s) { return s.offset + s.size <= first; });
    for (; segment != p.segments + p.segment_count && segment->offset < last; ++segment) {
      const int64_t from = std::max(first, segment->offset),
                    to = std::min(last, segment->offset + segment->size);
      if (from >= to) continue;
      AdamStretch s;
      s.parameters = p.parameters + from;
      s.gradient = p.gradient + from;
      s.m = p.m + from;
      s.v = p.v + from;
      s.count = to - from;
      s.beta1 = static_cast<float>(p.beta1);
      s.rest1 = static_cast<float>(1 - p.beta1);
      s.beta2 = static_cast<float>(p.beta2);
      s.rest2 = static_cast<float>(1 - p.beta2);
      s.epsilon = p.epsilon;
      s.clip = p.scalars->clip_scale;
      s.learning_rate = p.scalars->learning_rate * segment->learning_rate_scale;
      s.decay = segment->decay;
      kernels_.dense.adam(s);
    }
  });
  packed_weights_.changed(p.parameters, static_cast<size_t>(end) * sizeof(float));
}

}  // namespace electra::cpu
