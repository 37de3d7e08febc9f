// Products in f32 in full precision (the parity mode), and of bf16 whose rows are not aligned: register tiles of
// 8 x 8 or 4 x 4 from two alternating stages of shared memory.

#include "gemm_parts.h"

namespace electra::cuda {
namespace {

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

  const auto row_of = [&](int i) { return row0 + i / 4 * 64 + ty * 4 + i % 4; };
  const auto col_of = [&](int j) { return col0 + j / 4 * 64 + tx * 4 + j % 4; };
  if constexpr (kEpilogue == Epilogue::kNone) {
#pragma unroll
    for (int i = 0; i < 4 * kGroups; ++i) {
      const int64_t row = row_of(i);
      if (row >= r.rows) continue;
#pragma unroll
      for (int j = 0; j < 4 * kGroups; ++j) {
        const int64_t col = col_of(j);
        if (col >= r.cols) continue;
        if (r.partials != nullptr)
          r.partials[(blockIdx.y * r.rows + row) * r.cols + col] = sum[i][j];
        else
          store_element<kEpilogue>(r, row, col, sum[i][j]);
      }
    }
  } else {
    // A row of sums at a time through shared memory, each thread its own, where a loop can index them: written
    // out for every register, the activation's code would be there 64 times.
    float* const own = &a_tile[0][0] + threadIdx.x;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4 * kGroups; ++i) {
#pragma unroll
      for (int j = 0; j < 4 * kGroups; ++j) own[j * kFmaThreads] = sum[i][j];
      const int64_t row = row_of(i);
#pragma unroll 1
      for (int j = 0; row < r.rows && j < 4 * kGroups; ++j) {
        const int64_t col = col_of(j);
        if (col < r.cols) store_element<kEpilogue>(r, row, col, own[j * kFmaThreads]);
      }
    }
  }
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
    finish_partials(p, r.partials, cut.count, second_half(workspace), stream);
  } else if (p.column_sums != nullptr) {
    add_column_sums(p.d, p.column_sums, second_half(workspace), stream);
  }
}

}  // namespace

void multiply_plain(const Product& p, const ProductShape& s, const GemmWorkspace& workspace,
                    int32_t multiprocessors, cudaStream_t stream) {
  if (p.a.dtype == DType::kFloat32)
    fma_multiply<float, float>(p, s, workspace, multiprocessors, stream);
  else
    with_type(p.d.dtype, [&](auto type) {
      fma_multiply<__nv_bfloat16, decltype(type)>(p, s, workspace, multiprocessors, stream);
    });
}

}  // namespace electra::cuda
