#pragma once
// Tiles of one head (64 columns of bf16) in shared memory, and how warps read them. A row is 128 bytes, all 32 banks,
// in eight pieces of 16 bytes; piece c of row r lies at place c ^ (r % 8), so that the eight rows of an 8 x 8 matrix
// that ldmatrix reads, which have the same c, lie in different banks.

#include "../platform/fast_math.h"
#include "attention.h"
#include "row_vectors.h"

namespace electra::cuda {

using Bf16 = __nv_bfloat16;

constexpr int kHeadSize = 64;
constexpr int kPieces = kHeadSize / 8;  // of 16 bytes in a row
constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kLn2 = 0.69314718055994530942f;

__device__ __forceinline__ int lane_of_thread() { return static_cast<int>(threadIdx.x) % 32; }
__device__ __forceinline__ int warp_of_thread() { return static_cast<int>(threadIdx.x) / 32; }

/// Element at which piece `piece` of row `row` begins.
__device__ __forceinline__ int piece_place(int row, int piece) {
  return row * kHeadSize + ((piece ^ (row & 7)) << 3);
}

/// Where this lane points ldmatrix (platform/mma.h), for a tile whose first row is a multiple of 8; the 16 columns
/// 16 k … are at this ^ (k << 4). `Along`: 16 rows and two pieces beside each other, in this order: a stored [m][k],
/// and two b stored [k][n] (transposed). `Across`: two groups of 8 rows, each with its two pieces: two b stored
/// [n][k], and a stored [k][m] (transposed).
__device__ __forceinline__ int lane_along() {
  const int lane = lane_of_thread();
  return piece_place(lane % 16, lane / 16);
}
__device__ __forceinline__ int lane_across() {
  const int lane = lane_of_thread();
  return piece_place(lane / 16 * 8 + lane % 8, lane / 8 % 2);
}

/// Starts the copy of rows 0 … kRows − 1 of a head; rows at or beyond `count` become zeros.
template <int kRows, int kThreads>
__device__ __forceinline__ void copy_rows(Bf16* to, const Bf16* from, int64_t stride, int count) {
  constexpr int kStep = kThreads / kPieces;  // rows at a time
  static_assert(kRows % kStep == 0 && kStep % 8 == 0, "whole steps, and the same place in every one");
  const int row = static_cast<int>(threadIdx.x) / kPieces, piece = static_cast<int>(threadIdx.x) % kPieces;
  Bf16* const place = to + piece_place(row, piece);
  const Bf16* const source = from + row * stride + piece * 8;
#pragma unroll
  for (int i = 0; i < kRows; i += kStep)
    cp_async16(place + i * kHeadSize, source + i * stride, row + i < count);
}

/// Fragment a of 16 rows from `tile` on, for all four steps of 16 columns.
__device__ __forceinline__ void load_left(uint32_t (&a)[4][4], const Bf16* tile) {
  const int place = lane_along();
#pragma unroll
  for (int k = 0; k < 4; ++k) ldmatrix_x4(a[k], tile + (place ^ (k << 4)));
}

/// d[0], d[1] += a · the two b of r.
__device__ __forceinline__ void mma_pair(float (&d0)[4], float (&d1)[4], const uint32_t (&a)[4],
                                         const uint32_t (&r)[4]) {
  const uint32_t b0[2] = {r[0], r[1]}, b1[2] = {r[2], r[3]};
  mma_m16n8k16(d0, a, b0);
  mma_m16n8k16(d1, a, b1);
}

/// A warp's [16, 64] result, times `factor` of the lane's two rows, to global memory: through the warp's own 16 rows
/// of shared memory, so that whole lines leave. Rows at or beyond `count` are left out.
__device__ __forceinline__ void store_rows(const float (&d)[8][4], float factor0, float factor1, Bf16* staging,
                                           Bf16* to, int64_t stride, int count) {
  const int lane = lane_of_thread(), g = lane / 4, t = lane % 4;
  __syncwarp();  // everyone has read what the staging held
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    // Rows g and g + 8 have the same places.
    uint32_t* const place = reinterpret_cast<uint32_t*>(staging + piece_place(g, n)) + t;
    place[0] = pack_bf16(d[n][0] * factor0, d[n][1] * factor0);
    place[8 * kHeadSize / 2] = pack_bf16(d[n][2] * factor1, d[n][3] * factor1);
  }
  __syncwarp();
  const int row = lane / kPieces, piece = lane % kPieces;
#pragma unroll
  for (int i = 0; i < 16; i += 4) {
    if (row + i < count)
      store_packed(to + (row + i) * stride + piece * 8, load_packed<8>(staging + piece_place(row + i, piece)));
  }
}

/// A block's share of the tokens beyond the extent.
template <int kThreads>
__device__ __forceinline__ void clear_head_beyond(const AttentionProblem& p, Bf16* data, int64_t stride,
                                                  int64_t column, int64_t actual, int share, int shares) {
  constexpr int kStep = kThreads / kPieces;
  Packed<Bf16, 8> zeros;
#pragma unroll
  for (int i = 0; i < 8; ++i) zeros[i] = from_float<Bf16>(0.0f);
  const int row = static_cast<int>(threadIdx.x) / kPieces, piece = static_cast<int>(threadIdx.x) % kPieces;
  for (int64_t t = actual + static_cast<int64_t>(share) * kStep + row; t < p.tokens.capacity;
       t += static_cast<int64_t>(shares) * kStep)
    store_packed(data + t * stride + column + piece * 8, zeros);
}

}  // namespace electra::cuda
