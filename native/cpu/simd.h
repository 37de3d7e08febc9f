#pragma once
// The vector type of the CPU kernels: sixteen floats, whatever the processor has. One 512-bit register, two
// of 256 bits or four of 128 bits, so every kernel is written once, compiled once per instruction set (see
// kernel_table.h), and sums in the same order on all of them.
//
// With AVX-512 it is GCC's vector extension. Below, GCC would take the same source apart through memory and
// scalars (ten times slower, measured), so there the type is an array of registers with operators. Kernels
// therefore write select(a < b, x, y) instead of a conditional expression, and as_int, as_float, to_float
// instead of casts.
//
// Only for files in kernels/: what is here differs between instruction sets, hence the namespace.

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#define ELECTRA_PIECE_BYTES 64
#elif defined(__AVX2__)
#define ELECTRA_PIECE_BYTES 32
#else
#define ELECTRA_PIECE_BYTES 16
#endif
#define ELECTRA_VECTOR_INLINE static inline __attribute__((always_inline, unused))

namespace electra::cpu::ELECTRA_ISA {

constexpr int kLanes = 16;

#if defined(__AVX512F__)

using vf = float __attribute__((vector_size(64)));
using vi = int32_t __attribute__((vector_size(64)));
using vu = uint32_t __attribute__((vector_size(64)));

ELECTRA_VECTOR_INLINE vf load(const float* p) {
  vf v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
ELECTRA_VECTOR_INLINE void store(float* p, vf v) { std::memcpy(p, &v, sizeof(v)); }
ELECTRA_VECTOR_INLINE vf splat(float x) { return x - vf{}; }
ELECTRA_VECTOR_INLINE vi splat_i(int32_t x) { return x - vi{}; }
ELECTRA_VECTOR_INLINE vu splat_u(uint32_t x) { return x - vu{}; }
ELECTRA_VECTOR_INLINE vi as_int(vf x) { return reinterpret_cast<vi>(x); }
ELECTRA_VECTOR_INLINE vi as_int(vu x) { return reinterpret_cast<vi>(x); }
ELECTRA_VECTOR_INLINE vf as_float(vi x) { return reinterpret_cast<vf>(x); }
ELECTRA_VECTOR_INLINE vf to_float(vi x) { return __builtin_convertvector(x, vf); }
/// mask ? yes : no in every lane; a mask is what a comparison gives.
ELECTRA_VECTOR_INLINE vf select(vi mask, vf yes, vf no) { return mask ? yes : no; }
ELECTRA_VECTOR_INLINE vi select(vi mask, vi yes, vi no) { return mask ? yes : no; }
ELECTRA_VECTOR_INLINE vf max(vf a, vf b) { return a > b ? a : b; }
ELECTRA_VECTOR_INLINE vf min(vf a, vf b) { return a < b ? a : b; }

#else

/// Sixteen elements in as many registers as they need.
template <typename T>
struct Wide {
  using Scalar = T;
  typedef T Piece __attribute__((vector_size(ELECTRA_PIECE_BYTES)));  // not `using`: GCC loses the attribute
  static constexpr int kPieces = 64 / ELECTRA_PIECE_BYTES;
  static constexpr int kWidth = ELECTRA_PIECE_BYTES / 4;
  alignas(64) Piece piece[kPieces];

  Wide() = default;
  __attribute__((always_inline))
  Wide(T a, T b, T c, T d, T e, T f, T g, T h, T i, T j, T k, T l, T m, T n, T o, T p) {
    const T lanes[16] = {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};
    std::memcpy(&piece[0], lanes, sizeof(Piece));
    std::memcpy(&piece[1], lanes + kWidth, sizeof(Piece));
#if ELECTRA_PIECE_BYTES == 16
    std::memcpy(&piece[2], lanes + 2 * kWidth, sizeof(Piece));
    std::memcpy(&piece[3], lanes + 3 * kWidth, sizeof(Piece));
#endif
  }
  __attribute__((always_inline)) T operator[](int lane) const { return piece[lane / kWidth][lane % kWidth]; }
};
using vf = Wide<float>;
using vi = Wide<int32_t>;
using vu = Wide<uint32_t>;

// The result of `expression` on every piece p. Written out, not a loop: the indices must be constants early
// enough for the compiler to keep the pieces in registers.
#define ELECTRA_ONE_PIECE(i, expression) \
  {                                      \
    constexpr int p = i;                 \
    result.piece[p] = (expression);      \
  }
#if ELECTRA_PIECE_BYTES == 32
#define ELECTRA_EACH_PIECE(Result, expression) \
  Result result;                               \
  ELECTRA_ONE_PIECE(0, expression)             \
  ELECTRA_ONE_PIECE(1, expression)             \
  return result
#else
#define ELECTRA_EACH_PIECE(Result, expression) \
  Result result;                               \
  ELECTRA_ONE_PIECE(0, expression)             \
  ELECTRA_ONE_PIECE(1, expression)             \
  ELECTRA_ONE_PIECE(2, expression)             \
  ELECTRA_ONE_PIECE(3, expression)             \
  return result
#endif

ELECTRA_VECTOR_INLINE vf::Piece load_piece(const float* from) {
  vf::Piece piece;
  std::memcpy(&piece, from, sizeof(piece));
  return piece;
}
ELECTRA_VECTOR_INLINE void store_piece(float* to, vf::Piece piece) { std::memcpy(to, &piece, sizeof(piece)); }
ELECTRA_VECTOR_INLINE vf load(const float* from) {
  ELECTRA_EACH_PIECE(vf, load_piece(from + p * vf::kWidth));
}
ELECTRA_VECTOR_INLINE void store(float* to, vf v) {
  store_piece(to, v.piece[0]);
  store_piece(to + vf::kWidth, v.piece[1]);
#if ELECTRA_PIECE_BYTES == 16
  store_piece(to + 2 * vf::kWidth, v.piece[2]);
  store_piece(to + 3 * vf::kWidth, v.piece[3]);
#endif
}
ELECTRA_VECTOR_INLINE vf splat(float x) { ELECTRA_EACH_PIECE(vf, x - vf::Piece{}); }
ELECTRA_VECTOR_INLINE vi splat_i(int32_t x) { ELECTRA_EACH_PIECE(vi, x - vi::Piece{}); }
ELECTRA_VECTOR_INLINE vu splat_u(uint32_t x) { ELECTRA_EACH_PIECE(vu, x - vu::Piece{}); }

#define ELECTRA_OPERATOR(op, Result)                                                \
  template <typename T>                                                             \
  ELECTRA_VECTOR_INLINE Result operator op(Wide<T> a, Wide<T> b) {                  \
    ELECTRA_EACH_PIECE(Result, a.piece[p] op b.piece[p]);                           \
  }                                                                                 \
  template <typename T>                                                             \
  ELECTRA_VECTOR_INLINE Result operator op(Wide<T> a, typename Wide<T>::Scalar b) { \
    ELECTRA_EACH_PIECE(Result, a.piece[p] op(b - typename Wide<T>::Piece{}));       \
  }                                                                                 \
  template <typename T>                                                             \
  ELECTRA_VECTOR_INLINE Result operator op(typename Wide<T>::Scalar a, Wide<T> b) { \
    ELECTRA_EACH_PIECE(Result, (a - typename Wide<T>::Piece{}) op b.piece[p]);      \
  }
#define ELECTRA_ASSIGNMENT(op)                                                            \
  template <typename T>                                                                   \
  ELECTRA_VECTOR_INLINE Wide<T>& operator op##=(Wide<T>& a, Wide<T> b) {                  \
    return a = a op b;                                                                    \
  }                                                                                       \
  template <typename T>                                                                   \
  ELECTRA_VECTOR_INLINE Wide<T>& operator op##=(Wide<T>& a, typename Wide<T>::Scalar b) { \
    return a = a op b;                                                                    \
  }
#define ELECTRA_SHIFT(op)                                          \
  template <typename T>                                            \
  ELECTRA_VECTOR_INLINE Wide<T> operator op(Wide<T> a, int bits) { \
    ELECTRA_EACH_PIECE(Wide<T>, a.piece[p] op bits);               \
  }
ELECTRA_OPERATOR(+, Wide<T>)
ELECTRA_OPERATOR(-, Wide<T>)
ELECTRA_OPERATOR(*, Wide<T>)
ELECTRA_OPERATOR(/, Wide<T>)
ELECTRA_OPERATOR(&, Wide<T>)
ELECTRA_OPERATOR(|, Wide<T>)
ELECTRA_OPERATOR(^, Wide<T>)
ELECTRA_ASSIGNMENT(+)
ELECTRA_ASSIGNMENT(-)
ELECTRA_ASSIGNMENT(*)
ELECTRA_ASSIGNMENT(/)
ELECTRA_ASSIGNMENT(&)
ELECTRA_ASSIGNMENT(|)
ELECTRA_ASSIGNMENT(^)
ELECTRA_OPERATOR(<, vi)
ELECTRA_OPERATOR(<=, vi)
ELECTRA_OPERATOR(>, vi)
ELECTRA_OPERATOR(>=, vi)
ELECTRA_OPERATOR(==, vi)
ELECTRA_OPERATOR(!=, vi)
ELECTRA_SHIFT(<<)
ELECTRA_SHIFT(>>)
template <typename T>
ELECTRA_VECTOR_INLINE Wide<T> operator-(Wide<T> a) {
  ELECTRA_EACH_PIECE(Wide<T>, -a.piece[p]);
}
template <typename T>
ELECTRA_VECTOR_INLINE Wide<T> operator~(Wide<T> a) {
  ELECTRA_EACH_PIECE(Wide<T>, ~a.piece[p]);
}
#undef ELECTRA_OPERATOR
#undef ELECTRA_ASSIGNMENT
#undef ELECTRA_SHIFT

ELECTRA_VECTOR_INLINE vi as_int(vf x) { ELECTRA_EACH_PIECE(vi, reinterpret_cast<vi::Piece>(x.piece[p])); }
ELECTRA_VECTOR_INLINE vi as_int(vu x) { ELECTRA_EACH_PIECE(vi, reinterpret_cast<vi::Piece>(x.piece[p])); }
ELECTRA_VECTOR_INLINE vf as_float(vi x) { ELECTRA_EACH_PIECE(vf, reinterpret_cast<vf::Piece>(x.piece[p])); }
ELECTRA_VECTOR_INLINE vf to_float(vi x) {
  ELECTRA_EACH_PIECE(vf, __builtin_convertvector(x.piece[p], vf::Piece));
}
/// mask ? yes : no in every lane; a mask is what a comparison gives.
ELECTRA_VECTOR_INLINE vf select(vi mask, vf yes, vf no) {
  ELECTRA_EACH_PIECE(vf, mask.piece[p] ? yes.piece[p] : no.piece[p]);
}
ELECTRA_VECTOR_INLINE vi select(vi mask, vi yes, vi no) {
  ELECTRA_EACH_PIECE(vi, mask.piece[p] ? yes.piece[p] : no.piece[p]);
}
ELECTRA_VECTOR_INLINE vf max(vf a, vf b) {
  ELECTRA_EACH_PIECE(vf, a.piece[p] > b.piece[p] ? a.piece[p] : b.piece[p]);
}
ELECTRA_VECTOR_INLINE vf min(vf a, vf b) {
  ELECTRA_EACH_PIECE(vf, a.piece[p] < b.piece[p] ? a.piece[p] : b.piece[p]);
}

#endif

/// The first n < 16 floats; the rest are zero. Reads nothing beyond them.
ELECTRA_VECTOR_INLINE vf load_part(const float* p, int n) {
  float lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * 4);
  return load(lanes);
}
ELECTRA_VECTOR_INLINE void store_part(float* p, vf v, int n) {
  float lanes[kLanes];
  store(lanes, v);
  std::memcpy(p, lanes, static_cast<size_t>(n) * 4);
}

namespace simd_detail {
using Quarter = float __attribute__((vector_size(16)));
using Half = float __attribute__((vector_size(32)));
/// Lanes 0 … 3, 4 … 7, 8 … 11 and 12 … 15.
struct Quarters {
  Quarter q[4];
};
ELECTRA_VECTOR_INLINE Quarters quarters(vf v) {
#if defined(__AVX512F__)
  return Quarters{{__builtin_shufflevector(v, v, 0, 1, 2, 3), __builtin_shufflevector(v, v, 4, 5, 6, 7),
                   __builtin_shufflevector(v, v, 8, 9, 10, 11),
                   __builtin_shufflevector(v, v, 12, 13, 14, 15)}};
#elif ELECTRA_PIECE_BYTES == 32
  const Half a = v.piece[0], b = v.piece[1];
  return Quarters{{__builtin_shufflevector(a, a, 0, 1, 2, 3), __builtin_shufflevector(a, a, 4, 5, 6, 7),
                   __builtin_shufflevector(b, b, 0, 1, 2, 3), __builtin_shufflevector(b, b, 4, 5, 6, 7)}};
#else
  return Quarters{{v.piece[0], v.piece[1], v.piece[2], v.piece[3]}};
#endif
}
}  // namespace simd_detail

/// Horizontal sum in a fixed tree order: halves, quarters, …
ELECTRA_VECTOR_INLINE float sum(vf v) {
  const simd_detail::Quarters x = simd_detail::quarters(v);
  const simd_detail::Quarter q = (x.q[0] + x.q[2]) + (x.q[1] + x.q[3]);
  const simd_detail::Quarter e = q + __builtin_shufflevector(q, q, 2, 3, 2, 3);
  return e[0] + e[1];
}
ELECTRA_VECTOR_INLINE float max_lane(vf v) {
  const simd_detail::Quarters x = simd_detail::quarters(v);
  const simd_detail::Quarter a = x.q[0] > x.q[2] ? x.q[0] : x.q[2];
  const simd_detail::Quarter b = x.q[1] > x.q[3] ? x.q[1] : x.q[3];
  const simd_detail::Quarter c = a > b ? a : b;
  const float y = c[0] > c[2] ? c[0] : c[2];
  const float z = c[1] > c[3] ? c[1] : c[3];
  return y > z ? y : z;
}

}  // namespace electra::cpu::ELECTRA_ISA
