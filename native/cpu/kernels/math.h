#pragma once
// Elementary functions of sixteen floats. Only for files that are compiled once per instruction set:
// everything lives in that level's namespace, so that the linker can never pick another level's copy.
//
// All polynomials are minimax fits of our own (iterated weighted least squares on the relative error of the
// result). Errors against float64, over the whole range: vexp, vlog, verf, vtanh below 2 ulp; the GELU pairs
// below 1.5e-7 · max(1, |x|).

#include "../simd.h"

#if defined(__AVX512F__)
#include <immintrin.h>  // in the "maskz" forms: GCC 12 warns of uninitialized values in the plain ones
#endif

namespace electra::cpu::ELECTRA_ISA {

ELECTRA_VECTOR_INLINE vf vabs(vf x) { return as_float(as_int(x) & 0x7fffffff); }
/// |magnitude| with the sign bit of `sign`.
ELECTRA_VECTOR_INLINE vf copy_sign(vf magnitude, vf sign) {
  return as_float((as_int(magnitude) & 0x7fffffff) | (as_int(sign) & static_cast<int32_t>(0x80000000u)));
}
/// x < limit ? x : limit, and NaN stays NaN (min and max of simd.h drop it).
ELECTRA_VECTOR_INLINE vf at_most(vf x, float limit) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(
      _mm512_maskz_min_ps(0xFFFF, _mm512_set1_ps(limit), reinterpret_cast<__m512>(x)));
#else
  return select(x > limit, splat(limit), x);
#endif
}
ELECTRA_VECTOR_INLINE vf at_least(vf x, float limit) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(
      _mm512_maskz_max_ps(0xFFFF, _mm512_set1_ps(limit), reinterpret_cast<__m512>(x)));
#else
  return select(x < limit, splat(limit), x);
#endif
}
/// The larger and the smaller of two, as one instruction: the second operand where one of them is NaN.
ELECTRA_VECTOR_INLINE vf vmax(vf a, vf b) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(
      _mm512_maskz_max_ps(0xFFFF, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#else
  return max(a, b);
#endif
}
ELECTRA_VECTOR_INLINE vf vmin(vf a, vf b) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(
      _mm512_maskz_min_ps(0xFFFF, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#else
  return min(a, b);
#endif
}

/// eˣ = 2ⁿ · eʳ with |r| <= ln 2 / 2. Infinite above 88.73; below −103.9 zero.
ELECTRA_VECTOR_INLINE vf vexp(vf x) {
  x = at_most(at_least(x, -104.0f), 89.0f);
  const vf magic = splat(12582912.0f);  // 1.5 · 2²³: adding it rounds to an integer
  const vf t = x * 1.44269504089f + magic;
  const vf n = t - magic;
  // ln 2 in two parts; the first has nine bits, so n times it is exact.
  vf r = x - n * 0.693359375f;
  r = r - n * -2.12194440054690583e-4f;
  vf p = r * 1.9790248586e-04f + 1.3944759164e-03f;
  p = p * r + 8.3334976686e-03f;
  p = p * r + 4.1666293625e-02f;
  p = p * r + 1.6666665865e-01f;
  p = p * r + 5.0000000680e-01f;
  p = p * (r * r) + r + 1.0f;
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(
      _mm512_maskz_scalef_ps(0xFFFF, reinterpret_cast<__m512>(p), reinterpret_cast<__m512>(n)));
#else
  // 2ⁿ in two factors: n reaches −150 and 129, one exponent field does not.
  const vi whole = as_int(t) - 0x4b400000;
  const vi half = whole >> 1;
  return p * as_float((half + 127) << 23) * as_float((whole - half + 127) << 23);
#endif
}

/// log(x) for 0 < x < infinity and normal, where the caller knows that it is. x = 2ᵉ · m with m in [√½, √2).
ELECTRA_VECTOR_INLINE vf vlog_normal(vf x) {
  const vi shifted = as_int(x) - 0x3f3504f3;
  const vf e = to_float(shifted >> 23);
  const vf f = as_float((shifted & 0x007fffff) + 0x3f3504f3) - 1.0f;
  vf p = f * 6.7465968905e-02f + -1.1676041158e-01f;
  p = p * f + 1.1888390580e-01f;
  p = p * f + -1.2405546169e-01f;
  p = p * f + 1.4219518169e-01f;
  p = p * f + -1.6667996765e-01f;
  p = p * f + 2.0002120221e-01f;
  p = p * f + -2.5000009607e-01f;
  p = p * f + 3.3333312584e-01f;
  const vf f2 = f * f;
  vf y = p * f * f2 + e * -2.12194440054690583e-4f;
  y = y - 0.5f * f2;
  y = y + f;
  return y + e * 0.693359375f;
}

/// Natural logarithm; −infinity for zero and denormals, NaN below zero.
ELECTRA_VECTOR_INLINE vf vlog(vf x) {
  const vi bits = as_int(x);
  const vi ordinary = (bits >= 0x00800000) & (bits < 0x7f800000);
  const vi tiny = (bits & 0x7fffffff) < 0x00800000;  // zero or a denormal, of either sign
  const vf beyond = select(bits == 0x7f800000, x, splat(__builtin_nanf("")));
  return select(ordinary, vlog_normal(x), select(tiny, splat(-__builtin_inff()), beyond));
}

/// erf(x): x + x · P(x²) below 1, 1 − exp(−|x| · Q(|x|)) above.
ELECTRA_VECTOR_INLINE vf verf(vf x) {
  const vf s = x * x;
  vf p = s * 7.8538576967e-05f + -8.0101925179e-04f;
  p = p * s + 5.1883275597e-03f;
  p = p * s + -2.6853811869e-02f;
  p = p * s + 1.1283585147e-01f;
  p = p * s + -3.7612625824e-01f;
  p = p * s + 1.2837916573e-01f;
  const vf small = p * x + x;
  const vf z = at_most(vabs(x), 4.1f);  // erf(4.1) is 1 in f32
  vf q = z * 1.3345550624e-05f + -3.4422662259e-04f;
  q = q * z + 3.7307307700e-03f;
  q = q * z + -2.3951466777e-02f;
  q = q * z + 1.0646020911e-01f;
  q = q * z + 6.3501400981e-01f;
  q = q * z + 1.1286829068e+00f;
  const vf large = copy_sign(1.0f - vexp(-z * q), x);
  return select(vabs(x) < 1.0f, small, large);
}

/// tanh(x): x + x³ · P(x²) below 0.63, 1 − 2 / (e^(2|x|) + 1) above.
ELECTRA_VECTOR_INLINE vf vtanh(vf x) {
  const vf s = x * x;
  vf p = s * 2.1180151379e-03f + -8.1506941659e-03f;
  p = p * s + 2.1690152186e-02f;
  p = p * s + -5.3944888450e-02f;
  p = p * s + 1.3333191640e-01f;
  p = p * s + -3.3333330450e-01f;
  const vf small = p * s * x + x;
  const vf z = at_most(vabs(x), 10.0f);
  const vf large = copy_sign(1.0f - 2.0f / (vexp(z + z) + 1.0f), x);
  return select(vabs(x) < 0.63f, small, large);
}

/// GELU x · Φ(x) (Hendrycks & Gimpel 2016) and its derivative Φ(x) + x · φ(x). One exponential serves both:
/// Φ(−z) = e^(−z²/2) · P(1 / (1 + 0.28 z)) for z >= 0.
ELECTRA_VECTOR_INLINE vf gelu_erf(vf x, vf* derivative) {
  const vf z = vabs(x);
  const vf e = vexp(-0.5f * x * x);
  const vf u = 1.0f / (z * 0.28f + 1.0f);
  vf p = u * 2.2497638751e-02f + -8.1916002780e-02f;
  p = p * u + 6.6736848656e-02f;
  p = p * u + 2.4383910845e-02f;
  p = p * u + 5.0768145186e-02f;
  p = p * u + 9.3162445036e-02f;
  p = p * u + 1.0064663583e-01f;
  p = p * u + 1.1203559419e-01f;
  p = p * u + 1.1168480981e-01f;
  const vf tail = e * (p * u);
  const vf cdf = select(x > 0.0f, 1.0f - tail, tail);
  *derivative = cdf + x * e * 0.398942280401f;
  return x * cdf;
}

/// ½x(1 + tanh(√(2/π)(x + 0.044715 x³))) = x · σ(2a) and its derivative, from one exponential of −2|a|.
ELECTRA_VECTOR_INLINE vf gelu_tanh(vf x, vf* derivative) {
  const vf x2 = x * x;
  const vf a2 = x * (x2 * 0.0713548162726f + 1.59576912161f);  // 2a
  const vf e = vexp(-vabs(a2));
  const vf small = e / (e + 1.0f);  // σ(−|2a|)
  const vf sigma = select(a2 > 0.0f, 1.0f - small, small);
  *derivative = sigma + x * (small - small * small) * (x2 * 0.214064448818f + 1.59576912161f);
  return x * sigma;
}

}  // namespace electra::cpu::ELECTRA_ISA
