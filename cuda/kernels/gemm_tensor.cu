// Products of bf16 matrices whose rows start at multiples of 16 bytes, on the tensor cores.
//
// `mma_product` makes a tile of d with four warps, k in steps of 32 that arrive in a ring of four stages of shared
// memory by cp.async while the tensor cores work on older ones. A warp of the large tile (128 x 128) owns 64 x 64
// elements, so that one step of 16 along k takes 32 products for 8 ldmatrix: shared memory and tensor cores
// then need about the same time. Rows of a stage are not padded but swizzled in units of 16 bytes, so that
// the eight rows of an 8 x 8 matrix lie in different banks. Whichever way a and b are stored, ldmatrix or its
// transposing form makes fragments of them.
//
// Epilogues run on the accumulators: bias, activation with its pre-activation kept, or the activation's
// slope, and the column sums of the result (the bias gradient). bf16 results leave in pieces of 16 bytes: a
// fragment has two neighbouring columns in a lane, and a 4 x 4 transposition among the four lanes of a row
// makes eight of them (four shuffles for four words; staging in shared memory would cost twice as much). What
// an epilogue moves is m·n elements of d and as many of aux; for the feed-forward layer of ELECTRA-Small
// (16384 x 1024 x 256) that is 67 MB of 76, so the products there wait for memory and not for tensor cores.

#include "gemm_parts.h"

namespace electra::cuda {
namespace {

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
          if (kEpilogue == Epilogue::kNone && !r.wide) {
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

/// Whether rows of a bf16 result, and of aux, can be written 16 bytes at a time.
bool has_wide_rows(const Product& p) {
  const bool uses_aux = p.epilogue == Epilogue::kActivation || p.epilogue == Epilogue::kActivationGradient;
  return p.d.cols % 8 == 0 && aligned_rows(p.d.data, p.d.stride, 2, 16) &&
         (!uses_aux || p.aux == nullptr || aligned_rows(p.aux, p.aux_stride, 2, 16));
}

/// The instance for a way of storing and an epilogue, or null where there is none: forward passes (a, b as
/// stored), gradients of activations (b transposed) and of weights (a transposed). Activations and slopes are
/// for wide rows: written out element by element as well they would double the time that nvcc takes for all
/// products, and no published model has narrow ones.
template <typename D, int kTile>
auto mma_kernel(const Product& p, bool cut) {
  using Kernel =
      void (*)(Operand<__nv_bfloat16>, Operand<__nv_bfloat16>, Result<D>, int64_t, int64_t, int64_t, int64_t);
  constexpr bool kNarrow = sizeof(D) == 2;
  const bool activation = !cut && p.epilogue == Epilogue::kActivation;
  const bool gradient = !cut && p.epilogue == Epilogue::kActivationGradient;
  Kernel kernel = nullptr;
  if ((activation || gradient) && !has_wide_rows(p)) return kernel;
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
    r.wide = has_wide_rows(p);
  }
  if (fused_sums) r.column_sums = static_cast<float*>(rest.memory);
  launch("mma_product", kernel,
         dim3(static_cast<unsigned>(row_tiles * col_tiles), static_cast<unsigned>(cut.count)), kMmaThreads,
         static_cast<size_t>(kMmaStages * 2 * tile * kMmaDepth * 2), stream, a, b, r, s.k, cut.stretch,
         row_tiles, col_tiles);
  if (to_partials)
    finish_partials(p, r.partials, cut.count, rest, stream);
  else if (fused_sums)
    add_partials(r.column_sums, row_tiles, s.n, p.column_sums, stream);
  else if (p.column_sums != nullptr)
    add_column_sums(p.d, p.column_sums, rest, stream);
  return true;
}

}  // namespace

bool multiply_on_tensor_cores(const Product& p, const ProductShape& s, const GemmWorkspace& workspace,
                              int32_t multiprocessors, cudaStream_t stream) {
  bool done = false;
  with_type(p.d.dtype, [&](auto type) {
    done = mma_multiply<decltype(type)>(p, s, workspace, multiprocessors, stream);
  });
  return done;
}

bool finishes_itself(const Product& p) {
  if (p.a.dtype != DType::kBFloat16 || p.d.dtype != DType::kBFloat16 || p.transpose_a || p.a.cols == 0 ||
      !aligned_rows(p.a.data, p.a.stride, 2, 16) || !aligned_rows(p.b.data, p.b.stride, 2, 16))
    return false;
  return p.epilogue == Epilogue::kActivation           ? !p.transpose_b && has_wide_rows(p)
         : p.epilogue == Epilogue::kActivationGradient ? p.transpose_b && has_wide_rows(p)
                                                       : true;
}

}  // namespace electra::cuda
