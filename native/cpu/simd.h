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

// GCC lowers arithmetic on a vector wider than the processor's registers register by register, but takes comparisons and
// what hangs on them apart into sixteen scalars. So those are written here in pieces of the register's size.
#if defined(__AVX512F__)
#define ELECTRA_PIECE_BYTES 64
#elif defined(__AVX2__)
#define ELECTRA_PIECE_BYTES 32
#else
#define ELECTRA_PIECE_BYTES 16
#endif

inline __attribute__((always_inline)) vf select(vi mask, vf yes, vf no) {
  using whole = int32_t __attribute__((vector_size(ELECTRA_PIECE_BYTES)));
  using real = float __attribute__((vector_size(ELECTRA_PIECE_BYTES)));
  whole m[64 / ELECTRA_PIECE_BYTES];
  real a[64 / ELECTRA_PIECE_BYTES], b[64 / ELECTRA_PIECE_BYTES];
  std::memcpy(m, &mask, 64);
  std::memcpy(a, &yes, 64);
  std::memcpy(b, &no, 64);
  for (int i = 0; i < 64 / ELECTRA_PIECE_BYTES; ++i) a[i] = m[i] ? a[i] : b[i];
  std::memcpy(&yes, a, 64);
  return yes;
}
inline __attribute__((always_inline)) vf max(vf a, vf b) {
  using real = float __attribute__((vector_size(ELECTRA_PIECE_BYTES)));
  real x[64 / ELECTRA_PIECE_BYTES], y[64 / ELECTRA_PIECE_BYTES];
  std::memcpy(x, &a, 64);
  std::memcpy(y, &b, 64);
  for (int i = 0; i < 64 / ELECTRA_PIECE_BYTES; ++i) x[i] = x[i] > y[i] ? x[i] : y[i];
  std::memcpy(&a, x, 64);
  return a;
}
inline __attribute__((always_inline)) vf min(vf a, vf b) {
  using real = float __attribute__((vector_size(ELECTRA_PIECE_BYTES)));
  real x[64 / ELECTRA_PIECE_BYTES], y[64 / ELECTRA_PIECE_BYTES];
  std::memcpy(x, &a, 64);
  std::memcpy(y, &b, 64);
  for (int i = 0; i < 64 / ELECTRA_PIECE_BYTES; ++i) x[i] = x[i] < y[i] ? x[i] : y[i];
  std::memcpy(&a, x, 64);
  return a;
}

/// Horizontal sum in a fixed tree order: halves, quarters, …
inline __attribute__((always_inline)) float sum(vf v) {
  using half = float __attribute__((vector_size(32)));
  using quarter = float __attribute__((vector_size(16)));
  const half h = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                 __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  const quarter q = __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
  const quarter e = q + __builtin_shufflevector(q, q, 2, 3, 2, 3);
  return e[0] + e[1];
}
inline __attribute__((always_inline)) float max_lane(vf v) {
  using quarter = float __attribute__((vector_size(16)));
  quarter a = __builtin_shufflevector(v, v, 0, 1, 2, 3);
  const quarter b = __builtin_shufflevector(v, v, 4, 5, 6, 7);
  const quarter c = __builtin_shufflevector(v, v, 8, 9, 10, 11);
  const quarter d = __builtin_shufflevector(v, v, 12, 13, 14, 15);
  a = a > c ? a : c;
  const quarter e = b > d ? b : d;
  a = a > e ? a : e;
  const float x = a[0] > a[2] ? a[0] : a[2];
  const float y = a[1] > a[3] ? a[1] : a[3];
  return x > y ? x : y;
}

}  // namespace electra::cpu
