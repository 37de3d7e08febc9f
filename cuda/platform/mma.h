#pragma once
// Tensor cores: a 16 x 8 tile of a product of bf16 matrices, by one warp.
//
// Lane = 4 g + t with g = lane / 4 (0..7) and t = lane % 4. Each 32-bit word of a fragment holds two bf16
// neighbours along k, the lower index in the lower half:
//
//   a (16 x 16, row m, column k)        b (16 x 8, row k, column n)       d (16 x 8, row m, column n), float
//     a[0]  row g,     k 2t, 2t+1         b[0]  k 2t,   2t+1, column g      d[0], d[1]  row g,     columns
//     2t, 2t+1 a[1]  row g + 8, k 2t, 2t+1         b[1]  k 2t+8, 2t+9, column g      d[2], d[3]  row g + 8,
//     columns 2t, 2t+1 a[2]  row g,     k 2t+8, 2t+9 a[3]  row g + 8, k 2t+8, 2t+9
//
// So d of one product, rounded to bf16 and packed in pairs, is one half (a[0], a[1] or a[2], a[3]) of the
// next one's a.
//
// ldmatrix reads 8 x 8 matrices of 16-bit elements from shared memory. Lane 8 i + r gives the address of row
// r of matrix i (16 bytes, 16-byte aligned); word i of lane 4 g + t then holds elements 2t, 2t+1 of row g of
// matrix i, or, transposed, rows 2t and 2t+1 of column g. Fragments from it, with x a row-major tile in
// shared memory:
//
//   a, stored [m][k]:  ldmatrix_x4(a, &x[m0 + lane % 16][k0 + lane / 16 * 8])
//   a, stored [k][m]:  ldmatrix_x4_transposed(a, &x[k0 + lane / 16 * 8 + lane % 8][m0 + lane / 8 % 2 * 8])
//   b, stored [n][k]:  ldmatrix_x2(b, &x[n0 + lane % 8][k0 + lane / 8 % 2 * 8])
//   b, stored [k][n]:  ldmatrix_x2_transposed(b, &x[k0 + lane % 16][n0])
//   two b, stored [n][k] (r[0], r[1] for columns n0..n0+7, r[2], r[3] for n0+8..n0+15):
//                      ldmatrix_x4(r, &x[n0 + lane / 16 * 8 + lane % 8][k0 + lane / 8 % 2 * 8])
//   two b, stored [k][n]:
//                      ldmatrix_x4_transposed(r, &x[k0 + lane % 16][n0 + lane / 16 * 8])
//
// All 32 lanes must call these together. ldmatrix_x2 ignores the addresses of lanes 16..31.

#include <cstdint>
#include <cstring>

#include "runtime_header.h"

namespace electra::cuda {

#if defined(ELECTRA_CUDA_EMULATED)

#define ELECTRA_MMA_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/// d += a · b
inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ELECTRA_MMA_SITE) {
  uint32_t (&word)[8] = emulator::lane_slot().word;
  std::memcpy(word, a, sizeof(a));
  std::memcpy(word + 4, b, sizeof(b));
  const emulator::WarpExchange& exchange =
      emulator::warp_exchange({"mma_m16n8k16", file, line}, 0xFFFFFFFFu, &emulator::complete_mma_m16n8k16);
  float product[4];
  std::memcpy(product, exchange.out[emulator::lane_id()].word, sizeof(product));
  for (int i = 0; i < 4; ++i) d[i] += product[i];
}

namespace detail {
inline void ldmatrix(uint32_t* r, int count, const void* row, bool transposed, const emulator::Site& site) {
  const int lane = emulator::lane_id();
  emulator::lane_slot().address = lane < 8 * count ? row : nullptr;
  const emulator::WarpExchange& exchange = emulator::warp_exchange(
      site, 0xFFFFFFFFu, transposed ? &emulator::complete_ldmatrix_transposed : &emulator::complete_ldmatrix);
  for (int i = 0; i < count; ++i) r[i] = exchange.out[lane].word[i];
}
}  // namespace detail

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, ELECTRA_MMA_SITE) {
  detail::ldmatrix(r, 4, row, false, {"ldmatrix_x4", file, line});
}
inline void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row, ELECTRA_MMA_SITE) {
  detail::ldmatrix(r, 4, row, true, {"ldmatrix_x4_transposed", file, line});
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, ELECTRA_MMA_SITE) {
  detail::ldmatrix(r, 2, row, false, {"ldmatrix_x2", file, line});
}
inline void ldmatrix_x2_transposed(uint32_t (&r)[2], const void* row, ELECTRA_MMA_SITE) {
  detail::ldmatrix(r, 2, row, true, {"ldmatrix_x2_transposed", file, line});
}
#undef ELECTRA_MMA_SITE

#else

/// d += a · b
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Not reordered with stores to shared memory: hence "memory".
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_transposed(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}

#endif

/// Two values as a word of a fragment, rounded to nearest even; `low` has the lower index.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  uint32_t word;
  memcpy(&word, &pair, sizeof(word));
  return word;
}

}  // namespace electra::cuda
