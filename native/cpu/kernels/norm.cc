#include "norm.h"

#include "../simd.h"
#include "keep_mask.h"

namespace electra::cpu::ELECTRA_ISA {
namespace {

constexpr float kEpsilon = 1e-12f;  // of LayerNorm, as in BERT (Devlin et al. 2019)

#define ELECTRA_INLINE __attribute__((always_inline)) inline

/// Full vectors or, in the last step of a row whose width is no multiple of 16, a part of one.
ELECTRA_INLINE vf read(const float* p, int n) { return n == kLanes ? load(p) : load_part(p, n); }
ELECTRA_INLINE void write(float* p, vf v, int n) {
  if (n == kLanes) {
    store(p, v);
  } else {
    store_part(p, v, n);
  }
}
ELECTRA_INLINE int lanes_at(int64_t column, int64_t width) {
  return width - column >= kLanes ? kLanes : static_cast<int>(width - column);
}
ELECTRA_INLINE uint32_t first_lanes(int n) { return (1u << n) - 1u; }

ELECTRA_INLINE uint32_t keep_bits(const uint8_t* row, int64_t column) {
  uint16_t bits;
  std::memcpy(&bits, row + column / 8, 2);
  return bits;
}

void forward(const NormForwardRows& p) {
  const int64_t width = p.width;
  const int64_t row_bytes = keep_row_bytes(width);
  const bool drops = p.dropout.threshold > 0;
  const float inverse_width = 1.0f / static_cast<float>(width);
  for (int64_t group = p.first; group < p.last; group += kTokenGroup) {
    const int64_t end = group + kTokenGroup < p.last ? group + kTokenGroup : p.last;
    if (drops) keep_rows(p.dropout, group, end, width, p.keep);
    for (int64_t t = group; t < end; ++t) {
      const uint8_t* keep = p.keep + (t - group) * row_bytes;
      float* y = p.y.data + t * p.y.stride;

      // The sum goes to y first; three passes over a row that stays in the first-level cache.
      vf total = {};
      if (p.ids != nullptr) {
        const float* a = p.word + static_cast<int64_t>(p.ids[t]) * width;
        const float* b = p.token_type + static_cast<int64_t>(p.segments[t]) * width;
        const float* c = p.position + static_cast<int64_t>(p.token_position[t]) * width;
        for (int64_t i = 0; i < width; i += kLanes) {
          const int n = lanes_at(i, width);
          const vf v = read(a + i, n) + read(b + i, n) + read(c + i, n);
          write(y + i, v, n);
          total += v;
        }
      } else {
        const float* x = p.x.data + t * p.x.stride;
        const float* residual =
            p.residual.data == nullptr ? nullptr : p.residual.data + t * p.residual.stride;
        const bool drop_input = drops && !p.output_dropout;
        for (int64_t i = 0; i < width; i += kLanes) {
          const int n = lanes_at(i, width);
          vf v = read(x + i, n);
          if (p.bias != nullptr) v += read(p.bias + i, n);
          if (drop_input) v = keep_lanes(v * p.dropout.scale, keep_bits(keep, i));
          if (residual != nullptr) v += read(residual + i, n);
          write(y + i, v, n);
          total += v;
        }
      }
      const float mean = sum(total) * inverse_width;
      vf squares = {};
      for (int64_t i = 0; i < width; i += kLanes) {
        const int n = lanes_at(i, width);
        vf d = read(y + i, n) - mean;
        if (n < kLanes) d = keep_lanes(d, first_lanes(n));
        squares += d * d;
      }
      const float rstd = 1.0f / __builtin_sqrtf(sum(squares) * inverse_width + kEpsilon);
      float* normalized =
          p.normalized.data == nullptr ? nullptr : p.normalized.data + t * p.normalized.stride;
      const bool drop_output = drops && p.output_dropout;
      for (int64_t i = 0; i < width; i += kLanes) {
        const int n = lanes_at(i, width);
        const vf v = (read(y + i, n) - mean) * rstd;
        if (normalized != nullptr) write(normalized + i, v, n);
        vf result = v * read(p.gamma + i, n) + read(p.beta + i, n);
        if (drop_output) result = keep_lanes(result * p.dropout.scale, keep_bits(keep, i));
        write(y + i, result, n);
      }
      if (p.rstd != nullptr) p.rstd[t] = rstd;
    }
  }
}

/// `kCount` tokens at once; with x̂ = normalized and g = dy ⊙ γ: d_sum = rstd · (g − mean(g) − x̂ · mean(g ⊙
/// x̂)).
template <int kCount>
ELECTRA_INLINE void backward_group(const NormBackwardRows& p, int64_t group) {
  const int64_t width = p.width;
  const int64_t row_bytes = keep_row_bytes(width);
  const bool drops = p.dropout.threshold > 0;
  const bool drop_dy = drops && p.output_dropout;
  const float inverse_width = 1.0f / static_cast<float>(width);
  if (drops) keep_rows(p.dropout, group, group + kCount, width, p.keep);
  const float* dy[kCount];
  const float* normalized[kCount];
  float mean[kCount];
  float slope[kCount];
  float rstd[kCount];
  for (int r = 0; r < kCount; ++r) {
    const int64_t t = group + r;
    dy[r] = p.dy.data + t * p.dy.stride;
    normalized[r] = p.normalized.data + t * p.normalized.stride;
    vf sum_g = {};
    vf sum_gx = {};
    for (int64_t i = 0; i < width; i += kLanes) {
      const int n = lanes_at(i, width);
      vf g = read(dy[r] + i, n);
      if (drop_dy) g = keep_lanes(g * p.dropout.scale, keep_bits(p.keep + r * row_bytes, i));
      g *= read(p.gamma + i, n);
      sum_g += g;
      sum_gx += g * read(normalized[r] + i, n);
    }
    mean[r] = sum(sum_g) * inverse_width;
    slope[r] = sum(sum_gx) * inverse_width;
    rstd[r] = p.rstd[t];
  }
  const bool drop_dx = drops && !p.output_dropout;
  for (int64_t i = 0; i < width; i += kLanes) {
    const int n = lanes_at(i, width);
    const vf gamma = read(p.gamma + i, n);
    vf d_gamma = read(p.d_gamma + i, n);
    vf d_beta = read(p.d_beta + i, n);
    vf d_bias = p.d_bias == nullptr ? vf{} : read(p.d_bias + i, n);
#pragma GCC unroll 4
    for (int r = 0; r < kCount; ++r) {
      const int64_t t = group + r;
      vf g = read(dy[r] + i, n);
      if (drop_dy) g = keep_lanes(g * p.dropout.scale, keep_bits(p.keep + r * row_bytes, i));
      const vf x = read(normalized[r] + i, n);
      d_gamma += g * x;
      d_beta += g;
      const vf d = (g * gamma - mean[r] - x * slope[r]) * rstd[r];
      if (p.dx.data != nullptr) {
        vf dx = d;
        if (drop_dx) dx = keep_lanes(dx * p.dropout.scale, keep_bits(p.keep + r * row_bytes, i));
        write(p.dx.data + t * p.dx.stride + i, dx, n);
        d_bias += dx;
      }
      float* target = p.d_sum.data + t * p.d_sum.stride + i;
      write(target, p.add ? read(target, n) + d : d, n);
    }
    write(p.d_gamma + i, d_gamma, n);
    write(p.d_beta + i, d_beta, n);
    if (p.d_bias != nullptr) write(p.d_bias + i, d_bias, n);
  }
}

void backward(const NormBackwardRows& p) {
  const size_t bytes = static_cast<size_t>(p.width) * sizeof(float);
  std::memset(p.d_gamma, 0, bytes);
  std::memset(p.d_beta, 0, bytes);
  if (p.d_bias != nullptr) std::memset(p.d_bias, 0, bytes);
  int64_t t = p.first;
  for (; t + kTokenGroup <= p.last; t += kTokenGroup) backward_group<kTokenGroup>(p, t);
  for (; t < p.last; ++t) backward_group<1>(p, t);
}

void dropout(const DropoutApplyRows& p) {
  const int64_t row_bytes = keep_row_bytes(p.width);
  for (int64_t group = p.first; group < p.last; group += kTokenGroup) {
    const int64_t end = group + kTokenGroup < p.last ? group + kTokenGroup : p.last;
    keep_rows(p.dropout, group, end, p.width, p.keep);
    for (int64_t t = group; t < end; ++t) {
      const float* x = p.x.data + t * p.x.stride;
      float* y = p.y.data + t * p.y.stride;
      for (int64_t i = 0; i < p.width; i += kLanes) {
        const int n = lanes_at(i, p.width);
        write(y + i,
              keep_lanes(read(x + i, n) * p.dropout.scale, keep_bits(p.keep + (t - group) * row_bytes, i)),
              n);
      }
    }
  }
}

void add_partials(const float* partials, int64_t count, int64_t stride, int64_t columns, float* total) {
  for (int64_t i = 0; i < columns; i += kLanes) {
    const int n = lanes_at(i, columns);
    vf v = {};
    for (int64_t b = 0; b < count; ++b) v += read(partials + b * stride + i, n);
    write(total + i, read(total + i, n) + v, n);
  }
}

}  // namespace

void fill(NormKernels& k) {
  k.forward = forward;
  k.backward = backward;
  k.dropout = dropout;
  k.add_partials = add_partials;
}

}  // namespace electra::cpu::ELECTRA_ISA
