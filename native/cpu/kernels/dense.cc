#include "dense.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#include "dense_head.h"
#include "math.h"
#include "matmul.h"

namespace electra::cpu::ELECTRA_ISA {
namespace {

struct Identity {
  ELECTRA_VECTOR_INLINE vf apply(vf x, vf* derivative) {
    *derivative = splat(1.0f);
    return x;
  }
};
struct GeluErf {
  ELECTRA_VECTOR_INLINE vf apply(vf x, vf* derivative) { return gelu_erf(x, derivative); }
};
struct GeluTanh {
  ELECTRA_VECTOR_INLINE vf apply(vf x, vf* derivative) { return gelu_tanh(x, derivative); }
};
struct Relu {
  ELECTRA_VECTOR_INLINE vf apply(vf x, vf* derivative) {
    *derivative = select(x > 0.0f, splat(1.0f), splat(0.0f));
    return select(x <= 0.0f, splat(0.0f), x);  // NaN stays NaN
  }
};
struct Tanh {
  ELECTRA_VECTOR_INLINE vf apply(vf x, vf* derivative) {
    const vf y = vtanh(x);
    *derivative = 1.0f - y * y;
    return y;
  }
};

template <typename Function>
void bias_activation_with(int64_t rows, int64_t cols, const float* x, int64_t x_stride, const float* bias,
                          float* y, int64_t y_stride, float* aux, int64_t aux_stride) {
  const int64_t whole = cols / kLanes * kLanes;
  const int rest = static_cast<int>(cols - whole);
  for (int64_t r = 0; r < rows; ++r, x += x_stride, y += y_stride, aux += aux != nullptr ? aux_stride : 0) {
    vf derivative;
    for (int64_t c = 0; c < whole; c += kLanes) {
      vf v = load(x + c);
      if (bias != nullptr) v += load(bias + c);
      store(y + c, Function::apply(v, &derivative));
      if (aux != nullptr) store(aux + c, derivative);
    }
    if (rest == 0) continue;
    vf v = load_part(x + whole, rest);
    if (bias != nullptr) v += load_part(bias + whole, rest);
    store_part(y + whole, Function::apply(v, &derivative), rest);
    if (aux != nullptr) store_part(aux + whole, derivative, rest);
  }
}

void bias_activation(int64_t rows, int64_t cols, const float* x, int64_t x_stride, const float* bias,
                     Activation activation, float* y, int64_t y_stride, float* aux, int64_t aux_stride) {
  switch (activation) {
    case Activation::kIdentity:
      return bias_activation_with<Identity>(rows, cols, x, x_stride, bias, y, y_stride, aux, aux_stride);
    case Activation::kGeluErf:
      return bias_activation_with<GeluErf>(rows, cols, x, x_stride, bias, y, y_stride, aux, aux_stride);
    case Activation::kGeluTanh:
      return bias_activation_with<GeluTanh>(rows, cols, x, x_stride, bias, y, y_stride, aux, aux_stride);
    case Activation::kRelu:
      return bias_activation_with<Relu>(rows, cols, x, x_stride, bias, y, y_stride, aux, aux_stride);
    case Activation::kTanh:
      return bias_activation_with<Tanh>(rows, cols, x, x_stride, bias, y, y_stride, aux, aux_stride);
  }
}

void multiply_elements(int64_t rows, int64_t cols, const float* x, int64_t x_stride, const float* factor,
                       int64_t factor_stride, float* y, int64_t y_stride) {
  const int64_t whole = cols / kLanes * kLanes;
  const int rest = static_cast<int>(cols - whole);
  for (int64_t r = 0; r < rows; ++r, x += x_stride, factor += factor_stride, y += y_stride) {
    for (int64_t c = 0; c < whole; c += kLanes) store(y + c, load(x + c) * load(factor + c));
    if (rest > 0) store_part(y + whole, load_part(x + whole, rest) * load_part(factor + whole, rest), rest);
  }
}

/// Sixteen columns (or the `n` that are left) over all rows; stretches of 256 rows bound the rounding error.
template <bool kWhole>
ELECTRA_VECTOR_INLINE vf column_strip(int64_t rows, const float* x, int64_t stride, int n) {
  vf total = {};
  for (int64_t first = 0; first < rows; first += 256) {
    const int64_t last = first + 256 < rows ? first + 256 : rows;
    vf partial = {};
    for (int64_t r = first; r < last; ++r)
      partial += kWhole ? load(x + r * stride) : load_part(x + r * stride, n);
    total += partial;
  }
  return total;
}

void column_sums(int64_t rows, int64_t cols, const float* x, int64_t stride, bool add, float* sums) {
  int64_t c = 0;
  // Four strips side by side use a whole row of cache lines and hide the latency of the additions.
  for (; c + 4 * kLanes <= cols; c += 4 * kLanes) {
    vf total[4] = {};
    for (int64_t first = 0; first < rows; first += 256) {
      const int64_t last = first + 256 < rows ? first + 256 : rows;
      vf p0 = {}, p1 = {}, p2 = {}, p3 = {};
      for (int64_t r = first; r < last; ++r) {
        const float* row = x + r * stride + c;
        p0 += load(row);
        p1 += load(row + kLanes);
        p2 += load(row + 2 * kLanes);
        p3 += load(row + 3 * kLanes);
      }
      total[0] += p0;
      total[1] += p1;
      total[2] += p2;
      total[3] += p3;
    }
    for (int i = 0; i < 4; ++i) {
      float* target = sums + c + i * kLanes;
      store(target, add ? load(target) + total[i] : total[i]);
    }
  }
  for (; c + kLanes <= cols; c += kLanes) {
    const vf total = column_strip<true>(rows, x + c, stride, kLanes);
    store(sums + c, add ? load(sums + c) + total : total);
  }
  if (c < cols) {
    const int n = static_cast<int>(cols - c);
    const vf total = column_strip<false>(rows, x + c, stride, n);
    store_part(sums + c, add ? load_part(sums + c, n) + total : total, n);
  }
}

void add(int64_t count, const float* x, float* y) {
  const int64_t whole = count / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) store(y + i, load(y + i) + load(x + i));
  for (int64_t i = whole; i < count; ++i) y[i] += x[i];
}

constexpr int kDoubles = ELECTRA_PIECE_BYTES / 8;
using doubles = double __attribute__((vector_size(ELECTRA_PIECE_BYTES)));
using half_floats = float __attribute__((vector_size(ELECTRA_PIECE_BYTES / 2)));

double sum_of_squares(int64_t count, const float* g) {
  constexpr int kParts = kLanes / kDoubles;
  doubles part[kParts] = {};
  const int64_t whole = count / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
#pragma GCC unroll 8
    for (int j = 0; j < kParts; ++j) {
      half_floats x;
      std::memcpy(&x, g + i + j * kDoubles, sizeof(x));
      const doubles d = __builtin_convertvector(x, doubles);
      part[j] += d * d;
    }
  }
  double total = 0;
  for (int j = 0; j < kParts; ++j)
    for (int i = 0; i < kDoubles; ++i) total += part[j][i];
  for (int64_t i = whole; i < count; ++i) total += static_cast<double>(g[i]) * static_cast<double>(g[i]);
  return total;
}

#if defined(__AVX512F__)
ELECTRA_VECTOR_INLINE vf square_root(vf x) {
  return reinterpret_cast<vf>(_mm512_maskz_sqrt_ps(0xFFFF, reinterpret_cast<__m512>(x)));
}
#else
ELECTRA_VECTOR_INLINE vf::Piece square_root(vf::Piece x) {
#if defined(__AVX2__)
  return _mm256_sqrt_ps(x);
#elif defined(__SSE2__)
  return _mm_sqrt_ps(x);
#else
  for (int i = 0; i < vf::kWidth; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}
ELECTRA_VECTOR_INLINE vf square_root(vf x) { ELECTRA_EACH_PIECE(vf, square_root(x.piece[p])); }
#endif

void adam(const AdamStretch& s) {
  for (int64_t i = 0; i < s.count; i += kLanes) {
    const int n = static_cast<int>(s.count - i < kLanes ? s.count - i : kLanes);
    const bool whole = n == kLanes;
    const vf g = (whole ? load(s.gradient + i) : load_part(s.gradient + i, n)) * s.clip;
    const vf m = (whole ? load(s.m + i) : load_part(s.m + i, n)) * s.beta1 + g * s.rest1;
    const vf v = (whole ? load(s.v + i) : load_part(s.v + i, n)) * s.beta2 + g * g * s.rest2;
    const vf w = whole ? load(s.parameters + i) : load_part(s.parameters + i, n);
    const vf update = m / (square_root(v) + s.epsilon) + w * s.decay;
    const vf next = w - update * s.learning_rate;
    if (whole) {
      store(s.m + i, m);
      store(s.v + i, v);
      store(s.parameters + i, next);
    } else {
      store_part(s.m + i, m, n);
      store_part(s.v + i, v, n);
      store_part(s.parameters + i, next, n);
    }
  }
}

}  // namespace

void fill(DenseKernels& k) {
  k.matmul = matmul;
  k.matmul_floats = matmul_scratch();
  k.matmul_panel = matmul_panel();
  k.matmul_wants_panels = matmul_wants_panels;
  k.matmul_pack = matmul_pack;
  k.matmul_packed = matmul_packed;
  k.bias_activation = bias_activation;
  k.multiply_elements = multiply_elements;
  k.column_sums = column_sums;
  k.add = add;
  k.logit_tile = logit_tile;
  k.logit_gradient = logit_gradient;
  k.sum_of_squares = sum_of_squares;
  k.adam = adam;
}

}  // namespace electra::cpu::ELECTRA_ISA
