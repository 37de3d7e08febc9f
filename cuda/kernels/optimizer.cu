// The optimizer: gradient norm with the check for NaN and infinity, the clipping factor, Adam without bias
// correction and with decoupled decay (BERT's optimizer), and the bf16 form of the parameters.
//
// All of it is bound by memory and runs over flat buffers. For N parameters the norm reads 4 N bytes; Adam
// reads 16 N (parameters, gradient, m, v) and writes 12 N, 14 N where the device keeps the parameters in bf16
// as well: 420 MB for ELECTRA-Small's 14 M, 0.14 ms of an H100. Everything moves 16 bytes at a time where the
// buffers allow.
//
// Segments (one optimizer setting each) start at multiples of 1024 elements, so a stretch of 1024 belongs to
// one segment at most. A warp finds it in the table by looking at 32 entries at once, twice for a thousand
// segments; no table of stretches has to be made or kept.

#include <algorithm>

#include "../cuda_operators.h"
#include "../device_views.h"
#include "optimizer.h"

namespace electra::cuda {
namespace {

constexpr int64_t kPartial = 4096;  // elements of one partial sum, fixed by the contract
constexpr int64_t kStretch = 1024;  // elements that lie in one segment
constexpr int kThreads = 256;
constexpr int kSumThreads = 1024;

/// The last segment that starts at or before `index`, or −1. The whole warp must call it. Of segments at one
/// offset all but the last are empty.
__device__ __forceinline__ int32_t segment_before(const Segment* segments, int32_t count, int64_t index) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int32_t first = 0, left = count;  // the answer is first − 1 + (how many of the next `left` start in time)
  while (left > 0) {
    const int32_t step = (left + 31) / 32;
    const int32_t candidate = first + lane * step;
    const bool in_time = lane * step < left && segments[candidate].offset <= index;
    const int32_t seen = __popc(__ballot_sync(kFullWarp, in_time));
    if (seen == 0) return first - 1;
    // Candidate seen − 1 starts in time, the next does not: the answer is among the step − 1 after it.
    const int32_t next = first + (seen - 1) * step + 1;
    left = min(step - 1, first + left - next);
    first = next;
  }
  return first - 1;
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    square_sums_kernel(const float* gradient, int64_t size, double* partials) {
  const int64_t base = static_cast<int64_t>(blockIdx.x) * kPartial;
  double sum = 0;
#pragma unroll
  for (int i = 0; i < kPartial / (kThreads * kWidth); ++i) {
    const int64_t at = base + (i * kThreads + static_cast<int>(threadIdx.x)) * kWidth;
    if (at + kWidth <= size) {
      const Packed<float, kWidth> g = load_packed<kWidth>(gradient + at);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sum += static_cast<double>(g[e]) * static_cast<double>(g[e]);
    } else {
      for (int64_t e = at; e < size; ++e)
        sum += static_cast<double>(gradient[e]) * static_cast<double>(gradient[e]);
    }
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

/// The smallest of the block's values, to all threads.
__device__ __forceinline__ int64_t block_minimum(int64_t value) {
  ELECTRA_SHARED(long long, minimum, 32);
  long long smallest = value;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const long long other = __shfl_xor_sync(kFullWarp, smallest, offset);
    smallest = other < smallest ? other : smallest;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) minimum[threadIdx.x / 32] = smallest;
  __syncthreads();
  for (int i = 0; i < static_cast<int>(blockDim.x / 32); ++i)
    smallest = minimum[i] < smallest ? minimum[i] : smallest;
  return smallest;
}

/// One block. The square of a finite float is finite in double, so a stretch without NaN and infinity has a
/// finite sum: only the first stretch that has none is looked at again.
__global__ void __launch_bounds__(kSumThreads)
    finite_check_kernel(const float* gradient, int64_t size, const double* partials, int64_t count,
                        const Segment* segments, int32_t segment_count, StepScalars* scalars) {
  int64_t bad = count;
  for (int64_t i = threadIdx.x; i < count && bad == count; i += kSumThreads)
    if (!isfinite(partials[i])) bad = i;
  bad = block_minimum(bad);
  if (bad == count) {
    if (threadIdx.x == 0) {
      scalars->finite = 1;
      scalars->nonfinite_segment = -1;
    }
    return;
  }
  const int64_t end = min(size, (bad + 1) * kPartial);
  int64_t element = end;
  for (int64_t i = bad * kPartial + threadIdx.x; i < end && element == end; i += kSumThreads)
    if (!isfinite(gradient[i])) element = i;
  element = block_minimum(element);
  if (threadIdx.x >= 32) return;
  const int32_t segment = segment_before(segments, segment_count, element);
  if (threadIdx.x != 0) return;
  const bool inside = segment >= 0 && element < segments[segment].offset + segments[segment].size;
  scalars->finite = 0;
  scalars->nonfinite_segment = inside ? segment : -1;
}

/// One block: every thread adds its partials in order, then the threads are added.
__global__ void __launch_bounds__(kSumThreads)
    clip_factor_kernel(const double* partials, int64_t count, float max_norm, StepScalars* scalars) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kSumThreads) sum += partials[i];
  sum = block_sum<kSumThreads>(sum);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(sum);
  scalars->gradient_norm = static_cast<float>(norm);
  scalars->clip_scale =
      norm > static_cast<double>(max_norm) ? static_cast<float>(static_cast<double>(max_norm) / norm) : 1.0f;
}

struct AdamBuffers {
  float* parameters;
  const float* gradient;
  float* m;
  float* v;
  __nv_bfloat16* compute;  // bf16 form of the parameters, or null
  const Segment* segments;
  int32_t segment_count;
  const StepScalars* scalars;
  float beta1, rest1, beta2, rest2, epsilon;
};

template <int kWidth>
__global__ void __launch_bounds__(kThreads, 4) adam_kernel(AdamBuffers b) {
  if (b.scalars->finite == 0 || b.segment_count == 0) return;
  const Segment last = b.segments[b.segment_count - 1];
  const int64_t stretches = (last.offset + last.size + kStretch - 1) / kStretch;
  const float clip = b.scalars->clip_scale, step_rate = b.scalars->learning_rate;
  for (int64_t stretch = blockIdx.x; stretch < stretches; stretch += gridDim.x) {
    const int64_t base = stretch * kStretch;
    const int32_t index = segment_before(b.segments, b.segment_count, base);
    if (index < 0) continue;
    const Segment segment = b.segments[index];
    const int64_t end = segment.offset + segment.size;
    const float rate = step_rate * segment.learning_rate_scale, decay = segment.decay;
#pragma unroll
    for (int i = 0; i < kStretch / (kThreads * kWidth); ++i) {
      const int64_t at = base + (i * kThreads + static_cast<int>(threadIdx.x)) * kWidth;
      if (at >= end) continue;
      const auto update = [&](float g, float* m, float* v, float* w) {
        g *= clip;
        *m = *m * b.beta1 + g * b.rest1;
        *v = *v * b.beta2 + g * g * b.rest2;
        *w = *w - (*m / (sqrtf(*v) + b.epsilon) + *w * decay) * rate;
      };
      if (at + kWidth <= end) {
        const Packed<float, kWidth> g = load_packed_streaming<kWidth>(b.gradient + at);
        Packed<float, kWidth> m = load_packed_streaming<kWidth>(b.m + at);
        Packed<float, kWidth> v = load_packed_streaming<kWidth>(b.v + at);
        Packed<float, kWidth> w = load_packed<kWidth>(b.parameters + at);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) update(g[e], &m[e], &v[e], &w[e]);
        store_packed_streaming(b.m + at, m);
        store_packed_streaming(b.v + at, v);
        store_packed(b.parameters + at, w);
        if (b.compute != nullptr) {
          Packed<__nv_bfloat16, kWidth> narrow;
#pragma unroll
          for (int e = 0; e < kWidth; ++e) narrow[e] = from_float<__nv_bfloat16>(w[e]);
          store_packed(b.compute + at, narrow);
        }
      } else {
        for (int64_t e = at; e < end; ++e) {
          update(b.gradient[e], b.m + e, b.v + e, b.parameters + e);
          if (b.compute != nullptr) b.compute[e] = from_float<__nv_bfloat16>(b.parameters[e]);
        }
      }
    }
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    convert_kernel(const float* from, __nv_bfloat16* to, int64_t size) {
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kWidth;
  if (at >= size) return;
  if (at + kWidth > size) {
    for (int64_t e = at; e < size; ++e) to[e] = from_float<__nv_bfloat16>(from[e]);
    return;
  }
  constexpr int kPart = kWidth < 4 ? kWidth : 4;
  Packed<__nv_bfloat16, kWidth> narrow;
#pragma unroll
  for (int first = 0; first < kWidth; first += kPart) {
    const Packed<float, kPart> wide = load_packed<kPart>(from + at + first);
#pragma unroll
    for (int e = 0; e < kPart; ++e) narrow[first + e] = from_float<__nv_bfloat16>(wide[e]);
  }
  store_packed(to + at, narrow);
}

}  // namespace

size_t optimizer_workspace(const Capacity&) { return 0; }

void convert_to_bf16(const float* from, __nv_bfloat16* to, int64_t size, cudaStream_t stream) {
  if (is_aligned(from, 16) && is_aligned(to, 16))
    launch("convert_to_bf16", convert_kernel<8>, static_cast<unsigned>(ceil_div(size, 8 * kThreads)),
           kThreads, 0, stream, from, to, size);
  else
    launch("convert_to_bf16", convert_kernel<1>, static_cast<unsigned>(ceil_div(size, kThreads)), kThreads, 0,
           stream, from, to, size);
}

void CudaOperators::gradient_norm(const GradientNorm& p) {
  ELECTRA_CHECK_SHAPE(p.size >= 0 && p.scalars != nullptr &&
                          (p.size == 0 || (p.gradient != nullptr && p.partials != nullptr)) &&
                          (p.segment_count == 0 || p.segments != nullptr),
                      "gradient_norm: %lld elements", static_cast<long long>(p.size));
  const int64_t count = ceil_div(p.size, kPartial);
  if (is_aligned(p.gradient, 16))
    launch("square_sums", square_sums_kernel<4>, static_cast<unsigned>(count), kThreads, 0, stream(),
           p.gradient, p.size, p.partials);
  else
    launch("square_sums", square_sums_kernel<1>, static_cast<unsigned>(count), kThreads, 0, stream(),
           p.gradient, p.size, p.partials);
  launch("finite_check", finite_check_kernel, 1, kSumThreads, 0, stream(), p.gradient, p.size, p.partials,
         count, p.segments, p.segment_count, p.scalars);
}

void CudaOperators::clip_factor(const ClipFactor& p) {
  ELECTRA_CHECK_SHAPE(p.scalars != nullptr && p.count >= 0 && (p.count == 0 || p.partials != nullptr),
                      "clip_factor: %lld partial sums", static_cast<long long>(p.count));
  launch("clip_factor", clip_factor_kernel, 1, kSumThreads, 0, stream(), p.partials, p.count, p.max_norm,
         p.scalars);
}

void CudaOperators::adam_update(const AdamUpdate& p) {
  ELECTRA_CHECK_SHAPE(
      p.scalars != nullptr && p.segment_count >= 0 && (p.segment_count == 0 || p.segments != nullptr),
      "adam_update: %d segments", p.segment_count);
  if (p.segment_count == 0) return;
  AdamBuffers b;
  b.parameters = p.parameters;
  b.gradient = p.gradient;
  b.m = p.m;
  b.v = p.v;
  b.compute = compute_form(p.parameters);
  b.segments = p.segments;
  b.segment_count = p.segment_count;
  b.scalars = p.scalars;
  b.beta1 = static_cast<float>(p.beta1);
  b.rest1 = static_cast<float>(1 - p.beta1);
  b.beta2 = static_cast<float>(p.beta2);
  b.rest2 = static_cast<float>(1 - p.beta2);
  b.epsilon = static_cast<float>(p.epsilon);
  // Where the last segment ends is known on the device alone; blocks go on from stretch to stretch until
  // there.
  const int64_t stretches = std::max<int64_t>(ceil_div(capacity_.parameters, kStretch), 1);
  const auto grid = static_cast<unsigned>(std::min<int64_t>(stretches, int64_t{multiprocessors_} * 32));
  const bool wide = is_aligned(b.parameters, 16) && is_aligned(b.gradient, 16) && is_aligned(b.m, 16) &&
                    is_aligned(b.v, 16) && is_aligned(b.compute, 8);
  if (wide)
    launch("adam", adam_kernel<4>, grid, kThreads, 0, stream(), b);
  else
    launch("adam", adam_kernel<1>, grid, kThreads, 0, stream(), b);
}

}  // namespace electra::cuda
