// Matrix products of our own: d = op(a) · op(b) for row-major matrices of any shape, stride and alignment.
//
// Two kernels multiply. `mma_product` is for bf16 with rows that start at multiples of 16 bytes: a tile of d
// for each block of four warps, k in steps of 32 that arrive in a ring of four stages of shared memory by
// cp.async while the tensor cores work on older ones. A warp of the large tile (128 x 128) owns 64 x 64
// elements, so that one step of 16 along k takes 32 products for 8 ldmatrix: shared memory and tensor cores
// then need about the same time. Rows of a stage are not padded but swizzled in units of 16 bytes, so that
// the eight rows of an 8 x 8 matrix lie in different banks. Whichever way a and b are stored, ldmatrix or its
// transposing form makes fragments of them. `fma_product` is the rest: f32 in full precision (the parity
// mode), and bf16 that is not aligned; register tiles of 8 x 8 or 4 x 4 from two alternating stages.
//
// Epilogues run on the accumulators: bias, activation with its pre-activation kept, or the activation's
// slope, and the column sums of the result (the bias gradient). bf16 results leave in pieces of 16 bytes: a
// fragment has two neighbouring columns in a lane, and a 4 x 4 transposition among the four lanes of a row
// makes eight of them (four shuffles for four words; staging in shared memory would cost twice as much). What
// an epilogue moves is m·n elements of d and as many of aux; for the feed-forward layer of ELECTRA-Small
// (16384 x 1024 x 256) that is 67 MB of 76, so the products there wait for memory and not for tensor cores.
//
// A weight gradient has few tiles and a long k (all tokens). Its k is cut into as many stretches as fill the
// machine once; their products go to workspace in f32 and `finish` adds them in the order of stretches.
// Nothing is added atomically: the same shapes on the same device give the same bits.

#include <algorithm>
#include <type_traits>

#include "../device_views.h"
#include "activations.h"
#include "gemm_kernels.h"

namespace electra::cuda {
namespace {

constexpr int64_t kSumRows = 256;   // rows of one partial column sum, at least
constexpr int kFinishColumns = 32;  // threads along a row
constexpr int kFinishRows = 8;      // rows that a block works on at a time
constexpr int kAddColumns = 32, kAddRows = 32;

/// One operand as a kernel takes it: element (i, j) of the matrix as it is stored, row-major.
template <typename T>
struct Operand {
  const T* data;
  int64_t stride;
  bool transposed;
};

/// Where a result goes, and what happens on the way.
template <typename D>
struct Result {
  D* d;
  int64_t stride;
  int64_t rows, cols;
  const float* bias;
  D* aux;
  int64_t aux_stride;
  Activation activation;
  bool add;
  bool wide;           // rows of d and aux can be accessed 16 bytes (f32: 8 bytes) at a time
  float* partials;     // [stretch, rows, cols] when k is cut: the plain product, and `finish` does the rest
  float* column_sums;  // [row tile, cols], or null
};

template <Epilogue kEpilogue, typename D>
__device__ __forceinline__ float finished(const Result<D>& r, float product, float bias, float aux) {
  if (kEpilogue == Epilogue::kActivation) return activate<kExactActivations<D>>(r.activation, product + bias);
  if (kEpilogue == Epilogue::kActivationGradient)
    return product * activation_slope<kExactActivations<D>>(r.activation, aux);
  return product + bias;  // kNone and kBias: bias is 0 where there is none
}

/// One element, the slow way.
template <Epilogue kEpilogue, typename D>
__device__ __forceinline__ float store_element(const Result<D>& r, int64_t row, int64_t col, float product) {
  const float bias = kEpilogue != Epilogue::kActivationGradient && r.bias != nullptr ? r.bias[col] : 0.0f;
  float aux = 0;
  if (kEpilogue == Epilogue::kActivationGradient) aux = to_float(r.aux[row * r.aux_stride + col]);
  if (kEpilogue == Epilogue::kActivation && r.aux != nullptr)
    r.aux[row * r.aux_stride + col] = from_float<D>(product + bias);
  float value = finished<kEpilogue>(r, product, bias, aux);
  D* place = r.d + row * r.stride + col;
  if (r.add) value += to_float(*place);
  *place = from_float<D>(value);
  return value;
}

/// Tiles in the order of blocks: eight rows of tiles at a time, so that blocks that run together share tiles
/// of b as well as of a in the second-level cache.
struct TilePosition {
  int64_t row, col;
};
__device__ __forceinline__ TilePosition tile_position(int64_t index, int64_t row_tiles, int64_t col_tiles) {
  constexpr int64_t kGroup = 8;
  const int64_t group = index / (kGroup * col_tiles), first = group * kGroup;
  const int64_t height = row_tiles - first < kGroup ? row_tiles - first : kGroup;
  const int64_t inside = index - group * kGroup * col_tiles;
  return {first + inside % height, inside / height};
}

// ---------------------------------------------------------------------------------------------------------------------
// f32, and whatever is not aligned

constexpr int kFmaThreads = 256;
constexpr int kFmaDepth = 16;

/// Reads a tile [kFmaDepth, kWidth] of an operand in which the tile's width runs along m or n. `along` says
/// that the stored rows run along the width; otherwise they run along k and the tile is transposed on the
/// way.
template <typename T, int kWidth, bool kVector>
struct FmaTile {
  static constexpr int kPer = kVector ? 4 : 1;
  static constexpr int kLoads = kWidth * kFmaDepth / (kFmaThreads * kPer);
  float value[kLoads][kPer];

  __device__ __forceinline__ static void place(int load, bool along, int* k, int* w) {
    const int index = static_cast<int>(threadIdx.x) + load * kFmaThreads;
    if (along) {
      *w = index % (kWidth / kPer) * kPer;
      *k = index / (kWidth / kPer);
    } else {
      *k = index % (kFmaDepth / kPer) * kPer;
      *w = index / (kFmaDepth / kPer);
    }
  }

  __device__ __forceinline__ void load(const T* data, int64_t stride, bool along, int64_t first_k,
                                       int64_t end_k, int64_t first_w, int64_t end_w) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      int tile_k, tile_w;
      place(i, along, &tile_k, &tile_w);
      const int64_t k = first_k + tile_k, w = first_w + tile_w;
      const int64_t count = along ? (k < end_k ? end_w - w : 0) : (w < end_w ? end_k - k : 0);
      const T* from = data + (along ? k * stride + w : w * stride + k);
      if (kVector && count >= kPer) {
        const Packed<T, kPer> packed = load_packed<kPer>(from);
#pragma unroll
        for (int e = 0; e < kPer; ++e) value[i][e] = to_float(packed[e]);
      } else {
#pragma unroll
        for (int e = 0; e < kPer; ++e) value[i][e] = e < count ? to_float(from[e]) : 0.0f;
      }
    }
  }

  __device__ __forceinline__ void store(float (*tile)[kWidth + 4], bool along) const {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      int k, w;
      place(i, along, &k, &w);
#pragma unroll
      for (int e = 0; e < kPer; ++e) tile[along ? k : k + e][along ? w + e : w] = value[i][e];
    }
  }
};

/// A tile of kTile x kTile by 16 x 16 threads; kTile 64: 4 x 4 elements a thread, 128: four times 4 x 4.
template <typename T, typename D, int kTile, bool kVector, Epilogue kEpilogue>
__global__ void __launch_bounds__(kFmaThreads, kEpilogue == Epilogue::kNone ? 2 : 1)
    fma_product(Operand<T> a, Operand<T> b, Result<D> r, int64_t k, int64_t stretch, int64_t row_tiles,
                int64_t col_tiles) {
  constexpr int kGroups = kTile / 64;
  using Row = float[kTile + 4];
  ELECTRA_SHARED(Row, a_tile, 2 * kFmaDepth);
  ELECTRA_SHARED(Row, b_tile, 2 * kFmaDepth);
  const TilePosition tile = tile_position(blockIdx.x, row_tiles, col_tiles);
  const int64_t row0 = tile.row * kTile, col0 = tile.col * kTile;
  const int64_t first_k = blockIdx.y * stretch;
  const int64_t end_k = first_k + stretch < k ? first_k + stretch : k;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;

  float sum[4 * kGroups][4 * kGroups] = {};
  FmaTile<T, kTile, kVector> next_a, next_b;
  const bool a_along = a.transposed, b_along = !b.transposed;
  next_a.load(a.data, a.stride, a_along, first_k, end_k, row0, r.rows);
  next_b.load(b.data, b.stride, b_along, first_k, end_k, col0, r.cols);
  int stage = 0;
  for (int64_t at = first_k; at < end_k; at += kFmaDepth) {
    Row* const as = a_tile + stage * kFmaDepth;
    Row* const bs = b_tile + stage * kFmaDepth;
    next_a.store(as, a_along);
    next_b.store(bs, b_along);
    __syncthreads();
    // The other stage was read before this barrier, so the next turn may fill it without another one.
    if (at + kFmaDepth < end_k) {
      next_a.load(a.data, a.stride, a_along, at + kFmaDepth, end_k, row0, r.rows);
      next_b.load(b.data, b.stride, b_along, at + kFmaDepth, end_k, col0, r.cols);
    }
#pragma unroll
    for (int kk = 0; kk < kFmaDepth; ++kk) {
      float x[4 * kGroups], y[4 * kGroups];
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        const Packed<float, 4> xs = load_packed<4>(&as[kk][g * 64 + ty * 4]);
        const Packed<float, 4> ys = load_packed<4>(&bs[kk][g * 64 + tx * 4]);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          x[g * 4 + e] = xs[e];
          y[g * 4 + e] = ys[e];
        }
      }
#pragma unroll
      for (int i = 0; i < 4 * kGroups; ++i) {
#pragma unroll
        for (int j = 0; j < 4 * kGroups; ++j) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
      }
    }
    stage ^= 1;
  }

#pragma unroll
  for (int i = 0; i < 4 * kGroups; ++i) {
    const int64_t row = row0 + i / 4 * 64 + ty * 4 + i % 4;
    if (row >= r.rows) continue;
#pragma unroll
    for (int j = 0; j < 4 * kGroups; ++j) {
      const int64_t col = col0 + j / 4 * 64 + tx * 4 + j % 4;
      if (col >= r.cols) continue;
      if (r.partials != nullptr)
        r.partials[(blockIdx.y * r.rows + row) * r.cols + col] = sum[i][j];
      else
        store_element<kEpilogue>(r, row, col, sum[i][j]);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// bf16 with aligned rows, on the tensor cores

constexpr int kMmaThreads = 128;  // four warps, each a quarter of the tile
constexpr int kMmaDepth = 32;
constexpr int kMmaStages = 4;

/// One stage of an operand: [kMmaDepth, kTile] if its stored rows run along the tile's width (kAlong), else
/// [kTile, kMmaDepth]. Sixteen-byte chunks are swizzled within their row, so that the rows of an 8 x 8
/// matrix, which ldmatrix reads at once, lie in different banks.
template <int kTile, bool kAlong>
struct MmaStage {
  static constexpr int kElements = kTile * kMmaDepth;
  static constexpr int kRowChunks = (kAlong ? kTile : kMmaDepth) / 8;
  static constexpr int kRowStep = kMmaThreads / kRowChunks;  // rows that the block copies at a time
  static constexpr int kCopies = kElements / 8 / kMmaThreads;

  __device__ __forceinline__ static int at(int row, int chunk) {
    return (row * kRowChunks + (kAlong ? chunk ^ (row & 7) : chunk ^ (row >> 1 & 3))) * 8;
  }

  /// `from` is this thread's first chunk, `left_k` and `left_w` what is left of the matrix from the stage's
  /// corner.
  __device__ __forceinline__ static void copy(__nv_bfloat16* stage, const __nv_bfloat16* from, int64_t stride,
                                              int left_k, int left_w) {
    const int row0 = static_cast<int>(threadIdx.x) / kRowChunks,
              chunk = static_cast<int>(threadIdx.x) % kRowChunks;
    const int rows = kAlong ? left_k : left_w, columns = (kAlong ? left_w : left_k) - chunk * 8;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int row = row0 + i * kRowStep;
      const __nv_bfloat16* const source = from + i * kRowStep * stride;
      __nv_bfloat16* const place = stage + at(row, chunk);
      if (columns > 0 && columns < 8) {  // the matrix ends within the chunk
        Packed<__nv_bfloat16, 8> part;
#pragma unroll
        for (int e = 0; e < 8; ++e)
          part[e] = e < columns && row < rows ? source[e] : from_float<__nv_bfloat16>(0.0f);
        store_packed(place, part);
      } else {
        cp_async16(place, source, row < rows && columns > 0);
      }
    }
  }
  __device__ __forceinline__ static const __nv_bfloat16* first_chunk(const Operand<__nv_bfloat16>& x,
                                                                     int64_t first_k, int64_t first_w) {
    const int row = static_cast<int>(threadIdx.x) / kRowChunks,
              chunk = static_cast<int>(threadIdx.x) % kRowChunks;
    return x.data + (kAlong ? (first_k + row) * x.stride + first_w : (first_w + row) * x.stride + first_k) +
           chunk * 8;
  }
};

/// Lane t of a group of four has word j of a row of four; afterwards lane j has them, in the order of lanes.
__device__ __forceinline__ void quad_transpose(uint32_t (&word)[4]) {
  const bool odd = (threadIdx.x & 1) != 0, upper = (threadIdx.x & 2) != 0;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const uint32_t got = __shfl_xor_sync(kFullWarp, odd ? word[i] : word[i + 1], 1);
    if (odd)
      word[i] = got;
    else
      word[i + 1] = got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint32_t got = __shfl_xor_sync(kFullWarp, upper ? word[i] : word[i + 2], 2);
    if (upper)
      word[i] = got;
    else
      word[i + 2] = got;
  }
}

__device__ __forceinline__ float low_half(uint32_t word) { return __uint_as_float(word << 16); }
__device__ __forceinline__ float high_half(uint32_t word) { return __uint_as_float(word & 0xFFFF0000u); }

/// Eight bf16 from memory as four words.
__device__ __forceinline__ void load_words(uint32_t (&word)[4], const __nv_bfloat16* from) {
  const Packed<__nv_bfloat16, 8> packed = load_packed<8>(from);
  memcpy(word, &packed, sizeof(word));
}
__device__ __forceinline__ void store_words(__nv_bfloat16* to, const uint32_t (&word)[4]) {
  Packed<__nv_bfloat16, 8> packed;
  memcpy(&packed, word, sizeof(word));
  store_packed(to, packed);
}

/// Two neighbours of an f32 result.
template <typename D>
__device__ __forceinline__ void store_pair(const Result<D>& r, int64_t row, int64_t col, const float* value) {
  float* place = r.partials != nullptr ? r.partials + (blockIdx.y * r.rows + row) * r.cols + col
                                       : reinterpret_cast<float*>(r.d) + row * r.stride + col;
  const bool plain = r.partials != nullptr;
  if (!r.wide) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      if (col + e >= r.cols) continue;
      float result = value[e];
      if (!plain && r.bias != nullptr) result += r.bias[col + e];
      if (!plain && r.add) result += place[e];
      place[e] = result;
    }
    return;
  }
  Packed<float, 2> pair;
  pair[0] = value[0];
  pair[1] = value[1];
  if (!plain && r.bias != nullptr) {
    pair[0] += r.bias[col];
    pair[1] += r.bias[col + 1];
  }
  if (!plain && r.add) {
    const Packed<float, 2> before = load_packed<2>(place);
    pair[0] += before[0];
    pair[1] += before[1];
  }
  store_packed(place, pair);
}

template <typename D, int kTile, bool kAAlong, bool kBAlong, Epilogue kEpilogue>
__global__ void __launch_bounds__(kMmaThreads, 2)
    mma_product(Operand<__nv_bfloat16> a, Operand<__nv_bfloat16> b, Result<D> r, int64_t k, int64_t stretch,
                int64_t row_tiles, int64_t col_tiles) {
  using StageA = MmaStage<kTile, kAAlong>;
  using StageB = MmaStage<kTile, kBAlong>;
  constexpr int kWarpTile = kTile / 2;
  constexpr int kRowFragments = kWarpTile / 16, kColFragments = kWarpTile / 8;
  ELECTRA_DYNAMIC_SHARED(__nv_bfloat16, stages);
  __nv_bfloat16* const a_stages = stages;
  __nv_bfloat16* const b_stages = stages + kMmaStages * StageA::kElements;
  const TilePosition tile = tile_position(blockIdx.x, row_tiles, col_tiles);
  const int64_t row0 = tile.row * kTile, col0 = tile.col * kTile;
  const int64_t first_k = blockIdx.y * stretch;
  const int64_t end_k = first_k + stretch < k ? first_k + stretch : k;
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int warp_row = warp / 2 * kWarpTile, warp_col = warp % 2 * kWarpTile;

  const int left_rows = static_cast<int>(r.rows - row0 < kTile ? r.rows - row0 : kTile);
  const int left_cols = static_cast<int>(r.cols - col0 < kTile ? r.cols - col0 : kTile);
  const __nv_bfloat16* from_a = StageA::first_chunk(a, first_k, row0);
  const __nv_bfloat16* from_b = StageB::first_chunk(b, first_k, col0);
  const int64_t step_a = kAAlong ? kMmaDepth * a.stride : kMmaDepth;
  const int64_t step_b = kBAlong ? kMmaDepth * b.stride : kMmaDepth;
  const int steps = static_cast<int>((end_k - first_k + kMmaDepth - 1) / kMmaDepth);
  int loaded = 0;
  const auto load_next = [&] {
    if (loaded < steps) {
      const int64_t left = end_k - first_k - static_cast<int64_t>(loaded) * kMmaDepth;
      const int left_k = static_cast<int>(left < kMmaDepth ? left : kMmaDepth);
      const int stage = loaded % kMmaStages;
      StageA::copy(a_stages + stage * StageA::kElements, from_a, a.stride, left_k, left_rows);
      StageB::copy(b_stages + stage * StageB::kElements, from_b, b.stride, left_k, left_cols);
      from_a += step_a;
      from_b += step_b;
      ++loaded;
    }
    cp_async_commit();
  };
#pragma unroll
  for (int i = 0; i < kMmaStages - 1; ++i) load_next();

  float sum[kRowFragments][kColFragments][4] = {};
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kMmaStages - 2>();
    // After the barrier this stage is here for everyone, and everyone is done with the one before it.
    __syncthreads();
    load_next();
    const __nv_bfloat16* const as = a_stages + step % kMmaStages * StageA::kElements;
    const __nv_bfloat16* const bs = b_stages + step % kMmaStages * StageB::kElements;
#pragma unroll
    for (int kk = 0; kk < kMmaDepth / 16; ++kk) {
      uint32_t x[kRowFragments][4], y[kColFragments / 2][4];
#pragma unroll
      for (int i = 0; i < kRowFragments; ++i) {
        const int m = warp_row + i * 16;
        if (kAAlong)
          ldmatrix_x4_transposed(x[i],
                                 as + StageA::at(kk * 16 + lane / 16 * 8 + lane % 8, m / 8 + lane / 8 % 2));
        else
          ldmatrix_x4(x[i], as + StageA::at(m + lane % 16, kk * 2 + lane / 16));
      }
#pragma unroll
      for (int j = 0; j < kColFragments / 2; ++j) {
        const int n = warp_col + j * 16;
        if (kBAlong)
          ldmatrix_x4_transposed(y[j], bs + StageB::at(kk * 16 + lane % 16, n / 8 + lane / 16));
        else
          ldmatrix_x4(y[j], bs + StageB::at(n + lane / 16 * 8 + lane % 8, kk * 2 + lane / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < kRowFragments; ++i) {
#pragma unroll
        for (int j = 0; j < kColFragments; ++j) {
          const uint32_t pair[2] = {y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]};
          mma_m16n8k16(sum[i][j], x[i], pair);
        }
      }
    }
  }
  cp_async_wait<0>();

  const int g = lane / 4, t = lane % 4;
  if (sizeof(D) == 4 || r.partials != nullptr) {
#pragma unroll
    for (int i = 0; i < kRowFragments; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t row = row0 + warp_row + i * 16 + half * 8 + g;
        if (row >= r.rows) continue;
#pragma unroll
        for (int j = 0; j < kColFragments; ++j) {
          const int64_t col = col0 + warp_col + j * 8 + 2 * t;
          if (col < r.cols) store_pair(r, row, col, &sum[i][j][half * 2]);
        }
      }
    }
    return;
  }

  // bf16: 32 columns at a time, eight to a lane when they leave.
  if constexpr (sizeof(D) == 2) {
    ELECTRA_SHARED(float, warp_sums, 2 * kTile);
#pragma unroll
    for (int q = 0; q < kColFragments / 4; ++q) {
      const int64_t group_col = col0 + warp_col + q * 32;
      const int64_t own_col = group_col + t * 8;  // of the eight columns that this lane moves
      float bias[4][2] = {}, column[4][2] = {};
      if (kEpilogue != Epilogue::kActivationGradient && r.bias != nullptr) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int64_t col = group_col + j * 8 + 2 * t + e;
            if (col < r.cols) bias[j][e] = r.bias[col];
          }
        }
      }
#pragma unroll
      for (int i = 0; i < kRowFragments; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int64_t row = row0 + warp_row + i * 16 + half * 8 + g;
          if (!r.wide) {
            if (row >= r.rows) continue;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
#pragma unroll
              for (int e = 0; e < 2; ++e) {
                const int64_t col = group_col + j * 8 + 2 * t + e;
                if (col < r.cols)
                  column[j][e] += store_element<kEpilogue>(r, row, col, sum[i][q * 4 + j][half * 2 + e]);
              }
            }
          } else {
            const bool mine = row < r.rows && own_col < r.cols;
            uint32_t before[4] = {};
            if (kEpilogue == Epilogue::kActivationGradient || r.add) {
              if (mine)
                load_words(before, kEpilogue == Epilogue::kActivationGradient
                                       ? r.aux + row * r.aux_stride + own_col
                                       : r.d + row * r.stride + own_col);
              quad_transpose(before);
            }
            uint32_t words[4], kept[4];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
              const float* const product = &sum[i][q * 4 + j][half * 2];
              float value[2];
#pragma unroll
              for (int e = 0; e < 2; ++e) {
                const float old = e == 0 ? low_half(before[j]) : high_half(before[j]);
                value[e] = finished<kEpilogue>(r, product[e], bias[j][e], old);
                if (kEpilogue == Epilogue::kNone) value[e] += old;
                if (row < r.rows) column[j][e] += value[e];
              }
              words[j] = pack_bf16(value[0], value[1]);
              if (kEpilogue == Epilogue::kActivation)
                kept[j] = pack_bf16(product[0] + bias[j][0], product[1] + bias[j][1]);
            }
            quad_transpose(words);
            if (mine) store_words(r.d + row * r.stride + own_col, words);
            if (kEpilogue == Epilogue::kActivation && r.aux != nullptr) {
              quad_transpose(kept);
              if (mine) store_words(r.aux + row * r.aux_stride + own_col, kept);
            }
          }
        }
      }
      if (r.column_sums != nullptr) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float total = column[j][e];
#pragma unroll
            for (int offset = 4; offset < 32; offset *= 2) total += __shfl_xor_sync(kFullWarp, total, offset);
            if (g == 0) warp_sums[warp / 2 * kTile + warp_col + q * 32 + j * 8 + 2 * t + e] = total;
          }
        }
      }
    }
    if (r.column_sums == nullptr) return;
    __syncthreads();
    for (int c = static_cast<int>(threadIdx.x); c < left_cols; c += kMmaThreads)
      r.column_sums[tile.row * r.cols + col0 + c] = warp_sums[c] + warp_sums[kTile + c];
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// What remains after a product: stretches of k to be added, an epilogue, column sums

/// Source of `finish`: partial products, or d itself.
struct FinishSource {
  const float* partials;  // null: d holds the product
  int64_t count;
};

/// A block takes kFinishColumns · kWidth columns of `row_stretch` rows; thread row y takes every eighth row.
/// Sums of columns: over a thread's rows, then over the eight threads in order.
template <typename D, int kWidth, Epilogue kEpilogue>
__global__ void __launch_bounds__(kFinishColumns* kFinishRows)
    finish(Result<D> r, FinishSource source, int64_t row_stretch) {
  const int64_t col = (blockIdx.x * kFinishColumns + threadIdx.x) * kWidth;
  const int64_t first = blockIdx.y * row_stretch;
  const int64_t end = first + row_stretch < r.rows ? first + row_stretch : r.rows;
  float sums[kWidth] = {};
  if (col < r.cols) {
    float bias[kWidth] = {};
    if (kEpilogue != Epilogue::kActivationGradient && r.bias != nullptr) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) bias[e] = r.bias[col + e];
    }
    for (int64_t row = first + threadIdx.y; row < end; row += kFinishRows) {
      float value[kWidth];
      D* const place = r.d + row * r.stride + col;
      if (source.partials != nullptr) {
#pragma unroll
        for (int e = 0; e < kWidth; ++e) value[e] = 0;
        const float* from = source.partials + row * r.cols + col;
        for (int64_t i = 0; i < source.count; ++i, from += r.rows * r.cols) {
          if (kWidth >= 4) {
#pragma unroll
            for (int part = 0; part < kWidth; part += 4) {
              const Packed<float, 4> packed = load_packed<4>(from + part);
#pragma unroll
              for (int e = 0; e < 4; ++e) value[part + e] += packed[e];
            }
          } else {
#pragma unroll
            for (int e = 0; e < kWidth; ++e) value[e] += from[e];
          }
        }
      } else {
        const Packed<D, kWidth> packed = load_packed<kWidth>(place);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) value[e] = to_float(packed[e]);
      }
      Packed<D, kWidth> aux;
      if (kEpilogue == Epilogue::kActivationGradient)
        aux = load_packed<kWidth>(r.aux + row * r.aux_stride + col);
      if (kEpilogue == Epilogue::kActivation && r.aux != nullptr) {
#pragma unroll
        for (int e = 0; e < kWidth; ++e) aux[e] = from_float<D>(value[e] + bias[e]);
        store_packed(r.aux + row * r.aux_stride + col, aux);
      }
      Packed<D, kWidth> before;
      if (r.add) before = load_packed<kWidth>(place);
      Packed<D, kWidth> packed;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        const float slope_at = kEpilogue == Epilogue::kActivationGradient ? to_float(aux[e]) : 0.0f;
        float result = finished<kEpilogue>(r, value[e], bias[e], slope_at);
        if (r.add) result += to_float(before[e]);
        sums[e] += result;
        packed[e] = from_float<D>(result);
      }
      store_packed(place, packed);
    }
  }
  if (r.column_sums == nullptr) return;
  using Row = float[kFinishColumns * kWidth + 1];
  ELECTRA_SHARED(Row, shared, kFinishRows);
#pragma unroll
  for (int e = 0; e < kWidth; ++e) shared[threadIdx.y][threadIdx.x * kWidth + e] = sums[e];
  __syncthreads();
  for (int c = threadIdx.y * kFinishColumns + threadIdx.x; c < kFinishColumns * kWidth;
       c += kFinishColumns * kFinishRows) {
    const int64_t column = blockIdx.x * kFinishColumns * kWidth + c;
    if (column >= r.cols) continue;
    float sum = 0;
#pragma unroll
    for (int y = 0; y < kFinishRows; ++y) sum += shared[y][c];
    r.column_sums[blockIdx.y * r.cols + column] = sum;
  }
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kFinishColumns* kFinishRows)
    column_sums_kernel(const T* x, int64_t stride, int64_t rows, int64_t cols, int64_t row_stretch,
                       float* partials) {
  const int64_t col = (blockIdx.x * kFinishColumns + threadIdx.x) * kWidth;
  const int64_t first = blockIdx.y * row_stretch;
  const int64_t end = first + row_stretch < rows ? first + row_stretch : rows;
  float sums[kWidth] = {};
  if (col < cols) {
#pragma unroll 4
    for (int64_t row = first + threadIdx.y; row < end; row += kFinishRows) {
      const Packed<T, kWidth> packed = load_packed<kWidth>(x + row * stride + col);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sums[e] += to_float(packed[e]);
    }
  }
  using Row = float[kFinishColumns * kWidth + 1];
  ELECTRA_SHARED(Row, shared, kFinishRows);
#pragma unroll
  for (int e = 0; e < kWidth; ++e) shared[threadIdx.y][threadIdx.x * kWidth + e] = sums[e];
  __syncthreads();
  for (int c = threadIdx.y * kFinishColumns + threadIdx.x; c < kFinishColumns * kWidth;
       c += kFinishColumns * kFinishRows) {
    const int64_t column = blockIdx.x * kFinishColumns * kWidth + c;
    if (column >= cols) continue;
    float sum = 0;
#pragma unroll
    for (int y = 0; y < kFinishRows; ++y) sum += shared[y][c];
    partials[blockIdx.y * cols + column] = sum;
  }
}

/// Adds partial sums of columns: 32 columns a block, 32 threads a column, each over every 32nd partial, then
/// the threads in order.
__global__ void __launch_bounds__(kAddColumns* kAddRows)
    add_partials_kernel(const float* partials, int64_t count, int64_t cols, float* into) {
  const int64_t col = blockIdx.x * kAddColumns + threadIdx.x;
  float sum = 0;
  if (col < cols) {
#pragma unroll 8
    for (int64_t i = threadIdx.y; i < count; i += kAddRows) sum += partials[i * cols + col];
  }
  using Row = float[kAddColumns + 1];
  ELECTRA_SHARED(Row, shared, kAddRows);
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || col >= cols) return;
  float total = 0;
#pragma unroll
  for (int y = 0; y < kAddRows; ++y) total += shared[y][threadIdx.x];
  into[col] += total;
}

// ---------------------------------------------------------------------------------------------------------------------
// Host

/// Calls body with the epilogue as a constant; kBias is kNone with a bias.
template <typename Body>
void with_epilogue(Epilogue epilogue, Body body) {
  if (epilogue == Epilogue::kActivation)
    body(std::integral_constant<Epilogue, Epilogue::kActivation>{});
  else if (epilogue == Epilogue::kActivationGradient)
    body(std::integral_constant<Epilogue, Epilogue::kActivationGradient>{});
  else
    body(std::integral_constant<Epilogue, Epilogue::kNone>{});
}

bool aligned_rows(const void* data, int64_t stride, int64_t element, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) == 0 &&
         stride * element % bytes == 0;
}

template <typename D>
Result<D> result_of(const Product& p) {
  Result<D> r{};
  r.d = static_cast<D*>(p.d.data);
  r.stride = p.d.stride;
  r.rows = p.d.rows;
  r.cols = p.d.cols;
  if (p.epilogue == Epilogue::kBias || p.epilogue == Epilogue::kActivation) r.bias = p.bias;
  if (p.epilogue == Epilogue::kActivation || p.epilogue == Epilogue::kActivationGradient) {
    r.aux = static_cast<D*>(p.aux);
    r.aux_stride = p.aux_stride;
  }
  r.activation = p.activation;
  r.add = p.add;
  return r;
}

/// Rows of one partial column sum. Many partials cost as much as they save, and they must fit.
int64_t sum_stretch(int64_t rows, int64_t cols, size_t bytes) {
  const int64_t most =
      std::min<int64_t>(512, static_cast<int64_t>(bytes / sizeof(float)) / std::max<int64_t>(1, cols));
  return std::max(ceil_div(ceil_div(rows, std::max<int64_t>(1, most)), kFinishRows) * kFinishRows, kSumRows);
}

/// `finish` over d, and the column sums added. `sums` is where partial column sums may lie.
template <typename D>
void run_finish(const Product& p, Result<D> r, const FinishSource& source, const GemmWorkspace& sums,
                cudaStream_t stream) {
  const bool with_sums = p.column_sums != nullptr;
  // Without sums a block's share is what hides its latency: 64 rows.
  const int64_t stretch =
      with_sums ? sum_stretch(r.rows, r.cols, sums.bytes)
                : std::max<int64_t>(64, ceil_div(ceil_div(r.rows, 65535), kFinishRows) * kFinishRows);
  const int64_t blocks = ceil_div(r.rows, stretch);
  ELECTRA_CHECK_SHAPE(!with_sums || static_cast<size_t>(blocks * r.cols) * sizeof(float) <= sums.bytes,
                      "column sums of [%lld, %lld] want more workspace than there is",
                      static_cast<long long>(r.rows), static_cast<long long>(r.cols));
  r.partials = nullptr;
  r.column_sums = with_sums ? static_cast<float*>(sums.memory) : nullptr;
  constexpr int kWide = 16 / sizeof(D);
  const bool wide = r.cols % kWide == 0 && aligned_rows(r.d, r.stride, sizeof(D), 16) &&
                    (r.aux == nullptr || aligned_rows(r.aux, r.aux_stride, sizeof(D), 16));
  with_epilogue(p.epilogue, [&](auto epilogue) {
    constexpr Epilogue kEpilogue = decltype(epilogue)::value;
    const dim3 block(kFinishColumns, kFinishRows);
    if (wide)
      launch("finish_product", finish<D, kWide, kEpilogue>,
             dim3(static_cast<unsigned>(ceil_div(r.cols, kWide * kFinishColumns)),
                  static_cast<unsigned>(blocks)),
             block, 0, stream, r, source, stretch);
    else
      launch("finish_product", finish<D, 1, kEpilogue>,
             dim3(static_cast<unsigned>(ceil_div(r.cols, kFinishColumns)), static_cast<unsigned>(blocks)),
             block, 0, stream, r, source, stretch);
  });
  if (with_sums) add_partials(r.column_sums, blocks, r.cols, p.column_sums, stream);
}

/// How k is cut: into as many stretches as make one wave of blocks, none shorter than 512.
struct Cut {
  int64_t stretch = 0, count = 1;
};
Cut cut_of(const ProductShape& s, int64_t tiles, int64_t depth, int32_t multiprocessors, size_t bytes) {
  Cut cut;
  const int64_t fits = static_cast<int64_t>(bytes / sizeof(float)) / (s.m * s.n);
  const int64_t count = std::min({multiprocessors / tiles, s.k / 512, fits});
  cut.stretch = count < 2 ? std::max<int64_t>(1, s.k) : ceil_div(ceil_div(s.k, count), depth) * depth;
  cut.count = std::max<int64_t>(1, ceil_div(s.k, cut.stretch));
  return cut;
}

/// The workspace's first half is for stretches of k, the second for column sums.
GemmWorkspace first_half(const GemmWorkspace& w) { return {w.memory, w.bytes / 512 * 256}; }
GemmWorkspace second_half(const GemmWorkspace& w) {
  const size_t half = w.bytes / 512 * 256;
  return {static_cast<char*>(w.memory) + half, w.bytes - half};
}

template <typename T, typename D>
void fma_multiply(const Product& p, const ProductShape& s, const GemmWorkspace& workspace,
                  int32_t multiprocessors, cudaStream_t stream) {
  const Operand<T> a{static_cast<const T*>(p.a.data), p.a.stride, p.transpose_a};
  const Operand<T> b{static_cast<const T*>(p.b.data), p.b.stride, p.transpose_b};
  // bf16 comes here only when its rows are not aligned.
  constexpr bool kFloats = std::is_same<T, float>::value;
  const bool vector = kFloats && aligned_rows(a.data, a.stride, sizeof(T), 16) &&
                      aligned_rows(b.data, b.stride, sizeof(T), 16);
  const bool large = vector && ceil_div(s.m, 128) * ceil_div(s.n, 128) >= multiprocessors;
  const int64_t tile = large ? 128 : 64;
  const int64_t row_tiles = ceil_div(s.m, tile), col_tiles = ceil_div(s.n, tile);
  const GemmWorkspace half = first_half(workspace);
  const Cut cut = cut_of(s, row_tiles * col_tiles, kFmaDepth, multiprocessors, half.bytes);
  Result<D> r = result_of<D>(p);
  if (cut.count > 1) r.partials = static_cast<float*>(half.memory);
  const dim3 grid(static_cast<unsigned>(row_tiles * col_tiles), static_cast<unsigned>(cut.count));
  // With k cut the epilogue is the finish's affair.
  with_epilogue(cut.count > 1 ? Epilogue::kNone : p.epilogue, [&](auto epilogue) {
    constexpr Epilogue kEpilogue = decltype(epilogue)::value;
    const auto run = [&](auto kernel) {
      launch("fma_product", kernel, grid, kFmaThreads, 0, stream, a, b, r, s.k, cut.stretch, row_tiles,
             col_tiles);
    };
    if (large)
      run(fma_product < T, D, kFloats ? 128 : 64, kFloats, kEpilogue >);
    else if (vector)
      run(fma_product<T, D, 64, kFloats, kEpilogue>);
    else
      run(fma_product<T, D, 64, false, kEpilogue>);
  });
  if (cut.count > 1) {
    run_finish<D>(p, r, FinishSource{r.partials, cut.count}, second_half(workspace), stream);
  } else if (p.column_sums != nullptr) {
    add_column_sums(p.d, p.column_sums, second_half(workspace), stream);
  }
}

/// The instance for a way of storing and an epilogue, or null where there is none: forward passes (a, b as
/// stored), gradients of activations (b transposed) and of weights (a transposed).
template <typename D, int kTile>
auto mma_kernel(const Product& p, bool cut) {
  using Kernel =
      void (*)(Operand<__nv_bfloat16>, Operand<__nv_bfloat16>, Result<D>, int64_t, int64_t, int64_t, int64_t);
  constexpr bool kNarrow = sizeof(D) == 2;
  const bool activation = !cut && p.epilogue == Epilogue::kActivation;
  const bool gradient = !cut && p.epilogue == Epilogue::kActivationGradient;
  Kernel kernel = nullptr;
  if (!p.transpose_a && !p.transpose_b) {
    if (activation)
      kernel = kNarrow ? Kernel(mma_product < D, kTile, false, true,
                                kNarrow ? Epilogue::kActivation : Epilogue::kNone >)
                       : nullptr;
    else if (!gradient)
      kernel = mma_product<D, kTile, false, true, Epilogue::kNone>;
  } else if (!p.transpose_a) {
    if (gradient)
      kernel = kNarrow ? Kernel(mma_product < D, kTile, false, false,
                                kNarrow ? Epilogue::kActivationGradient : Epilogue::kNone >)
                       : nullptr;
    else if (!activation)
      kernel = mma_product<D, kTile, false, false, Epilogue::kNone>;
  } else if (!p.transpose_b && !activation && !gradient) {
    kernel = mma_product<D, kTile, true, true, Epilogue::kNone>;
  }
  return kernel;
}

/// False: not for this product.
template <typename D>
bool mma_multiply(const Product& p, const ProductShape& s, const GemmWorkspace& workspace,
                  int32_t multiprocessors, cudaStream_t stream) {
  using T = __nv_bfloat16;
  const Operand<T> a{static_cast<const T*>(p.a.data), p.a.stride, p.transpose_a};
  const Operand<T> b{static_cast<const T*>(p.b.data), p.b.stride, p.transpose_b};
  if (s.k == 0 || !aligned_rows(a.data, a.stride, 2, 16) || !aligned_rows(b.data, b.stride, 2, 16))
    return false;
  const int64_t large_tiles = ceil_div(s.m, 128) * ceil_div(s.n, 128);
  const bool large = s.m > 64 && s.n > 64 &&
                     large_tiles * std::max<int64_t>(1, s.k / 512) >= std::max(1, multiprocessors / 2);
  const int64_t tile = large ? 128 : 64;
  const int64_t row_tiles = ceil_div(s.m, tile), col_tiles = ceil_div(s.n, tile);
  const GemmWorkspace half = first_half(workspace), rest = second_half(workspace);
  const Cut cut = cut_of(s, row_tiles * col_tiles, kMmaDepth, multiprocessors, half.bytes);
  const auto kernel_of = [&](bool is_cut) {
    return large ? mma_kernel<D, 128>(p, is_cut) : mma_kernel<D, 64>(p, is_cut);
  };
  bool to_partials = cut.count > 1;
  auto kernel = kernel_of(to_partials);
  if (kernel == nullptr && !to_partials) {
    // No such epilogue: the plain product to workspace, and the rest from there.
    to_partials = static_cast<size_t>(s.m * s.n) * sizeof(float) <= half.bytes;
    if (to_partials) kernel = kernel_of(true);
  }
  const bool fused_sums = !to_partials && p.column_sums != nullptr && sizeof(D) == 2 &&
                          static_cast<size_t>(row_tiles * s.n) * sizeof(float) <= rest.bytes;
  if (kernel == nullptr) return false;
  Result<D> r = result_of<D>(p);
  if (to_partials) {
    r.partials = static_cast<float*>(half.memory);
    r.wide = r.cols % 2 == 0;
  } else if (sizeof(D) == 4) {
    r.wide = r.cols % 2 == 0 && aligned_rows(r.d, r.stride, 4, 8);
  } else {
    r.wide = r.cols % 8 == 0 && aligned_rows(r.d, r.stride, 2, 16) &&
             (r.aux == nullptr || aligned_rows(r.aux, r.aux_stride, 2, 16));
  }
  if (fused_sums) r.column_sums = static_cast<float*>(rest.memory);
  launch("mma_product", kernel,
         dim3(static_cast<unsigned>(row_tiles * col_tiles), static_cast<unsigned>(cut.count)), kMmaThreads,
         static_cast<size_t>(kMmaStages * 2 * tile * kMmaDepth * 2), stream, a, b, r, s.k, cut.stretch,
         row_tiles, col_tiles);
  if (to_partials)
    run_finish<D>(p, r, FinishSource{r.partials, cut.count}, rest, stream);
  else if (fused_sums)
    add_partials(r.column_sums, row_tiles, s.n, p.column_sums, stream);
  else if (p.column_sums != nullptr)
    add_column_sums(p.d, p.column_sums, rest, stream);
  return true;
}

}  // namespace

ProductShape check_product(const Product& p) {
  ProductShape s;
  s.m = p.transpose_a ? p.a.cols : p.a.rows;
  s.k = p.transpose_a ? p.a.rows : p.a.cols;
  s.n = p.transpose_b ? p.b.rows : p.b.cols;
  const int64_t b_k = p.transpose_b ? p.b.cols : p.b.rows;
  const bool types = p.a.dtype == p.b.dtype && (p.d.dtype == p.a.dtype || p.d.dtype == DType::kFloat32);
  ELECTRA_CHECK_SHAPE(
      b_k == s.k && p.d.rows == s.m && p.d.cols == s.n && types && p.a.stride >= p.a.cols &&
          p.b.stride >= p.b.cols && p.d.stride >= p.d.cols,
      "product: [%lld, %lld]%s times [%lld, %lld]%s into [%lld, %lld] (%s, %s, %s)",
      static_cast<long long>(p.a.rows), static_cast<long long>(p.a.cols), p.transpose_a ? " transposed" : "",
      static_cast<long long>(p.b.rows), static_cast<long long>(p.b.cols), p.transpose_b ? " transposed" : "",
      static_cast<long long>(p.d.rows), static_cast<long long>(p.d.cols),
      p.a.dtype == DType::kFloat32 ? "f32" : "bf16", p.b.dtype == DType::kFloat32 ? "f32" : "bf16",
      p.d.dtype == DType::kFloat32 ? "f32" : "bf16");
  const bool activation = p.epilogue == Epilogue::kActivation || p.epilogue == Epilogue::kActivationGradient;
  ELECTRA_CHECK_SHAPE(
      !(p.add && (activation || p.column_sums != nullptr)) &&
          (p.epilogue != Epilogue::kBias || p.bias != nullptr || s.n == 0) &&
          (p.epilogue != Epilogue::kActivationGradient || p.aux != nullptr || s.m * s.n == 0) &&
          (!activation || p.aux == nullptr || p.aux_stride >= s.n) &&
          (p.column_sums_of_b == nullptr || !p.transpose_b),
      "product [%lld, %lld]: an epilogue that does not fit", static_cast<long long>(s.m),
      static_cast<long long>(s.n));
  return s;
}

void add_partials(const float* partials, int64_t count, int64_t cols, float* into, cudaStream_t stream) {
  launch("add_partials", add_partials_kernel, static_cast<unsigned>(ceil_div(cols, kAddColumns)),
         dim3(kAddColumns, kAddRows), 0, stream, partials, count, cols, into);
}

void add_column_sums(const Matrix& x, float* into, const GemmWorkspace& workspace, cudaStream_t stream) {
  if (x.rows == 0 || x.cols == 0) return;
  const int64_t stretch = sum_stretch(x.rows, x.cols, workspace.bytes), blocks = ceil_div(x.rows, stretch);
  ELECTRA_CHECK_SHAPE(static_cast<size_t>(blocks * x.cols) * sizeof(float) <= workspace.bytes,
                      "column sums of [%lld, %lld] want more workspace than there is",
                      static_cast<long long>(x.rows), static_cast<long long>(x.cols));
  float* partials = static_cast<float*>(workspace.memory);
  with_type(x.dtype, [&](auto type) {
    using T = decltype(type);
    constexpr int kWide = 16 / sizeof(T);
    const T* data = static_cast<const T*>(x.data);
    const bool wide = x.cols % kWide == 0 && aligned_rows(data, x.stride, sizeof(T), 16);
    const dim3 block(kFinishColumns, kFinishRows);
    if (wide)
      launch("column_sums", column_sums_kernel<T, kWide>,
             dim3(static_cast<unsigned>(ceil_div(x.cols, kWide * kFinishColumns)),
                  static_cast<unsigned>(blocks)),
             block, 0, stream, data, x.stride, x.rows, x.cols, stretch, partials);
    else
      launch("column_sums", column_sums_kernel<T, 1>,
             dim3(static_cast<unsigned>(ceil_div(x.cols, kFinishColumns)), static_cast<unsigned>(blocks)),
             block, 0, stream, data, x.stride, x.rows, x.cols, stretch, partials);
  });
  add_partials(partials, blocks, x.cols, into, stream);
}

void finish_product(const Product& p, const GemmWorkspace& workspace, cudaStream_t stream) {
  if (p.d.rows == 0 || p.d.cols == 0) return;
  with_type(p.d.dtype, [&](auto type) {
    using D = decltype(type);
    run_finish<D>(p, result_of<D>(p), FinishSource{nullptr, 0}, second_half(workspace), stream);
  });
}

bool finishes_itself(const Product& p) {
  if (p.a.dtype != DType::kBFloat16 || p.d.dtype != DType::kBFloat16 || p.transpose_a || p.a.cols == 0 ||
      !aligned_rows(p.a.data, p.a.stride, 2, 16) || !aligned_rows(p.b.data, p.b.stride, 2, 16))
    return false;
  return p.epilogue == Epilogue::kActivation           ? !p.transpose_b
         : p.epilogue == Epilogue::kActivationGradient ? p.transpose_b
                                                       : true;
}

void multiply_built_in(const Product& p, const GemmWorkspace& workspace, int32_t multiprocessors,
                       cudaStream_t stream) {
  const ProductShape s = check_product(p);
  if (p.column_sums_of_b != nullptr) add_column_sums(p.b, p.column_sums_of_b, second_half(workspace), stream);
  if (s.m == 0 || s.n == 0) return;
  if (p.a.dtype == DType::kFloat32)
    fma_multiply<float, float>(p, s, workspace, multiprocessors, stream);
  else
    with_type(p.d.dtype, [&](auto type) {
      using D = decltype(type);
      if (!mma_multiply<D>(p, s, workspace, multiprocessors, stream))
        fma_multiply<__nv_bfloat16, D>(p, s, workspace, multiprocessors, stream);
    });
}

}  // namespace electra::cuda
