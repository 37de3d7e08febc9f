#pragma once
// Attention in f32 arithmetic: what the forward pass (attention_plain.cu, which says how it is done) and the backward
// pass (attention_plain_backward.cu) share.

#include <initializer_list>
#include <type_traits>

#include "attention.h"
#include "row_vectors.h"

namespace electra::cuda::plain {

constexpr int kThreads = 256;
constexpr int kSide = 16;                // threads along either side of a tile
constexpr float kMaskAddend = -10000.0f;  // of a masked score, as in BERT's code

/// Shapes for heads of up to kDim columns.
template <int kDim>
struct Shape {
  static constexpr int kTile = kDim <= 64 ? 64 : 32;
  static constexpr int kStride = kDim + 4;    // of rows of a head in shared memory
  static constexpr int kWeights = kTile + 4;  // of rows of weights
  static constexpr int kRows = kTile / kSide;
  static constexpr int kColumns = kDim / kSide;
  static constexpr int kHeadFloats = kTile * kStride;
  static constexpr int kWeightFloats = kTile * kWeights;
  static constexpr int kBlocks = kDim <= 128 ? 2 : 1;  // on a multiprocessor
  static constexpr int kSubTiles = kTile / 16;
  static constexpr int kKeepBytes = kSubTiles * kSubTiles * 32;
};

__device__ __forceinline__ int thread_row() { return static_cast<int>(threadIdx.x) / kSide; }
__device__ __forceinline__ int thread_column() { return static_cast<int>(threadIdx.x) % kSide; }

/// Rows of one head that lie in global memory.
template <typename T>
struct HeadRows {
  T* data;
  int64_t stride;
  int head_size;
  bool vectors;  // four elements can be read in one access

  __device__ __forceinline__ HeadRows(const RowsOf<T>& rows, int64_t first, int64_t column, int size, bool aligned)
      : data(rows.row(first) + column), stride(rows.stride), head_size(size), vectors(aligned) {}
};

/// Fills a tile from row `first` on; rows at or beyond `last` and columns beyond the head are zeros.
template <int kDim, typename T>
__device__ __forceinline__ void load_tile(float* to, const HeadRows<T>& from, int first, int last) {
  using S = Shape<kDim>;
  for (int i = static_cast<int>(threadIdx.x); i < S::kTile * kDim / 4; i += kThreads) {
    const int r = i / (kDim / 4), d = i % (kDim / 4) * 4;
    Packed<float, 4> values;
#pragma unroll
    for (int e = 0; e < 4; ++e) values[e] = 0.0f;
    if (first + r < last) {
      const T* place = from.data + (first + r) * from.stride + d;
      if (from.vectors) {
        if (d < from.head_size) {
          const Packed<T, 4> packed = load_packed<4>(place);
#pragma unroll
          for (int e = 0; e < 4; ++e) values[e] = to_float(packed[e]);
        }
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (d + e < from.head_size) values[e] = to_float(place[e]);
      }
    }
    store_packed(to + r * S::kStride + d, values);
  }
}

/// Column of a head that a thread's sum `c` belongs to: neighbouring threads own neighbouring vectors.
template <int kDim>
__device__ __forceinline__ int column_of(int c) {
  constexpr int kVector = Shape<kDim>::kColumns < 4 ? Shape<kDim>::kColumns : 4;
  return c / kVector * (kSide * kVector) + thread_column() * kVector + c % kVector;
}

/// products[i][j] = a[row + 16 i] · b[column + 16 j] over the head.
template <int kDim>
__device__ __forceinline__ void dot_rows(const float* a, const float* b,
                                         float (&products)[Shape<kDim>::kRows][Shape<kDim>::kRows]) {
  using S = Shape<kDim>;
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < S::kRows; ++j) products[i][j] = 0.0f;
  }
  const float* left = a + thread_row() * S::kStride;
  const float* right = b + thread_column() * S::kStride;
#pragma unroll 1
  for (int d = 0; d < kDim; d += 4) {
    Packed<float, 4> x[S::kRows];
#pragma unroll
    for (int i = 0; i < S::kRows; ++i) x[i] = load_packed<4>(left + i * kSide * S::kStride + d);
#pragma unroll
    for (int j = 0; j < S::kRows; ++j) {
      const Packed<float, 4> y = load_packed<4>(right + j * kSide * S::kStride + d);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
#pragma unroll
        for (int i = 0; i < S::kRows; ++i) products[i][j] = fmaf(x[i][e], y[e], products[i][j]);
      }
    }
  }
}

/// sums[i][c] += Σ over k of weights[row + 16 i][k] · x[k][column_of(c)].
template <int kDim>
__device__ __forceinline__ void add_weighted_rows(const float* weights, const float* x,
                                                  float (&sums)[Shape<kDim>::kRows][Shape<kDim>::kColumns]) {
  using S = Shape<kDim>;
  constexpr int kVector = S::kColumns < 4 ? S::kColumns : 4;
  const float* left = weights + thread_row() * S::kWeights;
#pragma unroll 1
  for (int k = 0; k < S::kTile; k += 4) {
    Packed<float, 4> w[S::kRows];
#pragma unroll
    for (int i = 0; i < S::kRows; ++i) w[i] = load_packed<4>(left + i * kSide * S::kWeights + k);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
#pragma unroll
      for (int c = 0; c < S::kColumns; c += kVector) {
        const Packed<float, kVector> y = load_packed<kVector>(x + (k + e) * S::kStride + column_of<kDim>(c));
#pragma unroll
        for (int i = 0; i < S::kRows; ++i) {
#pragma unroll
          for (int v = 0; v < kVector; ++v) sums[i][c + v] = fmaf(w[i][e], y[v], sums[i][c + v]);
        }
      }
    }
  }
}

/// Writes sums times factor[i] to the rows before `last`.
template <int kDim, typename T>
__device__ __forceinline__ void store_sums(const float (&sums)[Shape<kDim>::kRows][Shape<kDim>::kColumns],
                                           const float (&factor)[Shape<kDim>::kRows], const HeadRows<T>& to,
                                           int first, int last) {
  using S = Shape<kDim>;
#pragma unroll
  for (int i = 0; i < S::kRows; ++i) {
    const int r = first + thread_row() + kSide * i;
    if (r >= last) continue;
#pragma unroll
    for (int c = 0; c < S::kColumns; ++c) {
      const int d = column_of<kDim>(c);
      if (d < to.head_size) to.data[r * to.stride + d] = from_float<T>(sums[i][c] * factor[i]);
    }
  }
}

/// The decisions of a tile, a bit for each pair: byte 32 · (16 x 16 tile) + lane, bit = decision.
template <int kDim>
__device__ __forceinline__ void make_keep_bits(const PairDropout<>& dropout, int first_query, int first_key,
                                               uint8_t* bits) {
  using S = Shape<kDim>;
  for (int i = static_cast<int>(threadIdx.x); i < S::kKeepBytes; i += kThreads) {
    const int sub = i / 32;
    const PhiloxWords words =
        dropout.words(first_query / 16 + sub / S::kSubTiles, first_key / 16 + sub % S::kSubTiles);
    uint32_t byte = 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      byte |= dropout.keeps_low(words.word[w]) ? 1u << (2 * w) : 0u;
      byte |= dropout.keeps_high(words.word[w]) ? 2u << (2 * w) : 0u;
    }
    bits[i] = static_cast<uint8_t>(byte);
  }
}
/// A thread's pairs: one place in every tile of 16 x 16.
class KeepBits {
 public:
  __device__ __forceinline__ KeepBits(const uint8_t* bits, int query, int key)
      : at_(bits + query % 8 * 4 + key % 8 / 2), decision_(query / 8 * 4 + key / 8 * 2 + key % 2) {}
  template <int kDim>
  __device__ __forceinline__ bool kept(int query_tile, int key_tile) const {
    return (at_[32 * (query_tile * Shape<kDim>::kSubTiles + key_tile)] >> decision_ & 1) != 0;
  }

 private:
  const uint8_t* at_;
  int decision_;
};

/// Scores from products: scaled, masked.
struct Scores {
  AttentionMask mask;
  bool keep_padding;
  int length;
  int real;  // keys before it are tokens
  float scale;

  __device__ __forceinline__ Scores(const AttentionProblem& p, const AttentionBlock& block)
      : mask(p.mask), keep_padding(p.keep_padding), length(block.length), real(block.length), scale(p.scale) {
    if (p.keep_padding) real = min(block.length, p.valid[block.row]);
  }
  __device__ __forceinline__ float score(float product, int query, int key) const {
    const bool seen = key < real && mask_allows(mask, query, key);
    const float scaled = product * scale;
    if (seen) return scaled;
    // Rounded to f32 as BERT's code rounds it: a query that sees nothing has only such scores.
    return keep_padding && key < length ? __fadd_rn(scaled, kMaskAddend) : -INFINITY;
  }
  /// Keys with any weight for the queries from `first`. With kept padding, one that sees nothing may be among them.
  __device__ __forceinline__ KeyRange keys(int first, int count) const {
    return keep_padding ? KeyRange{0, length} : keys_of_queries(mask, first, count, length);
  }
  __device__ __forceinline__ KeyRange queries(int first, int count) const {
    return keep_padding ? KeyRange{0, length} : queries_of_keys(mask, first, count, length);
  }
};

/// Over the 16 threads of a row.
__device__ __forceinline__ float row_sum(float x) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kFullWarp, x, offset);
  return x;
}
__device__ __forceinline__ float row_max(float x) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, offset));
  return x;
}

/// A block's share of the tokens beyond the extent.
template <typename T>
__device__ __forceinline__ void clear_beyond(const AttentionProblem& p, const RowsOf<T>& rows, int64_t column,
                                             const AttentionBlock& block, int tiles) {
  const int64_t shares = static_cast<int64_t>(p.batch) * tiles;
  for (int64_t t = actual_of(p.tokens) + static_cast<int64_t>(block.row) * tiles + block.tile;
       t < p.tokens.capacity; t += shares) {
    for (int d = static_cast<int>(threadIdx.x); d < p.head_size; d += kThreads)
      rows.row(t)[column + d] = from_float<T>(0.0f);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// launchers

/// Calls body(T{}, std::integral_constant<int, kDim>{}) with the smallest kDim that holds a head.
template <typename Body>
void with_shape(DType dtype, int head_size, Body body) {
  with_type(dtype, [&](auto type) {
    if (head_size <= 16)
      body(type, std::integral_constant<int, 16>{});
    else if (head_size <= 32)
      body(type, std::integral_constant<int, 32>{});
    else if (head_size <= 64)
      body(type, std::integral_constant<int, 64>{});
    else if (head_size <= 128)
      body(type, std::integral_constant<int, 128>{});
    else
      body(type, std::integral_constant<int, 256>{});
  });
}

template <int kDim>
size_t shared_bytes(int head_tiles, int weight_tiles) {
  using S = Shape<kDim>;
  return static_cast<size_t>(head_tiles * S::kHeadFloats + weight_tiles * S::kWeightFloats) * sizeof(float) +
         S::kTile * sizeof(QueryStatistics) + S::kKeepBytes;
}

inline bool four_at_a_time(const AttentionProblem& p, std::initializer_list<Tensor> tensors) {
  if (p.head_size % 4 != 0) return false;
  for (const Tensor& t : tensors)
    if (!rows_are_aligned(t, 4)) return false;
  return true;
}

}  // namespace electra::cuda::plain
