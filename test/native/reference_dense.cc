// Reference: linear layers, activations, optimizer.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "reference_operators.h"

namespace electra::test {
namespace {

const double kSqrtHalf = std::sqrt(0.5);
const double kInverseSqrtTwoPi = 1 / std::sqrt(2 * std::acos(-1.0));
const double kTanhGain = std::sqrt(2 / std::acos(-1.0));

/// A dense copy, so that the loops below are plain.
std::vector<double> dense(const MatrixView& m, int64_t rows, int64_t cols) {
  std::vector<double> values(static_cast<size_t>(rows * cols));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) values[static_cast<size_t>(r * cols + c)] = m.at(r, c);
  }
  return values;
}

}  // namespace

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kGeluErf:
      return 0.5 * x * std::erfc(-x * kSqrtHalf);
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(kTanhGain * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kIdentity:
      break;
  }
  return x;
}

double activate_slope(Activation activation, double x) {
  switch (activation) {
    case Activation::kGeluErf:
      return 0.5 * std::erfc(-x * kSqrtHalf) + x * kInverseSqrtTwoPi * std::exp(-0.5 * x * x);
    case Activation::kGeluTanh: {
      const double t = std::tanh(kTanhGain * (x + 0.044715 * x * x * x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * kTanhGain * (1 + 3 * 0.044715 * x * x);
    }
    case Activation::kRelu:
      return x > 0 ? 1 : 0;
    case Activation::kTanh:
      return 1 - std::tanh(x) * std::tanh(x);
    case Activation::kIdentity:
      break;
  }
  return 1;
}

ReferenceOperators::ReferenceOperators() {
  std::strcpy(info_.device, "reference");
  std::strcpy(info_.gemm, "naive");
  std::strcpy(info_.isa, "float64");
}

void ReferenceOperators::download(void* host, const void* device, size_t bytes) {
  std::memcpy(host, device, bytes);
}

void ReferenceOperators::zero(void* device, size_t bytes) {
  const std::vector<char> zeros(bytes, 0);
  memory_.upload(device, zeros.data(), bytes);
}

void clear_beyond(const MatrixView& m, const Extent& extent, int64_t columns) {
  for (int64_t r = count_of(extent); r < extent.capacity; ++r) {
    for (int64_t c = 0; c < columns; ++c) m.set(r, c, 0);
  }
}

void ReferenceOperators::linear_forward(const LinearForward& p) {
  const int64_t n = count_of(p.tokens), in = p.weight.rows, out = p.weight.cols;
  const std::vector<double> x = dense(memory_.matrix(p.x), n, in),
                            w = dense(memory_.matrix(p.weight), in, out);
  const View bias = memory_.view(p.bias);
  const MatrixView y = memory_.matrix(p.y), aux = memory_.matrix(p.aux);
  std::vector<double> sum(static_cast<size_t>(out));
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t o = 0; o < out; ++o) sum[o] = bias ? bias[o] : 0;
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t o = 0; o < out; ++o) sum[o] += x[t * in + i] * w[i * out + o];
    }
    for (int64_t o = 0; o < out; ++o) {
      y.set(t, o, activate(p.activation, sum[o]));
      if (aux) aux.set(t, o, sum[o]);
    }
  }
  clear_beyond(y, p.tokens, out);
  if (aux) clear_beyond(aux, p.tokens, out);
}

void ReferenceOperators::linear_backward_data(const LinearBackwardData& p) {
  const int64_t n = count_of(p.tokens), in = p.weight.rows, out = p.weight.cols;
  const std::vector<double> dy = dense(memory_.matrix(p.dy), n, out),
                            w = dense(memory_.matrix(p.weight), in, out);
  const MatrixView aux = memory_.matrix(p.aux), dx = memory_.matrix(p.dx);
  const View d_bias = memory_.view(p.d_bias_of_input);
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t i = 0; i < in; ++i) {
      double sum = 0;
      for (int64_t o = 0; o < out; ++o) sum += dy[t * out + o] * w[i * out + o];
      if (p.activation != Activation::kIdentity) sum *= activate_slope(p.activation, aux.at(t, i));
      dx.put(t, i, sum, p.into);
      if (d_bias) d_bias.add(i, dx.at(t, i));
    }
  }
  if (p.into == Into::kWrite) clear_beyond(dx, p.tokens, in);
}

void ReferenceOperators::linear_backward_weight(const LinearBackwardWeight& p) {
  const int64_t n = count_of(p.tokens), in = p.x.cols, out = p.dy.cols;
  const std::vector<double> x = dense(memory_.matrix(p.x), n, in), dy = dense(memory_.matrix(p.dy), n, out);
  const MatrixView dw(memory_.view(p.d_weight), p.d_weight_stride);
  const View d_bias = memory_.view(p.d_bias);
  std::vector<double> sum(static_cast<size_t>(in * out), 0.0);
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t o = 0; o < out; ++o) sum[i * out + o] += x[t * in + i] * dy[t * out + o];
    }
    for (int64_t o = 0; d_bias && o < out; ++o) d_bias.add(o, dy[t * out + o]);
  }
  if (p.d_weight == nullptr) return;
  for (int64_t i = 0; i < in; ++i) {
    for (int64_t o = 0; o < out; ++o) dw.add(i, o, sum[i * out + o]);
  }
}

void ReferenceOperators::activation_forward(const ActivationForward& p) {
  const MatrixView x = memory_.matrix(p.x), y = memory_.matrix(p.y), aux = memory_.matrix(p.aux);
  for (int64_t t = 0; t < count_of(p.tokens); ++t) {
    for (int64_t c = 0; c < p.x.cols; ++c) {
      const double value = x.at(t, c);
      y.set(t, c, activate(p.activation, value));
      if (aux) aux.set(t, c, value);
    }
  }
  clear_beyond(y, p.tokens, p.x.cols);
  if (aux) clear_beyond(aux, p.tokens, p.x.cols);
}

void ReferenceOperators::activation_backward(const ActivationBackward& p) {
  const MatrixView dy = memory_.matrix(p.dy), aux = memory_.matrix(p.aux), dx = memory_.matrix(p.dx);
  for (int64_t t = 0; t < count_of(p.tokens); ++t) {
    for (int64_t c = 0; c < p.dy.cols; ++c) {
      const double slope =
          p.activation == Activation::kIdentity ? 1 : activate_slope(p.activation, aux.at(t, c));
      dx.set(t, c, dy.at(t, c) * slope);
    }
  }
  clear_beyond(dx, p.tokens, p.dy.cols);
}

void ReferenceOperators::gradient_norm(const GradientNorm& p) {
  const View g = memory_.view(p.gradient);
  for (int64_t begin = 0, i = 0; begin < p.size; begin += 4096, ++i) {
    double sum = 0;
    for (int64_t e = begin; e < std::min(p.size, begin + 4096); ++e) sum += g[e] * g[e];
    p.partials[i] = sum;
  }
  p.scalars->finite = 1;
  p.scalars->nonfinite_segment = -1;
  for (int32_t s = p.segment_count - 1; s >= 0; --s) {
    for (int64_t e = 0; e < p.segments[s].size; ++e) {
      if (std::isfinite(g[p.segments[s].offset + e])) continue;
      p.scalars->finite = 0;
      p.scalars->nonfinite_segment = s;
    }
  }
}

void ReferenceOperators::clip_factor(const ClipFactor& p) {
  double sum = 0;
  for (int64_t i = 0; i < p.count; ++i) sum += p.partials[i];
  const double norm = std::sqrt(sum);
  memory_.view(&p.scalars->gradient_norm).set(0, norm);
  memory_.view(&p.scalars->clip_scale).set(0, norm > p.max_norm ? p.max_norm / norm : 1);
}

void ReferenceOperators::adam_update(const AdamUpdate& p) {
  if (p.scalars->finite == 0) return;
  const View w = memory_.view(p.parameters), g = memory_.view(p.gradient);
  const View m = memory_.view(p.m), v = memory_.view(p.v);
  const double clip = memory_.view(&p.scalars->clip_scale)[0];
  for (int32_t s = 0; s < p.segment_count; ++s) {
    const Segment& segment = p.segments[s];
    for (int64_t e = segment.offset; e < segment.offset + segment.size; ++e) {
      const double gradient = clip * g[e];
      m.set(e, static_cast<double>(p.beta1) * m[e] + (1 - static_cast<double>(p.beta1)) * gradient);
      v.set(e,
            static_cast<double>(p.beta2) * v[e] + (1 - static_cast<double>(p.beta2)) * gradient * gradient);
      const double update = m[e] / (std::sqrt(v[e]) + p.epsilon) + segment.decay * w[e];
      w.add(e, -static_cast<double>(p.scalars->learning_rate) * segment.learning_rate_scale * update);
    }
  }
}

}  // namespace electra::test
