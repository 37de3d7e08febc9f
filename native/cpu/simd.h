#pragma once
// The vector type of the CPU kernels: sixteen floats, whatever the processor has. GCC's vector extension lowers it to one
// 512-bit, two 256-bit or four 128-bit registers, so every kernel is written once, compiled once per instruction set
// (see kernel_table.h), and sums in the same order on all of them.

#include <cmath>
#include <cstdint>
#include <cstring>

namespace electra::cpu {

constexpr int kLanes = 16;
using vf = float __attribute__((vector_size(64)));
using vi = int32_t __attribute__((vector_size(64)));
using vu = uint32_t __attribute__((vector_size(64)));

inline vf splat(float x) { return x - vf{}; }
inline vi splat_i(int32_t x) { return x - vi{}; }
inline vu splat_u(uint32_t x) { return x - vu{}; }

inline vf load(const float* p) {
  vf v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline void store(float* p, vf v) { std::memcpy(p, &v, sizeof(v)); }
/// The first n < 16 floats; the rest are zero. Reads nothing beyond them.
inline vf load_part(const float* p, int n) {
  vf v = {};
  std::memcpy(&v, p, static_cast<size_t>(n) * 4);
  return v;
}
inline void store_part(float* p, vf v, int n) { std::memcpy(p, &v, static_cast<size_t>(n) * 4); }

inline vf select(vi mask, vf yes, vf no) { return mask ? yes : no; }
inline vf max(vf a, vf b) { return a > b ? a : b; }
inline vf min(vf a, vf b) { return a < b ? a : b; }

/// Horizontal sum in a fixed tree order: halves, quarters, …
inline float sum(vf v) {
  float a[16];
  std::memcpy(a, &v, sizeof(v));
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) a[i] += a[i + half];
  return a[0];
}
inline float max_lane(vf v) {
  float a[16];
  std::memcpy(a, &v, sizeof(v));
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) a[i] = a[i] > a[i + half] ? a[i] : a[i + half];
  return a[0];
}

}  // namespace electra::cpu
