#pragma once
// The activation functions and their slopes, in f32. `kExact` takes the library's functions (2-3 ulp), for
// activations kept in f32; otherwise approximations good to 2e-7 serve, far below half a step of bf16 and
// three times as fast: at 16 bits an epilogue would otherwise wait for erf longer than for memory.

#include "../../native/tensor.h"
#include "../platform/platform.h"

namespace electra::cuda {
namespace activations {

constexpr float kSqrtHalf = 0.707106781186547524f;
constexpr float kInverseSqrtTwoPi = 0.398942280401432678f;
constexpr float kTanhGain = 0.797884560802865356f;  // sqrt(2 / pi)
constexpr float kTanhCube = 0.044715f;

/// P(N(0, 1) < x) and exp(−x² / 2). Abramowitz and Stegun 7.1.26, which has the exponential in it.
__device__ __forceinline__ float normal_fast(float x, float* bell) {
  const float a = fabsf(x) * kSqrtHalf;
  const float t = __fdividef(1.0f, fmaf(0.3275911f, a, 1.0f));
  float poly = fmaf(1.061405429f, t, -1.453152027f);
  poly = fmaf(poly, t, 1.421413741f);
  poly = fmaf(poly, t, -0.284496736f);
  poly = fmaf(poly, t, 0.254829592f);
  *bell = __expf(-a * a);
  const float tail = 0.5f * poly * t * *bell;
  return x >= 0 ? 1.0f - tail : tail;
}

template <bool kExact>
__device__ __forceinline__ float hyperbolic_tangent(float x) {
  if (kExact) return tanhf(x);
  // Infinity in the denominator gives 1, and 0 gives −1.
  return 1.0f - __fdividef(2.0f, 1.0f + __expf(2.0f * x));
}

template <bool kExact>
__device__ __forceinline__ float gelu_erf(float x) {
  if (kExact) return 0.5f * x * (1.0f + erff(x * kSqrtHalf));
  float bell;
  return x * normal_fast(x, &bell);
}
template <bool kExact>
__device__ __forceinline__ float gelu_erf_slope(float x) {
  if (kExact) return 0.5f * (1.0f + erff(x * kSqrtHalf)) + x * kInverseSqrtTwoPi * expf(-0.5f * x * x);
  float bell;
  const float below = normal_fast(x, &bell);
  return fmaf(x * kInverseSqrtTwoPi, bell, below);
}

/// tanh-GELU is x · σ(2u) with u = sqrt(2 / π) (x + 0.044715 x³). σ and 1 − σ, neither by a difference.
template <bool kExact>
__device__ __forceinline__ float gelu_tanh_gate(float x, float* rest) {
  const float u = kTanhGain * x * fmaf(kTanhCube * x, x, 1.0f);
  const float bell = kExact ? expf(-2.0f * fabsf(u)) : __expf(-2.0f * fabsf(u));
  const float large = kExact ? 1.0f / (1.0f + bell) : __fdividef(1.0f, 1.0f + bell), small = bell * large;
  *rest = u >= 0 ? small : large;
  return u >= 0 ? large : small;
}
template <bool kExact>
__device__ __forceinline__ float gelu_tanh(float x) {
  float rest;
  return x * gelu_tanh_gate<kExact>(x, &rest);
}
template <bool kExact>
__device__ __forceinline__ float gelu_tanh_slope(float x) {
  // Beyond 16 the slope is 0 or 1 to the last bit; without the limit the square of a huge x times 0 is NaN.
  x = fminf(fmaxf(x, -16.0f), 16.0f);
  float rest;
  const float gate = gelu_tanh_gate<kExact>(x, &rest);
  return fmaf(gate * rest * x, 2.0f * kTanhGain * fmaf(3 * kTanhCube * x, x, 1.0f), gate);
}

}  // namespace activations

template <bool kExact>
__device__ __forceinline__ float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kGeluErf:
      return activations::gelu_erf<kExact>(x);
    case Activation::kGeluTanh:
      return activations::gelu_tanh<kExact>(x);
    case Activation::kRelu:
      return fmaxf(x, 0.0f);
    case Activation::kTanh:
      return activations::hyperbolic_tangent<kExact>(x);
    case Activation::kIdentity:
      break;
  }
  return x;
}

/// The derivative at the pre-activation x.
template <bool kExact>
__device__ __forceinline__ float activation_slope(Activation activation, float x) {
  switch (activation) {
    case Activation::kGeluErf:
      return activations::gelu_erf_slope<kExact>(x);
    case Activation::kGeluTanh:
      return activations::gelu_tanh_slope<kExact>(x);
    case Activation::kRelu:
      return x > 0 ? 1.0f : 0.0f;
    case Activation::kTanh: {
      const float t = activations::hyperbolic_tangent<kExact>(x);
      return 1.0f - t * t;
    }
    case Activation::kIdentity:
      break;
  }
  return 1.0f;
}

/// f32 activations are the parity mode: they get the exact functions.
template <typename T>
constexpr bool kExactActivations = sizeof(T) == 4;

}  // namespace electra::cuda
